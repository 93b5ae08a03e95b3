"""Blocks of code in Markdown: which there are, and how each is run as a reader would.

A page is run from top to bottom in a folder of its own: its Python blocks share their names, its commands the files
that earlier blocks wrote. A block with a title is a file. One that cannot be run says why in the line before it:

    <!-- not run: it installs a program -->
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from ser_fewshot.cli import main as cli

RUNNABLE = {"bash", "python"}
DATA = {"csv", "text", "toml"}
PROGRAM = "ser-fewshot"
SMALLER = {
    "train": ("--epochs", "1", "--config", "small.toml"),
    "evaluate": ("--episodes", "3"),
    "quickstart": ("--episodes", "3"),
    "scan": ("--force",),  # the manifests that other pages take for granted are there
}
"""What is added to a command so that a test of it takes seconds; the last of two equal options wins."""
STEPS = "steps = 2\nvalidation_episodes = 2\n"
"""Of a training, in the small.toml that takes the place of the configuration that a page gives."""

_EXCUSE = re.compile(r"<!-- not run: (?P<reason>\S.*\S) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block: the line that its fence is in, its language, the file it is, and why it is not run, if so."""

    line: int
    language: str
    title: str | None
    code: str
    excuse: str | None


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    lines = text.splitlines()
    return [
        _block(token.info, token.content, token.map[0], lines)
        for token in MarkdownIt("commonmark").parse(text)
        if token.type == "fence" and token.map
    ]


def _block(info: str, code: str, start: int, lines: list[str]) -> Block:
    language = (info.split() or [""])[0]
    title = re.search(r'title="([^"]+)"', info)
    excuse = _EXCUSE.fullmatch(lines[start - 1].strip()) if start else None
    return Block(start + 1, language, title and title[1], code, excuse and excuse["reason"])


def commands_of(code: str) -> Iterator[list[str]]:
    """Yield each command of a bash block as its words, without comments and `uv run`."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words[2:] if words[:2] == ["uv", "run"] else words


def run_page(name: str, blocks: list[Block], folder: Path) -> list[int]:
    """Run what a page says, in a folder, which is the current one; return the lines of the blocks that were run."""
    names: dict[str, object] = {"__name__": "__main__"}
    done = []
    for block in blocks:
        if block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code, encoding="utf-8")
        elif block.excuse or block.language not in RUNNABLE:
            continue
        elif block.language == "python":
            exec(compile("\n" * block.line + block.code, name, "exec"), names)
        else:
            _run_commands(f"{name}:{block.line}", block.code)
        done.append(block.line)
    return done


def _run_commands(where: str, code: str) -> None:
    for program, *arguments in commands_of(code):
        assert program == PROGRAM, f"{where}: {program} is not run by tests: mark the block with the reason"
        if arguments[0] == "train":
            _write_small_config(arguments)
        more = () if "--replay" in arguments else SMALLER.get(arguments[0], ())
        assert cli.main([*arguments, *more]) == 0, f"{where}: {shlex.join([program, *arguments])}"


def _write_small_config(arguments: list[str]) -> None:
    """Write the configuration of a training, or an empty one, with few steps in it."""
    given = Path(arguments[arguments.index("--config") + 1]).read_text() if "--config" in arguments else "[train]\n"
    assert "[train]\n" in given
    Path("small.toml").write_text(given.replace("[train]\n", f"[train]\n{STEPS}"))


def faults_of(blocks: list[Block]) -> list[str]:
    """Return what a page says of its blocks that cannot be so."""
    faults = []
    for block in blocks:
        if block.language not in RUNNABLE | DATA:
            faults.append(
                f"line {block.line}: the language {block.language or '(none)'} is neither run nor known as data"
            )
        elif block.excuse and block.language in DATA:
            faults.append(f"line {block.line}: a {block.language} block needs no reason")
        if block.language == "python":
            ast.parse(block.code)
    return faults
