"""The methods that are compared: every learner of the package, its default model, and conventional baselines.

All learners share one front-end (log-mel), one encoder and one way of being trained, so that a column compares
learners and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ser_fewshot import learners
from ser_fewshot.benchmark.record import Kind
from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.errors import SettingsError

ENCODER: dict[str, Any] = {"name": "dense", "dropout": 0.2}
"""Of all meta-trained learners."""
UNTRAINED = "nearest"
"""The learner that is not meta-trained."""
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
    def frontend_key(self) -> str:
        """The front-end with its settings, as text."""
        return f"{self.frontend} {self.frontend_settings}"


def _baseline(name: str, learner: str, frontend: str, *, encoder: str = "statistics", **settings: Any) -> Method:
    chosen: dict[str, Any] = {
        "settings": {"encoder": {"name": encoder}},
        "frontend": frontend,
        "frontend_settings": settings,
    }
    return Method(name=name, kind="baseline", learner=learner, **chosen)


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


def methods_of(names: Sequence[str], *, baselines: bool, default_model: bool = True) -> tuple[Method, ...]:
    """Return the methods of a run: learners by name, the default model and `BASELINES`.

    A learner may have settings of its own ("protonet:metric=cosine"); "all" is every learner.

    Raises:
        SettingsError: a learner or a setting is unknown.
    """
    every = [name for given in names for name in (learners.names() if given == "all" else [given])]
    methods = [parse_method(text) for text in dict.fromkeys(every)]
    methods += [Method(name=DEFAULT_MODEL, kind="model", learner="")] if default_model else []
    return (*methods, *(BASELINES if baselines else ()))


def method_named(name: str) -> Method:
    """Return the method of a name in a record.

    Raises:
        SettingsError: there is none.
    """
    known = {method.name: method for method in methods_of([], baselines=True)}
    return known[name] if name in known else parse_method(name)


def parse_method(text: str) -> Method:
    """Return the method of a learner with settings: "finetune:scope=whole,head.steps=20".

    Raises:
        SettingsError: the learner or a setting is unknown, or a setting has no value.
    """
    name, _, assignments = text.partition(":")
    settings: dict[str, Any] = {}
    for item in filter(None, assignments.split(",")):
        key, equals, value = item.partition("=")
        if not equals:
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
    learners.settings_of(name, settings)  # raises on a wrong one before any clip is read
    return Method(name=text, kind="learner", learner=name, settings=settings, trained=trained)


def _value(text: str) -> Any:
    """Return a value as JSON reads it, else the text as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text
