"""What is enrolled: names and clips of each class, in memory and as one file that travels with its model; no audio."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from ser_fewshot._files import write_atomically
from ser_fewshot._labels import class_key
from ser_fewshot._parallel import small_work
from ser_fewshot.audio import Clip, Source
from ser_fewshot.calibration import Calibration, Surroundings
from ser_fewshot.checkpoints import FORMAT, Model, assemble, read_tensors, to_store
from ser_fewshot.errors import CheckpointError, EnrollmentError
from ser_fewshot.frontends import Features, stack
from ser_fewshot.learners import Classifier, evaluating
from ser_fewshot.training_set import RECORD, UNKNOWN, parsed

MOST_CLIPS = 5_000
"""Clips of one enrolment. Few-shot means tens of them; ridge regression takes their number to the third power."""
_LARGEST = 1e6  # of the values of a clip: no network makes such ones, and their squares must stay finite

_LONGEST_NAME = 255  # characters, as in file systems
_CONTROLS = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories that break a line, or a terminal, or UTF-8
_LEARNER, _FRONTEND, _CLIP = "learner/", "frontend/", "clip/"
_PROBE_FRAMES = 32


@dataclass(frozen=True, eq=False)
class Enrolled:
    """One class.

    Attributes:
        clips: what the learner keeps of each: (width,) or (frames, dim).
        names: (n_clips,) what each clip was called.
    """

    clips: tuple[Tensor, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Enrollment:
    """What is enrolled at one moment, and the classifier of it; replaced as a whole, never changed.

    Attributes:
        enrolled: label -> its clips, in the order of enrolment.
        support: all clips, (n_support, width) or (n_support, frames, dim); None for fewer than two classes, as are
            `classifier` and `surroundings`.
        calibration: how sure answers are; None where the model has none.
    """

    enrolled: dict[str, Enrolled]
    support: Features | None
    classifier: Classifier | None
    surroundings: Surroundings | None
    calibration: Calibration | None

    @classmethod
    @small_work()
    def of(cls, model: Model, enrolled: dict[str, Enrolled]) -> Enrollment:
        """Adapt a model to some classes.

        Raises:
            EnrollmentError: there are more than MOST_CLIPS clips.
        """
        clips = [clip for members in enrolled.values() for clip in members.clips]
        if len(clips) > MOST_CLIPS:
            raise EnrollmentError(
                "enrolment", found=f"{len(clips)} clips", expected=f"at most {MOST_CLIPS}", remedy="Enrol fewer."
            )
        calibration = model.config.calibration
        if len(enrolled) < 2:
            return cls(enrolled, None, None, None, calibration)
        support = stack(clips)
        y = torch.tensor([number for number, members in enumerate(enrolled.values()) for _ in members.clips])
        with evaluating(model.learner):
            return cls(enrolled, support, model.learner.adapt(support, y), Surroundings.of(support, y), calibration)

    @property
    def owners(self) -> list[tuple[str, str]]:
        """(name, label) of each clip of the support."""
        return [(name, label) for label, members in self.enrolled.items() for name in members.names]

    @property
    def temperature(self) -> float:
        """What logits are divided by to become probabilities; 1 without a calibration."""
        if self.calibration is None or self.surroundings is None:
            return 1.0
        return self.calibration.temperature_at(self.surroundings.n_way, self.surroundings.k_shot)

    def novelties(self, query: Features, logits: Tensor) -> list[float] | list[None]:
        """(n_query, n_way) logits -> the probability of each query of none of the classes; None if not calibrated."""
        at = self.surroundings
        if self.calibration is None or at is None:
            return [None] * len(query)
        novelty = self.calibration.novelty_of(at.evidence(query, logits), n_way=at.n_way, k_shot=at.k_shot)
        found: list[float] = novelty.tolist()
        return found

    def is_unknown(self, novelty: float | None) -> bool:
        """Whether a clip of this novelty is called unknown."""
        return self.calibration is not None and novelty is not None and novelty >= self.calibration.threshold


def without(enrolled: Mapping[str, Enrolled], label: str, *, clip: str | None = None) -> dict[str, Enrolled]:
    """Return what is enrolled without a class, or without its clips of one name; a class goes with its last clip.

    Raises:
        EnrollmentError: there is no such class, or no such clip in it.
    """
    if label not in enrolled:  # a file of version 0.1.0 may hold "Anger" and "anger"
        label = next((known for known in enrolled if class_key(known) == class_key(label)), label)
    left: dict[str, Enrolled] = {name: members for name, members in enrolled.items() if name != label}
    if label not in enrolled:
        raise _not_enrolled(label, enrolled)
    if clip is None:
        return left
    members = enrolled[label]
    rows = [row for row, name in enumerate(members.names) if name != clip]
    if len(rows) == len(members.names):
        raise _not_enrolled(clip, members.names)
    rest = Enrolled(tuple(members.clips[row] for row in rows), tuple(members.names[row] for row in rows))
    return {name: rest if name == label else enrolled[name] for name in enrolled if rows or name != label}


def _not_enrolled(name: str, enrolled: Iterable[str]) -> EnrollmentError:
    return EnrollmentError(
        "forget",
        found=f"{name!r}, which is not enrolled",
        expected=" | ".join(enrolled) or "something enrolled",
        remedy="Name one of the enrolled.",
    )


def checked_label(label: object) -> str:
    """Return the name of a class: one line, without the white space around it, accents composed (Unicode NFC).

    Raises:
        EnrollmentError: it is no text, empty, too long, or holds control characters.
    """
    name = unicodedata.normalize("NFC", label).strip() if isinstance(label, str) else ""
    visible = any(char.isprintable() and not char.isspace() for char in name)
    if not visible or one_line(name) != name:
        raise EnrollmentError(
            "label",
            found=f"{label!a:.80}",
            expected=f"a name in one line of 1 to {_LONGEST_NAME} characters",
            remedy="Give the emotion a name.",
        )
    return name


def checked_classes(clips: object) -> dict[str, list[Source | Clip]]:
    """Return the classes of an enrolment by their checked labels, each with a list of at least one clip.

    Raises:
        EnrollmentError: no mapping, fewer than two classes, one without clips, or a label that is empty or there twice.
    """
    if not isinstance(clips, Mapping):
        raise EnrollmentError(
            "enrolment",
            found=f"an object of type {type(clips).__name__}",
            expected="a mapping from each label to a list of its clips",
            remedy='Pass for instance {"anger": ["a1.wav", "a2.wav"], "neutral": ["n1.wav", "n2.wav"]}.',
        )
    sources: dict[str, list[Source | Clip]] = {}
    for given, members in clips.items():
        label = checked_label(given)
        if twin := next((known for known in sources if class_key(known) == class_key(label)), None):
            found = f"{label!r} twice" if twin == label else f"{twin!r} and {label!r}, which are one class"
            raise EnrollmentError("enrolment", found=found, expected="labels that differ", remedy="Merge the two.")
        sources[label] = checked_sources(label, members)
    if len(sources) < 2:
        raise EnrollmentError(
            "enrolment",
            found=f"{len(sources)} class{'es' if len(sources) != 1 else ''}: {', '.join(sources) or 'none'}",
            expected="at least two to tell apart",
            remedy="Enrol another emotion, for instance neutral.",
        )
    return sources


def checked_sources(label: str, clips: object, *, least: int = 1) -> list[Source | Clip]:
    """Return several clips as a list; a single one, which is easily passed by mistake, is refused.

    Raises:
        EnrollmentError: it is one clip, nothing that clips can be taken from, or holds fewer than `least`.
    """
    samples = isinstance(clips, tuple) and any(isinstance(part, np.ndarray) for part in clips)
    single = isinstance(clips, str | bytes | os.PathLike | Clip | np.ndarray | Mapping) or hasattr(clips, "read")
    several = list(clips) if isinstance(clips, Iterable) and not single and not samples else None
    if several is None or len(several) < least:
        raise EnrollmentError(
            f"clips {label!r}",
            found="none" if several is not None else f"a single {type(clips).__name__}",
            expected=f"a list of at least {least}" if least else "a list of clips",
            remedy="Pass a list of clips; five are a good number.",
        )
    return several


def one_line(text: str) -> str:
    """Return a name that can be printed: control characters replaced, and not too long."""
    printable = (
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) in _CONTROLS else char
        for char in text[:_LONGEST_NAME]
    )
    return "".join(printable)


@small_work()
def kept_of_silence(model: Model) -> Tensor:
    """Return what the model's learner keeps of a clip: zeros in, (width,) or (frames, dim) out."""
    silence = Features(torch.zeros(1, _PROBE_FRAMES, model.frontend.dim), torch.tensor([_PROBE_FRAMES]))
    with evaluating(model.learner):
        return model.learner.embed(silence).x[0]


