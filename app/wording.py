"""Which texts of the page belong to which component, so that all of them change with the language."""

from __future__ import annotations

from typing import Any, TypeVar

import gradio as gr
from gradio.blocks import Block

from .texts import DEFAULT, text

C = TypeVar("C", bound=Block)


class Wording:
    """The components that were given texts."""

    def __init__(self) -> None:
        self._given: list[tuple[Block, dict[str, str]]] = []

    def put(self, component: C, **names: str) -> C:
        """Give a component texts by their names, such as `label="teach.record"`, and return it."""
        for property_, name in names.items():
            setattr(component, property_, text(DEFAULT, name))
        self._given.append((component, names))
        return component

    @property
    def components(self) -> list[Block]:
        """What `updates` are for."""
        return [component for component, _ in self._given]

    def updates(self, language: str) -> list[dict[str, Any]]:
        """Return the texts of all components in a language."""
        return [gr.update(**_filled(names, language)) for _, names in self._given]


def _filled(names: dict[str, str], language: str) -> dict[str, Any]:
    return {property_: text(language, name) for property_, name in names.items()}
