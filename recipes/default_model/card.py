"""The model card of the default model, distilled without labels and then fitted to some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ser_fewshot import corpora
from ser_fewshot.corpora import Utterance
from ser_fewshot.errors import SettingsError
from ser_fewshot.models import Model
from ser_fewshot.models.card import environment, training_values
from ser_fewshot.training import TrainSettings


def default_card(
    model: Model,
    utterances: Sequence[Utterance],
    *,
    speech: Sequence[Utterance],
    teacher: str,
    choices: Sequence[Mapping[str, float]],
    settings: TrainSettings,
    best: Mapping[str, float],
    measured: Sequence[Mapping[str, Any]] = (),
    command: str = "",
) -> str:
    """Return the README.md of a model that was distilled without labels and then fitted to some, as Markdown.

    Args:
        model: distilled, then fitted.
        utterances: the labelled clips.
        speech: the clips without labels for the distillation; "corpus" names their source.
        teacher: of the distillation, with its licence, in words that go on with "see".
        choices: the hyperparameters that were compared on labels, each with its "uar", as `fit_labels` returns them.
        settings: of the distillation.
        best: the record of the epoch that was kept of it.
        measured: what recipes/measure_default.py wrote, a mapping a corpus; of models made alike without that corpus.
        command: what makes it again.

    Raises:
        SettingsError: a result is of another kind of model than the others, or of one that was trained on the corpus.
    """
    _check_measured(measured)
    results = sorted(measured, key=lambda result: str(result["corpus"]))
    protocols = {name: row for result in results for name, row in result["protocols"].items()}
    emotions = [(result["corpus"], result["protocols"]["emotions"]) for result in results]
    unused = ("max_seconds", "tempo")  # a distillation keeps the tempo, as the teacher's frames have theirs
    varied = {name: value for name, value in asdict(settings.augmentation).items() if value and name not in unused}
    found = environment(Path(__file__).parent)
    found.filters["percent"] = _percent
    return found.get_template("default_card.md.j2").render(
        training_values(model, utterances, settings, best, command),
        choices=sorted(choices, key=lambda row: -row["uar"]),
        conditions=dict.fromkeys(name for _, row in emotions for name in row["conditions"]),
        confidence=[
            (corpus, row["reliability"], row["open_set"]) for corpus, row in emotions if row.get("reliability")
        ],
        emotions=[row for _, row in emotions],
        english=sum("-en-" in clip.corpus for clip in speech),
        measured=results,
        place=_place,
        protocols=protocols,
        speech=sorted(Counter(clip.corpus for clip in speech).items()),
        teacher=teacher,
        title=_title,
        varied=[f"{name} {value:g}" for name, value in varied.items()],
    )


def _check_measured(measured: Sequence[Mapping[str, Any]]) -> None:
    again = [result["corpus"] for result in measured if result["had_heard_it"]]
    names = sorted({result["name"] for result in measured})
    if again or len(names) > 1:
        raise SettingsError(
            "measured",
            found=f"results of {', '.join(names)}, trained on what they are measured on: {again or 'none'}",
            expected="those of one model, made anew without each corpus",
            remedy="Measure the models that left the corpus out: recipes/measure_default.py.",
        )


def _title(corpus: str) -> str:
    return corpora.card(corpus).title if corpus in corpora.names() else corpus


def _place(corpus: str) -> str:
    """Return a corpus and its language: "Emo-DB (German)"."""
    return f"{_title(corpus)} ({corpora.card(corpus).language_name})" if corpus in corpora.names() else corpus


def _percent(interval: Mapping[str, float]) -> str:
    """Return an interval in [0, 1], as result files have it, in %."""
    return f"{100 * interval['mean']:.1f} ± {100 * interval['ci95']:.1f}"
