"""What is printed: names and labels of strangers as they are, without what a terminal would obey."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from cli.rooms import DEMO, EPISODE
from ser_fewshot import corpora
from ser_fewshot.cli import _console
from ser_fewshot.quickstart import DEMO_MANIFEST


def test_names_that_look_like_markup_are_printed_as_they_are(ok, room, tmp_path):
    names = ("[bold]x[/]", "[/]", "a.b", ":fire:", "$x$", "<script>", "怒り", "[link=http://x]y")
    clips = [sorted(DEMO.glob(f"*_{voice}_1.ogg"))[0] for voice in ("en-f1", "en-m7")]
    odd = tmp_path / "my [red]clip[b] 声 :smile:.ogg"
    shutil.copy(clips[0], odd)
    emotions = [part for name in names for part in ("--emotion", name, *clips)]
    out = ok("enroll", *emotions, "--model", room / "model", "--out", "e [x].ser")
    assert all(f"{name} 2 clips" in out for name in names)
    assert "e [x].ser" in out
    out = ok("predict", "e [x].ser", odd, *clips)
    assert odd.name in out
    out = ok("predict", "e [x].ser", odd, "--json")
    (answer,) = json.loads(out)
    assert (answer["clip"], list(answer["probabilities"])) == (str(odd), list(names))
    assert out.isascii()  # so that any encoding can carry it


def test_labels_that_look_like_markup_break_no_table(ok, run, room):
    rows = list(csv.DictReader(DEMO_MANIFEST.open(newline="")))
    names = dict(zip(sorted({row["emotion"] for row in rows}), ("[/]", "[bold]", "[b]x", ":fire:", "a|b"), strict=True))
    with Path("odd [table].csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "emotion", "speaker"))
        writer.writerows((DEMO / row["file"], names[row["emotion"]], row["speaker"]) for row in rows)
        writer.writerow(("[/bold].wav", "[/]", "someone"))
    out = ok("evaluate", "--manifest", "odd [table].csv", "--model", room / "model", *EPISODE, "--json", "[r].json")
    assert all(name in out for name in names.values())
    assert set(json.loads(Path("[r].json").read_text())["learners"]["nearest"]["labels"]) == set(names.values())
    _, _, err = run("evaluate", "--manifest", "odd [table].csv", "--model", room / "model", *EPISODE)
    assert "[/bold].wav" in err


def test_what_a_terminal_would_obey_is_not_printed(ok, run, room, tmp_path):
    odd = tmp_path / "a\x1b[2J\n\rb.ogg"
    shutil.copy(room / "clip.ogg", odd)
    out = ok("predict", room / "enrolled.ser", odd)
    assert "\x1b" not in out
    assert len(out.splitlines()) == 3
    assert json.loads(ok("predict", room / "enrolled.ser", odd, "--json"))[0]["clip"] == str(odd)
    odd.write_text("no sound")
    code, _, err = run("predict", room / "enrolled.ser", odd)
    assert (code, err.count("\n"), "\x1b" in err) == (2, 1, False)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no text")
def test_a_file_name_that_is_no_text_can_be_recognised(ok, room, tmp_path):
    odd = tmp_path / os.fsdecode(b"clip\xff.ogg")
    shutil.copy(room / "clip.ogg", odd)
    assert "clip\N{REPLACEMENT CHARACTER}.ogg" in ok("predict", room / "enrolled.ser", odd)
    assert json.loads(ok("predict", room / "enrolled.ser", odd, "--json"))[0]["clip"] == str(odd)


def test_a_narrow_terminal_loses_nothing_in_a_pipe(ok, monkeypatch):
    wide = ok("corpora")
    monkeypatch.setenv("COLUMNS", "40")
    assert ok("corpora") == wide
    assert "…" not in wide
    assert len(wide.splitlines()) == 2 + len(corpora.names())
    assert all(corpora.card(name).licence in wide for name in corpora.names())


def test_a_narrow_terminal_folds_what_is_too_long(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "40")
    with contextlib.redirect_stdout(Terminal()) as terminal:
        _console.say_table(("clip", "emotion"), [("x" * 50 + "怒り" * 20, "fear"), ("b", "[/]")])
    text = terminal.getvalue()
    assert all(cell_len(line) <= 40 for line in text.splitlines())
    assert (text.count("x"), text.count("怒"), "…" in text) == (50, 20, False)


def test_text_is_printed_as_one_line_that_a_terminal_does_not_obey():
    for text, printed in {
        "a\nb\tc\u2028d\u00a0e\u3000f": "a b c d e f",
        "\x1b[2J\x07\x9b": "\ufffd[2J\ufffd\ufffd",
        "gpj.\u202eexe\u2066": "gpj.\ufffdexe\ufffd",
        "\udcff": "\ufffd",
        "نمی\u200cشود 怒り é 👩\u200d🚀": "نمی\u200cشود 怒り é 👩\u200d🚀",
        "  two  spaces ": "  two  spaces ",
    }.items():
        assert _console.printable(text) == printed
