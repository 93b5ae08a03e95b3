"""Imports go only left, modules with an underscore stay in their folder, and nothing outside is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import ser_fewshot

PACKAGE = Path(ser_fewshot.__file__).parent
ROWS = (
    ("assets", "errors"),
    ("compute", "plugins", "settings", "optional"),
    ("storage",),
    ("audio",),
    ("corpora",),
    ("frontends",),
    ("encoders",),
    ("episodes",),
    ("learners",),
    ("evaluation",),
    ("training",),
    ("models",),
    ("classifier",),
    ("importers",),
    ("benchmark",),
    ("quickstart",),
    ("cli",),
    ("__main__",),
)
"""From left to right; modules of one row do not know each other, files of one package may."""
PLACE = {name: number for number, row in enumerate(ROWS) for name in row}
OUTSIDE = {"app", "recipes", "tests", "conftest"}
BY_NAME = {"__init__", "cli", "plugins"}
"""The only ones that import by a name that stands nowhere: what has to wait, plug-ins, and the demo."""
LONGEST = 300  # lines of a module
UNSAFE = {"pickle", "marshal", "shelve", "joblib", "dill", "cloudpickle"}

SOURCES = sorted(PACKAGE.rglob("*.py"))


def home(path: Path) -> str:
    """The module right below the package that a file is, or is part of."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path, tree: ast.AST) -> Iterator[str]:
    """The absolute name of everything that a file imports, anywhere in it."""
    package = ("ser_fewshot", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            yield node.args[0].value if isinstance(node.args[0], ast.Constant) else "importlib.of_some_name"


def own(name: str) -> str | None:
    """The module right below the package that an imported name belongs to; None for other packages."""
    top, _, rest = name.partition(".")
    return rest.partition(".")[0] if top == "ser_fewshot" else None


def wrong(path: Path, source: str) -> list[str]:
    """What a file imports that does not stand left of it."""
    here, faults = home(path), []
    for name in imported(path, ast.parse(source)):
        there = own(name)
        if there is None or there in (here, "__version__"):
            continue
        if there not in PLACE or PLACE[there] >= PLACE[here]:
            faults.append(name)
    return faults


def test_every_module_has_its_place():
    assert {home(path) for path in SOURCES} - {"__init__"} == set(PLACE)


def test_imports_only_go_left():
    faults = {path: wrong(path, path.read_text(encoding="utf-8")) for path in SOURCES if home(path) != "__init__"}
    assert {str(path): found for path, found in faults.items() if found} == {}


def test_a_module_with_an_underscore_is_imported_from_its_own_folder_alone():
    faults = []
    for path in SOURCES:
        folder = ("ser_fewshot", *path.relative_to(PACKAGE).parent.parts)
        for name in imported(path, ast.parse(path.read_text(encoding="utf-8"))):
            parts = name.split(".")
            private = [place for place, part in enumerate(parts) if part.startswith("_") and not part.startswith("__")]
            if parts[0] == "ser_fewshot" and private and tuple(parts[: private[0]]) != folder[: private[0]]:
                faults.append(f"{path.relative_to(PACKAGE)}: {name}")
    assert faults == []


def test_a_reader_finishes_every_module():
    lines = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8").count("\n") for path in SOURCES}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


def test_the_test_sees_an_import_that_goes_right():
    for file, line, fault in (
        ("episodes/spec.py", "from ser_fewshot.learners import Learner", "ser_fewshot.learners.Learner"),
        ("episodes/spec.py", "from ser_fewshot import learners", "ser_fewshot.learners"),
        ("episodes/spec.py", "import ser_fewshot.cli", "ser_fewshot.cli"),
        ("episodes/spec.py", "from .. import training", "ser_fewshot.training"),
        ("episodes/spec.py", "from ..learners import Learner", "ser_fewshot.learners.Learner"),
        ("frontends/logmel.py", "from ..encoders import Conv", "ser_fewshot.encoders.Conv"),
        ("frontends/logmel.py", "def f():\n    from ser_fewshot import episodes", "ser_fewshot.episodes"),
        ("learners/ridge.py", "from ser_fewshot import EpisodeSpec", "ser_fewshot.EpisodeSpec"),
        ("errors.py", "from ser_fewshot.plugins import names", "ser_fewshot.plugins.names"),
        ("episodes/spec.py", "import importlib\nimportlib.import_module('ser_fewshot.cli')", "ser_fewshot.cli"),
        ("episodes/spec.py", "from ser_fewshot.audio import load", None),
        ("frontends/logmel.py", "from ._features import stack", None),
        ("frontends/logmel.py", "from ser_fewshot import audio, __version__\nimport torch", None),
    ):
        assert wrong(PACKAGE / file, line) == ([] if fault is None else [fault]), line


def test_the_library_imports_neither_the_demo_nor_the_recipes_nor_what_unpickles():
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = set(imported(path, tree))
        assert not {name.partition(".")[0] for name in names} & (OUTSIDE | UNSAFE), path
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert not {ast.unparse(call.func) for call in calls} & {"eval", "exec", "__import__"}, path
        strict = [call for call in calls if "load_state_dict" in ast.unparse(call.func) and call.keywords]
        assert not strict, path  # weights are loaded whole
        loads = [call for call in calls if ast.unparse(call.func) == "torch.load"]
        assert all("weights_only=True" in map(ast.unparse, call.keywords) for call in loads), path
        assert "importlib.of_some_name" not in names or home(path) in BY_NAME, path
