"""The card of a saved model with the metadata of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ser_fewshot.errors import CheckpointError, SettingsError

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

CARD = "README.md"
_PLACE = "THIS_FOLDER"  # in cards, for the path or the id of their model
_TASK = "audio-classification"
_TAGS = (_TASK, "speech-emotion-recognition", "few-shot")
_NOT_LOOKED_UP = "see-source"  # the licence's name on the card of an import


def hub_card(folder: Path, name: str, *, licence: str | None = None, results: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return the card of a saved model with its id on the hub, and the metadata that is still missing; see `push`.

    Raises:
        CheckpointError: the folder has no card.
        SettingsError: the metadata cannot be read, no licence of the weights is stated, or a result is of another model
            or of a corpus that the model was trained on.
    """
    card = read_card(folder / CARD)
    data = cast("ModelCardData", card.data)
    if licence is not None:
        data.license, data.license_name, data.license_link = licence, None, None
    if not data.license or data.license_name == _NOT_LOOKED_UP:
        raise SettingsError(
            str(folder / CARD),
            found="a licence that nobody has looked up" if data.license else "no licence",
            expected="the licence under which others may use the weights",
            remedy="Look up what the encoder and the corpora allow, and state it with --license.",
        )
    data.library_name, data.pipeline_tag = data.library_name or "ser_fewshot", data.pipeline_tag or _TASK
    data.tags = list(dict.fromkeys([*(data.tags or ()), *_TAGS]))
    if results:
        data.model_name = name.rpartition("/")[2]
        data.eval_results = [_result(scores, folder, trained_on=corpora_of(card)) for scores in results]
    card.text = card.text.replace(_PLACE, name)
    return str(card)


def corpora_of(card: ModelCard) -> list[str]:
    """Return the corpora that a card states its model was trained on, one or several."""
    names = cast("ModelCardData", card.data).datasets or []
    return [names] if isinstance(names, str) else [str(name) for name in names]


def read_card(path: Path) -> ModelCard:
    """Return a card with its metadata.

    Raises:
        CheckpointError: there is none.
        SettingsError: its metadata cannot be read.
    """
    from huggingface_hub import ModelCard  # noqa: PLC0415 - for the few who use a hub

    try:
        return ModelCard(path.read_text(encoding="utf-8"))
    except OSError as error:
        found, remedy = error.strerror or "no card", "Save the model again."
        raise CheckpointError(str(path), found=found, expected="a card", remedy=remedy) from error
    except Exception as error:  # of YAML, or of the hub's client
        found, remedy = f"{error!s:.200}", "Correct its first lines."
        raise SettingsError(str(path), found=found, expected="metadata in YAML", remedy=remedy) from error


def _result(scores: Mapping[str, Any], folder: Path, *, trained_on: Sequence[str]) -> EvalResult:
    """Return a score as the hub lists it: UAR, which is the mean recall of the classes."""
    from huggingface_hub import EvalResult  # noqa: PLC0415 - for the few who use a hub

    try:
        corpora = [str(name) for name in scores["corpora"]]
        learner, score = next(iter(scores["learners"].items()))
        episodes = f"{score['episodes']}, {score['episodes_sha256'][:12]}"
        name, uar, spread = f"UAR, {score['protocol']}", float(score["uar"]["mean"]), score["uar"]["ci95"]
        model = Path(scores["model"])
    except (AttributeError, KeyError, TypeError, ValueError, StopIteration) as error:
        raise _refused(f"{type(error).__name__}: {error}", "what 'evaluate --json' wrote") from error
    if model.resolve() != folder.resolve():
        raise _refused(f"scores of {model}", f"those of {folder}")
    again = sorted({*corpora} & {*trained_on})
    if again or scores.get("training_set", {}).get("found"):
        raise _refused(f"scores on {', '.join(again or corpora)}", "a corpus that the model was not trained on")
    return EvalResult(
        task_type=_TASK,
        dataset_type="-".join(corpora),
        dataset_name=" and ".join(corpora),
        metric_type="recall",
        metric_name=name,
        metric_value=round(uar, 4),
        metric_args={"average": "macro", "ci95": spread, "learner": learner, "episodes": episodes},
    )


def _refused(found: str, expected: str) -> SettingsError:
    return SettingsError("--results", found=found, expected=expected, remedy="Evaluate this model on another corpus.")
