"""The methods that are compared: every learner of the package, its default model, what users would otherwise pick.

All learners share one front-end (log-mel), one encoder and one way of being trained, so that a column compares
learners and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ser_fewshot import learners
from ser_fewshot.benchmark.records import Kind
from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.errors import SettingsError

ENCODER: dict[str, Any] = {"name": "dense", "dropout": 0.2}
"""What learners that are trained share."""
UNTRAINED = "nearest"
"""The learner that stays as it is, as what an embedding is worth by itself."""
DEFAULT_MODEL = "default-model"
PROBE = "linear-probe"
SVM = "svm"


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row of the tables.

    Attributes:
        name: unique in a run.
        kind: see `Record.kind`.
        learner: a learner of the package, SVM, PROBE, or "" for the default model.
        settings: what the learner is told, beside the encoder.
        frontend, frontend_settings: what it sees clips through.
        trained: whether it is meta-trained on the split.
    """

    name: str
    kind: Kind
    learner: str
    settings: dict[str, Any] = field(default_factory=dict)
    frontend: str = "logmel"
    frontend_settings: dict[str, Any] = field(default_factory=dict)
    trained: bool = False

    @property
    def seen_through(self) -> str:
        """A name of the front-end with its settings."""
        return f"{self.frontend} {self.frontend_settings}"


def _baseline(name: str, learner: str, frontend: str, *, encoder: str = "statistics", **settings: Any) -> Method:
    return Method(
        name=name,
        kind="baseline",
        learner=learner,
        settings={"encoder": {"name": encoder}},
        frontend=frontend,
        frontend_settings=settings,
    )


BASELINES = (
    _baseline("egemaps-ridge", "ridge", "opensmile", features="eGeMAPSv02"),
    _baseline("egemaps-svm", SVM, "opensmile", features="eGeMAPSv02"),
    _baseline("compare-ridge", "ridge", "opensmile", features="ComParE_2016"),
    _baseline("compare-svm", SVM, "opensmile", features="ComParE_2016"),
    _baseline("ge2e-ridge", "ridge", "resemblyzer"),
    _baseline("nearest-mean-logmel", "nearest", "logmel", encoder="mean"),
    _baseline("functionals-ridge", "ridge", "logmel"),
    Method(name=PROBE, kind="ceiling", learner=PROBE),
)


def chosen(names: Sequence[str], *, baselines: bool, default_model: bool = True) -> tuple[Method, ...]:
    """Return the methods of a run.

    Args:
        names: learners, each with settings of its own if it has any ("protonet:metric=cosine"); "all" is every one.
        baselines: whether to add `BASELINES`.
        default_model: whether to add the model that comes with the package.

    Raises:
        SettingsError: a learner or a setting is unknown, or one is named twice.
    """
    asked = [name for given in names for name in (learners.names() if given == "all" else [given])]
    methods = [parsed(text) for text in dict.fromkeys(asked)]
    methods += [Method(name=DEFAULT_MODEL, kind="model", learner="")] if default_model else []
    return (*methods, *(BASELINES if baselines else ()))


def named(name: str) -> Method:
    """Return the method that a record is of.

    Raises:
        SettingsError: it is none.
    """
    known = {method.name: method for method in chosen([], baselines=True)}
    return known[name] if name in known else parsed(name)


def parsed(text: str) -> Method:
    """Return the method that a learner with settings is: "finetune:scope=whole,head.steps=20".

    Raises:
        SettingsError: the learner or a setting is unknown, or a setting has no value.
    """
    name, _, told = text.partition(":")
    settings: dict[str, Any] = {}
    for item in filter(None, told.split(",")):
        key, given, value = item.partition("=")
        if not given:
            raise SettingsError(
                text, found=repr(item), expected="KEY=VALUE", remedy="Write LEARNER:KEY=VALUE,KEY=VALUE."
            )
        *path, last = key.split(".")
        inner = settings
        for step in path:
            inner = inner.setdefault(step, {})
        inner[last] = _value(value)
    trained = name != UNTRAINED
    if trained and isinstance(getattr(learners.settings_of(name, {}), "encoder", None), EncoderSettings):
        settings = {**settings, "encoder": {**ENCODER, **settings.get("encoder", {})}}
    learners.settings_of(name, settings)  # a wrong one is known before anything is read
    return Method(name=text, kind="learner", learner=name, settings=settings, trained=trained)


def _value(text: str) -> Any:
    """Return a value as JSON reads it, else the text as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text
