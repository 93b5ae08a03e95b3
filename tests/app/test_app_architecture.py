"""The page works under two names, `app` and `ser_fewshot.app`, and opens nothing that unpickles."""

import ast
from pathlib import Path

import pytest
from test_architecture import UNSAFE

import app

SOURCES = sorted(Path(app.__file__).parent.rglob("*.py"))


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_the_page_names_itself_only_relatively_and_imports_nothing_that_unpickles(path):
    tops = {name.partition(".")[0] for name in imports(ast.parse(path.read_text(encoding="utf-8")))}
    assert not tops & {"app", "tests", "recipes", *UNSAFE}
