"""What README promises: its Python runs, its commands parse, its tables are what the result files say."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import pytest

from ser_fewshot import cli
from ser_fewshot.quickstart import DEMO_MANIFEST

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    lines = [line.partition("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line[line.index("ser-fewshot") :] for line in lines if "ser-fewshot" in line]


def test_the_python_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    clips = {"anger": "anger", "sadness": "sadness", "awe": "fear"}
    for label, emotion in clips.items():
        for number, clip in enumerate(sorted(DEMO_MANIFEST.parent.glob(f"{emotion}_*.ogg"))[:3], start=1):
            shutil.copy(clip, tmp_path / f"{label}_{number}.wav")
    shutil.copy(DEMO_MANIFEST.parent / "fear_en-us-m1_1.ogg", tmp_path / "new.wav")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), namespace)
    assert namespace["prediction"].label in clips
    assert namespace["classifier"].labels == ("anger", "sadness", "awe")
    assert capsys.readouterr().out.startswith(namespace["prediction"].label)


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_readme_is_legal(command):
    program, *arguments = shlex.split(command)
    assert program == "ser-fewshot"
    assert cli._parser().parse_args(arguments).command


def test_the_two_promised_commands_stand_in_the_readme():
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    assert "pip install uv && uv run ser-fewshot quickstart" in lines
    assert "uv run pytest" in lines


@pytest.mark.parametrize("page", ["README.md", "RESULTS.md", "docs/default_model.md"])
def test_tables_are_what_the_result_files_say(page):
    spec = importlib.util.spec_from_file_location("write_tables", ROOT / "recipes" / "write_tables.py")
    write_tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(write_tables)
    text = (ROOT / page).read_text(encoding="utf-8")
    assert "<!-- table:" in text
    assert write_tables.filled(text) == text
