"""Model cards: the README.md of a saved model, with its training set, licence, scores and limits of use."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import jinja2

from ser_fewshot import corpora
from ser_fewshot.assets import TEMPLATES
from ser_fewshot.corpora import CorpusCard, Utterance
from ser_fewshot.errors import SettingsError
from ser_fewshot.models import Model
from ser_fewshot.training import TrainSettings


def training_card(
    model: Model,
    utterances: Sequence[Utterance],
    *,
    settings: TrainSettings,
    best: Mapping[str, float],
    command: str = "",
    held_out: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> str:
    """Return the README.md of a model that was just meta-trained on some utterances, as Markdown.

    `best` is the record of the epoch that was kept, `command` trains the model again, and `held_out` lists what was
    kept for meta-test by its kind: speakers, emotions, corpora.
    """
    values = _training_values(model, utterances, settings, best, command)
    return _template("model_card.md.j2").render(values, held_out=held_out)


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
    return _template("default_card.md.j2").render(
        _training_values(model, utterances, settings, best, command),
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


def _training_values(
    model: Model, utterances: Sequence[Utterance], settings: TrainSettings, best: Mapping[str, float], command: str
) -> dict[str, Any]:
    """Return the values of every card of a trained model; what its encoder was trained on before is part of them."""
    clips: dict[str, int | str] = {
        name: part.clips or "not known" for name, part in model.training_set.corpora.items() if part.labelled
    }
    clips |= Counter(utterance.corpus for utterance in utterances)
    cards = {name: corpora.card(name) for name in sorted(clips) if name in corpora.names()}
    speakers = {(utterance.corpus, utterance.speaker) for utterance in utterances if utterance.speaker is not None}
    return {
        "best": best,
        "cards": cards,
        "clips": sorted(clips.items()),
        "command": command,
        "config": model.config,
        "licence": _licence(list(cards.values()), n_corpora=len(clips), imported=model.config.frontend == "pretrained"),
        "n_parameters": sum(parameter.numel() for parameter in model.learner.parameters()),
        "n_random": model.config.frontend_settings.get("random_weights", 0),
        "n_speakers": Counter(corpus for corpus, _ in speakers),
        "settings": settings,
        "version": version("ser-fewshot"),
    }


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


def import_card(model: Model, *, source: str, layout: str, n_random: int = 0, labels: Sequence[str] = ()) -> str:
    """Return the README.md of a model whose encoder was imported from `source`, as Markdown.

    Args:
        model: the imported one.
        source: as the user named it.
        layout: the format of the source.
        n_random: how many of its weights the source lacked.
        labels: the classes of its own emotion head; none for no head.
    """
    return _template("import_card.md.j2").render(
        config=model.config,
        labels=labels,
        layout=layout,
        n_random=max(n_random, model.config.frontend_settings.get("random_weights", 0)),
        source=source,
        version=version("ser-fewshot"),
    )


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(  # noqa: S701  # Markdown, not a page: `text` escapes what Markdown obeys
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"line": _line, "percent": _percent, "text": _text}
    return environment.get_template(name)


def _licence(cards: Sequence[CorpusCard], *, n_corpora: int, imported: bool) -> str:
    """Return, in words, what the licences of the corpora, and of an imported encoder, together allow."""
    if imported:
        own = _licence(cards, n_corpora=n_corpora, imported=False)
        return f"that of the encoder's source, not known here, holds for the encoder; for what was trained: {own}"
    forbidding = [card.title for card in cards if card.commercial_use is False]
    if forbidding:
        return f"non-commercial research only, as {' and '.join(forbidding)} must not be used commercially"
    if len(cards) < n_corpora or any(card.commercial_use is None for card in cards):
        return "unclear: at least one corpus states no licence that settles commercial use; research use only"
    return "as permissive as the corpora below; cite them"


def _title(corpus: str) -> str:
    return corpora.card(corpus).title if corpus in corpora.names() else corpus


def _place(corpus: str) -> str:
    """Return a corpus and its language: "Emo-DB (German)"."""
    return f"{_title(corpus)} ({corpora.card(corpus).language_name})" if corpus in corpora.names() else corpus


def _percent(interval: Mapping[str, float]) -> str:
    """Return an interval in [0, 1], as result files have it, in %."""
    return f"{100 * interval['mean']:.1f} ± {100 * interval['ci95']:.1f}"


def _line(text: str) -> str:
    """Return a text as one line; a lone surrogate, which UTF-8 cannot write, becomes a question mark."""
    return " ".join(text.encode(errors="replace").decode().split())


def _text(text: str) -> str:
    r"""Return a text as one line that Markdown prints as it is: `a|b` -> `a\|b`."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", _line(text))
