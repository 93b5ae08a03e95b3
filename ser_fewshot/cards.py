"""Model cards: what a saved model is, what it heard, under which licences, and what it must not be used for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import jinja2

from ser_fewshot import corpora
from ser_fewshot.checkpoints import Model
from ser_fewshot.corpora import CorpusCard, Utterance
from ser_fewshot.training import TrainSettings

TEMPLATES = Path(__file__).parent / "assets" / "templates"


def training_card(
    model: Model,
    utterances: Sequence[Utterance],
    *,
    settings: TrainSettings,
    best: Mapping[str, float],
    command: str = "",
) -> str:
    """Return the README.md of a model that was just trained, as Markdown.

    Args:
        model: what was trained.
        utterances: the meta-train clips.
        settings: how it was trained.
        best: the record of the epoch that was kept.
        command: what trains it again.
    """
    clips = Counter(utterance.corpus for utterance in utterances)
    cards = {name: corpora.card(name) for name in sorted(clips) if name in corpora.names()}
    speakers = {(utterance.corpus, utterance.speaker) for utterance in utterances if utterance.speaker is not None}
    return _template("model_card.md.j2").render(
        best=best,
        cards=cards,
        clips=sorted(clips.items()),
        command=command,
        config=model.config,
        licence=_licence(list(cards.values()), n_corpora=len(clips), imported=model.config.frontend == "pretrained"),
        n_parameters=sum(parameter.numel() for parameter in model.learner.parameters()),
        n_random=model.config.frontend_settings.get("random_weights", 0),
        n_speakers=Counter(corpus for corpus, _ in speakers),
        settings=settings,
        version=version("ser-fewshot"),
    )


def import_card(model: Model, *, source: str, layout: str, n_random: int = 0, labels: Sequence[str] = ()) -> str:
    """Return the README.md of a model whose encoder was trained elsewhere, as Markdown.

    Args:
        model: what was imported.
        source: where from, as the user named it.
        layout: in which format.
        n_random: how many of its weights the source lacked.
        labels: what its own emotion head tells apart; none for no head.
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
    environment.filters |= {"line": _line, "text": _text}
    return environment.get_template(name)


def _licence(cards: Sequence[CorpusCard], *, n_corpora: int, imported: bool) -> str:
    """Return, in words, what the licences of the corpora, and of an imported encoder, together allow."""
    if imported:
        own = _licence(cards, n_corpora=n_corpora, imported=False)
        return f"that of the encoder's source, not known here, holds for the encoder; for what was trained: {own}"
    if any(card.commercial_use is False for card in cards):
        return "non-commercial research only: at least one corpus below forbids commercial use"
    if len(cards) < n_corpora or any(card.commercial_use is None for card in cards):
        return "unclear: at least one corpus states no licence that settles commercial use; research use only"
    return "as permissive as the corpora below; cite them"


def _line(text: str) -> str:
    """Return a text as one line; a lone surrogate, which UTF-8 cannot write, becomes a question mark."""
    return " ".join(text.encode(errors="replace").decode().split())


def _text(text: str) -> str:
    r"""Return a text as one line that Markdown prints as it is: `a|b` -> `a\|b`."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", _line(text))
