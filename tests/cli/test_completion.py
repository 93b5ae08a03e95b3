"""Shell completion: the script is made from the parser, and a shell that reads it completes what the parser takes."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ser_fewshot import corpora, plugins
from ser_fewshot.cli import main as cli


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    code = "import sys; from ser_fewshot.cli.main import main; main(['completion', 'bash'])"
    code += "; assert 'torch' not in sys.modules"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    path = tmp_path_factory.mktemp("completion") / "ser-fewshot.bash"
    path.write_text(printed.stdout)
    return path


def completed(script: Path, folder: Path, *words: str) -> set[str]:
    """What bash offers for the last of some words."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    line = ["ser-fewshot", *words]
    code = f"""
        source {shlex.quote(str(script))}
        COMP_WORDS=({" ".join(map(shlex.quote, line))}); COMP_CWORD={len(words)}
        _shtab_ser_fewshot ser-fewshot {shlex.quote(words[-1])} {shlex.quote(line[-2])}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, cwd=folder, check=True)
    return {word.rstrip() for word in done.stdout.splitlines()} - {""}


def test_bash_completes_commands_options_choices_and_files(script, tmp_path):
    (tmp_path / "clips.csv").touch()
    (tmp_path / "corpus").mkdir()
    assert {"scan", "doctor", "completion", "convert"} <= completed(script, tmp_path, "")
    assert completed(script, tmp_path, "comp") == {"completion"}
    assert completed(script, tmp_path, "completion", "") == {"bash", "zsh", "tcsh"}
    assert completed(script, tmp_path, "evaluate", "--man") == {"--manifest"}
    assert completed(script, tmp_path, "evaluate", "--manifest", "c") == {"clips.csv", "corpus"}
    assert completed(script, tmp_path, "train", "--learner", "pro") == {"protonet"}
    of_corpora = {name for name in corpora.names() if name.startswith("emo")}
    assert completed(script, tmp_path, "scan", "emo") == of_corpora >= {"emobox", "emodb", "emovo"}
    assert completed(script, tmp_path, "pull", "user/x", "--out", "c") == {"corpus"}


def test_every_shell_gets_every_command_and_learner_and_another_is_refused(run):
    commands = cli._parser()._subparsers._group_actions[0].choices
    for shell in ("bash", "zsh", "tcsh"):
        code, printed, noted = run("completion", shell)
        assert (code, noted) == (0, "")
        assert all(word in printed for word in (*commands, *plugins.names("learners")))
    code, printed, complaint = run("completion", "cmd")
    assert (code, printed) == (2, "")
    assert "bash" in complaint