def save_enrollment(path: Path, model: Model, enrolled: Mapping[str, Enrolled]) -> None:
    """Write a model and the classes enrolled in it.

    Raises:
        SettingsError: the file cannot be written.
    """
    tensors = to_store(model, learner=_LEARNER, frontend=_FRONTEND)
    for number, members in enumerate(enrolled.values()):
        tensors |= {_clip(number, position): clip.contiguous() for position, clip in enumerate(members.clips)}
    config = {"format": FORMAT, "model_type": "ser_fewshot", **asdict(model.config)}
    classes = [{"label": label, "clips": members.names} for label, members in enrolled.items()]
    metadata = {"config": json.dumps(config), "classes": json.dumps(classes), RECORD: model.training_set.as_text()}
    write_atomically(path, safetensors.torch.save(tensors, metadata))


def load_enrollment(path: Path) -> tuple[Model, dict[str, Enrolled]]:
    """Read a file that `save_enrollment` wrote.

    Raises:
        CheckpointError: it is damaged, was changed, or is no enrolment.
    """
    tensors, metadata = read_tensors(path)
    learner, frontend = (
        {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}
        for prefix in (_LEARNER, _FRONTEND)
    )
    clips = {name: x for name, x in tensors.items() if not name.startswith((_LEARNER, _FRONTEND))}
    try:
        config, enrolled = json.loads(metadata["config"]), _classes(json.loads(metadata["classes"]), clips)
        if not isinstance(config, dict):
            raise ValueError(f"a config that is a {type(config).__name__}")
    except (KeyError, TypeError, ValueError, RecursionError, EnrollmentError) as error:
        raise CheckpointError(
            str(path),
            found="weights with nothing enrolled" if "classes" not in metadata else f"{type(error).__name__}: {error}",
            expected="an enrolment saved by this program",
            remedy="Enrol clips first, with 'ser-fewshot enroll' or FewShotClassifier.enroll, or save it again.",
        ) from error
    record = parsed(metadata[RECORD], origin=str(path)) if RECORD in metadata else UNKNOWN
    model = assemble(config, learner, frontend, training_set=record, origin=str(path))
    _check_clips(model, clips, origin=str(path))
    return model, enrolled


