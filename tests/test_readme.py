"""What README and the other pages promise: the first two commands, and tables that are what the result files say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "RESULTS.md", *sorted((ROOT / "docs").rglob("*.md"))]
TABLED = [page.relative_to(ROOT).as_posix() for page in PAGES if "<!-- table:" in page.read_text(encoding="utf-8")]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_two_promised_commands_stand_in_the_readme():
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    assert "pip install uv && uv run ser-fewshot quickstart" in lines
    assert "uv run pytest" in lines


def test_tables_are_what_the_result_files_say():
    spec = importlib.util.spec_from_file_location("write_tables", ROOT / "recipes" / "write_tables.py")
    write_tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(write_tables)
    for page in TABLED:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert write_tables.filled(text) == text, page
