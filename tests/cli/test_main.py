"""The command line as a whole: help, errors in one line, exit codes, and answers that programs can read."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.rooms import EPISODE
from ser_fewshot.cli import main as cli


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell line in which SER is the program."""
    line = command.replace("SER", f"{shlex.quote(sys.executable)} -m ser_fewshot")
    return subprocess.run(
        ["bash", "-c", line], env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60
    )


def test_every_command_that_computes_has_one_option_for_the_device():
    (commands,) = (action for action in cli._parser()._actions if action.dest == "command")
    options = {
        name: (action.default, action.help)
        for name, parser in commands.choices.items()
        for action in parser._actions
        if action.dest == "device"
    }
    assert options.keys() == {"train", "evaluate", "extract", "benchmark"}
    assert {default for default, _ in options.values()} == {"auto"}
    assert len(set(options.values())) == 1


def test_every_command_explains_itself_and_loads_nothing_heavy():
    code = """
import sys
from ser_fewshot.cli.main import COMMANDS, main
for command in COMMANDS:
    try: main([command, "--help"])
    except SystemExit: pass
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *helps, loaded = done.stdout.splitlines()
    usages = [line.split()[2] for line in helps if line.startswith("usage: ser-fewshot ")]
    assert usages == list(cli.COMMANDS)
    heavy = {
        "torch",
        "torchaudio",
        "transformers",
        "librosa",
        "numpy",
        "soundfile",
        "sklearn",
        "rich",
        "jinja2",
        "shtab",
    }
    assert not set(loaded.split()) & heavy


def test_the_list_of_commands_has_the_first_line_of_each(ok):
    listed = " ".join(ok("--help").split())
    for name, module in cli.COMMANDS.items():
        summary = module.__doc__.splitlines()[0].rstrip(".")
        assert f" {name} {summary[0].lower()}{summary[1:]}" in listed
    assert ok("--version").split()[1][0].isdigit()


def test_debug_shows_the_traceback_before_or_after_the_command(run):
    for arguments in (("--debug", "corpora", "emodbb"), ("corpora", "emodbb", "--debug")):
        code, _, err = run(*arguments)
        assert code == 2
        assert "Traceback" in err
        assert err.splitlines()[-1].startswith("ser-fewshot: corpora: found the unknown name")


def test_what_nobody_expected_still_ends_in_one_line(run, monkeypatch):
    odd = ZeroDivisionError("[/]\nby \x1b[2J")
    told = "internal error: ZeroDivisionError: [/] by \N{REPLACEMENT CHARACTER}[2J"
    for error, code, complaint in (
        (KeyboardInterrupt(), 130, "ser-fewshot: stopped\n"),
        (odd, 2, told),
        (OSError(28, "No space left on device"), 2, "No space left on device"),
    ):

        def fail(arguments: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr("ser_fewshot.cli.corpora.run", fail)
        got, out, err = run("corpora")
        assert (got, out, err.count("\n")) == (code, "", 1)
        assert complaint in err


def test_a_closed_pipe_is_silent():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "ser_fewshot", "corpora"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (141, b"")
    os.close(writer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_gives_one_line():
    done = shell("SER corpora > /dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "No space left on device" in done.stderr


def test_an_encoding_without_a_sign_does_not_stop_an_answer():
    done = shell("SER corpora turev_db", PYTHONIOENCODING="ascii", LC_ALL="C")  # its authors have a ğ in a name
    assert (done.returncode, done.stderr) == (0, "")
    assert "Ormano\\u011flu" in done.stdout


def test_an_answer_for_a_program_is_all_that_stands_on_stdout(run, room, tmp_path):
    shutil.copytree(room / "mine", "mine")
    Path("mine/fear/bad.wav").touch()
    lines = [
        ("corpora", "--json"),
        ("cache", "--json"),
        ("scan", "folder", "mine", "--out", "t.csv", "--json"),
        ("evaluate", "--manifest", "t.csv", "--model", room / "model", *EPISODE, "--k-shot", 3, "--json", "-"),
        ("enroll", "mine", "--model", room / "model", "--out", "e.ser", "--json"),
        ("predict", "e.ser", room / "clip.ogg", "--json"),
    ]
    for line in lines:
        code, out, _ = run(*line)
        assert code == 0
        assert json.loads(out, parse_constant=pytest.fail)


def test_what_stands_where_a_command_writes_is_replaced_by_force_alone(run, room, tmp_path):
    shutil.copy(room / "enrolled.ser", "e.ser")
    lines = {
        "e.ser": ("enroll", room / "mine", "--model", room / "model", "--out", "e.ser"),
        "t.csv": ("scan", "folder", room / "mine", "--out", "t.csv"),
        "r.html": ("quickstart", "--model", room / "model", "--episodes", 2, "--out", "r.html"),
    }
    for name, line in lines.items():
        Path(name).write_bytes(b"mine")
        code, out, err = run(*line)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"--out: found {name}, which is there already" in err
        assert Path(name).read_bytes() == b"mine"
        assert run(*line, "--force")[0] == 0
        assert Path(name).read_bytes() != b"mine"
    assert run("enroll", "--to", "e.ser", "--forget", "fear", "--out", "e.ser")[0] == 0, "it may be changed in place"
    for name in ("quickstart-report.html", "quickstart-report-2.html"):
        assert run("quickstart", "--model", room / "model", "--episodes", 2)[0] == 0
        assert Path(name).exists()