def _classes(entries: Any, clips: Mapping[str, Tensor]) -> dict[str, Enrolled]:
    """Return the classes that a file describes, after making sure that it describes all of them, and each once."""
    enrolled: dict[str, Enrolled] = {}
    for number, entry in enumerate(entries):
        label, names = entry["label"], entry["clips"]
        if checked_label(label) != label or label in enrolled:
            raise ValueError(f"the label {label!a:.80} twice, or with white space around it")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"no clips in {label!a:.80}, or names of clips that are no text")
        kept = tuple(clips[_clip(number, position)] for position in range(len(names)))
        enrolled[label] = Enrolled(kept, tuple(map(one_line, names)))
    described = sum(len(members.clips) for members in enrolled.values())
    if described != len(clips) or described > MOST_CLIPS:
        raise ValueError(f"{len(clips)} clips, {described} of them in a class; {MOST_CLIPS} are the most")
    return enrolled


def _clip(number: int, position: int) -> str:
    return f"{_CLIP}{number}/{position}"


def _check_clips(model: Model, clips: Mapping[str, Tensor], *, origin: str) -> None:
    """Refuse tensors that the model's learner could not have made."""
    made = kept_of_silence(model)
    for name, clip in clips.items():
        fits = clip.ndim == made.ndim and clip.shape[-1] == made.shape[-1] and clip.numel() > 0
        if not fits or clip.dtype != made.dtype or not bool((clip.abs() < _LARGEST).all()):
            raise CheckpointError(
                f"{origin}, {name}",
                found=f"the shape {tuple(clip.shape)} and type {clip.dtype}, or values that no model makes",
                expected=f"values below {_LARGEST:g} of type {made.dtype} and width {made.shape[-1]}",
                remedy="The file was damaged or changed: save the enrolment again.",
            )
