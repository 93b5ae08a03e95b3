"""The model card of the default model: a student without labels, and what was fitted to labelled corpora."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from default_model.fit import N_FOLDS, FitSettings
from default_model.student import N_CLIPS
from ser_fewshot import corpora
from ser_fewshot.corpora import Utterance
from ser_fewshot.errors import SettingsError
from ser_fewshot.models import Model
from ser_fewshot.models.card import environment, training_values


def default_card(
    model: Model,
    clips: Mapping[str, Sequence[Utterance]],
    *,
    speech: Sequence[Utterance],
    settings: FitSettings,
    measured: Sequence[Mapping[str, Any]] = (),
    command: str = "",
) -> str:
    """Return the README.md of a model as `fit_model` returns it, as Markdown.

    Args:
        model: the model.
        clips: the labelled clips of each corpus.
        speech: the clips without labels that the student's were drawn from; "corpus" names their source.
        settings: of the fit.
        measured: what recipes/measure_default.py wrote, a mapping a corpus; of models made alike without that corpus.
        command: what makes it again.

    Raises:
        SettingsError: a result is of another kind of model than the others, or of one that was trained on the corpus.
    """
    _check_measured(measured)
    results = sorted(measured, key=lambda result: str(result["corpus"]))
    emotions = [(result["corpus"], result["protocols"]["emotions"]) for result in results]
    found = environment(Path(__file__).parent)
    found.filters["percent"] = _percent
    every = [clip for own in clips.values() for clip in own]
    return found.get_template("default_card.md.j2").render(
        training_values(model, every, seed=settings.directions.seed, command=command),
        conditions=dict.fromkeys(name for _, row in emotions for name in row["conditions"]),
        confidence=[
            (corpus, row["reliability"], row["open_set"]) for corpus, row in emotions if row.get("reliability")
        ],
        directions=settings.directions,
        emotions=[row for _, row in emotions],
        english=sum("-en-" in clip.corpus for clip in speech),
        folds=f"{N_FOLDS} parts of the {'corpora' if len(clips) >= N_FOLDS else 'speakers'}",
        measured=results,
        n_speech=min(N_CLIPS, len(speech)),
        place=_place,
        protocols={name: row for result in results for name, row in result["protocols"].items()},
        speech=sorted(Counter(clip.corpus for clip in speech).items()),
        title=_title,
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
