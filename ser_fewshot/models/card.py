"""Model cards: the README.md of a saved model, with its training set, licence, scores and limits of use."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2

from ser_fewshot import corpora
from ser_fewshot.assets import TEMPLATES
from ser_fewshot.corpora import CorpusCard, Utterance
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
    values = training_values(model, utterances, seed=settings.seed, command=command)
    template = environment().get_template("model_card.md.j2")
    return template.render(values, best=best, held_out=held_out, settings=settings)


def training_values(model: Model, utterances: Sequence[Utterance], *, seed: int, command: str) -> dict[str, Any]:
    """Return the values of every card of a trained model; what its encoder was trained on before is part of them."""
    clips: dict[str, int | str] = {
        name: part.clips or "not known" for name, part in model.training_set.corpora.items() if part.labelled
    }
    clips |= Counter(utterance.corpus for utterance in utterances)
    cards = {name: corpora.card(name) for name in sorted(clips) if name in corpora.names()}
    speakers = {(utterance.corpus, utterance.speaker) for utterance in utterances if utterance.speaker is not None}
    return {
        "cards": cards,
        "clips": sorted(clips.items()),
        "command": command,
        "config": model.config,
        "licence": _licence(list(cards.values()), n_corpora=len(clips), imported=model.config.frontend == "pretrained"),
        "n_parameters": sum(parameter.numel() for parameter in model.learner.parameters()),
        "n_random": model.config.frontend_settings.get("random_weights", 0),
        "n_speakers": Counter(corpus for corpus, _ in speakers),
        "seed": seed,
        "version": version("ser-fewshot"),
    }


def import_card(model: Model, *, source: str, layout: str, labels: Sequence[str] = ()) -> str:
    """Return the README.md of a model whose encoder was imported from `source`, as the user named it, as Markdown.

    `labels` are the classes of its own emotion head, if it has one.
    """
    return (
        environment()
        .get_template("import_card.md.j2")
        .render(
            config=model.config,
            labels=labels,
            layout=layout,
            n_random=model.config.frontend_settings.get("random_weights", 0),
            source=source,
            version=version("ser-fewshot"),
        )
    )


def environment(*folders: Path) -> jinja2.Environment:
    """Return the environment of the templates of cards, in the package and in other folders."""
    found = jinja2.Environment(  # noqa: S701  # Markdown, not a page: `text` escapes what Markdown obeys
        loader=jinja2.FileSystemLoader([TEMPLATES, *folders]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"line": _line, "text": _text}
    return found


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


def _line(text: str) -> str:
    """Return a text as one line; a lone surrogate, which UTF-8 cannot write, becomes a question mark."""
    return " ".join(text.encode(errors="replace").decode().split())


def _text(text: str) -> str:
    r"""Return a text as one line that Markdown prints as it is: `a|b` -> `a\|b`."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", _line(text))
