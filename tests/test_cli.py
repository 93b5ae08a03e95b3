"""The command line: what each command answers, and how it refuses: one line on stderr, exit code 2, nothing written."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from conftest import tone
from rich.cells import cell_len
from synthetic import small_model
from views import model_of_two_views

from ser_fewshot import audio, corpora, plugins
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.cli import _console
from ser_fewshot.cli import main as cli
from ser_fewshot.cli._text import printable
from ser_fewshot.compute.versions import processor
from ser_fewshot.models import ModelConfig, build_model, save_model, with_view
from ser_fewshot.quickstart import DEMO_MANIFEST

DEMO = DEMO_MANIFEST.parent
COMMANDS = (
    "quickstart",
    "corpora",
    "scan",
    "train",
    "evaluate",
    "import",
    "enroll",
    "predict",
    "demo",
    "cache",
    "push",
    "pull",
    "convert",
    "completion",
    "doctor",
)
EPISODE = ("--n-way", "3", "--k-shot", "2", "--n-query", "2", "--episodes", "6")
TINY = """
[settings.encoder]
name = "mean"

[train]
epochs = 1
steps = 2
validation_episodes = 4
tasks = [{ n_way = 2, k_shot = 1, n_query = 1 }]
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    """A folder with a quick model, an enrolment, a corpus of folders, and files that are not what they should be."""
    room = tmp_path_factory.mktemp("room")
    model = build_model(ModelConfig(learner="nearest", settings={"encoder": {"name": "mean"}}))
    save_model(model, room / "model", card="a model for tests\n")
    for clip in DEMO.glob("*_1.ogg"):
        emotion, speaker, _ = clip.stem.split("_")
        (room / "mine" / emotion / speaker).mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, room / "mine" / emotion / speaker)
    classifier = FewShotClassifier(model)
    classifier.enroll({name: sorted(DEMO.glob(f"{name}_en-f1_*.ogg")) for name in ("anger", "fear")})
    classifier.save(room / "enrolled.ser")
    (room / "clip.ogg").write_bytes((DEMO / "fear_en-m7_1.ogg").read_bytes())
    (room / "text.wav").write_text("this is no sound\n")
    (room / "empty.wav").touch()
    (room / "header.csv").write_text("file,emotion,speaker\n")
    (room / "columns.csv").write_text("path,label\na.wav,anger\n")
    (room / "gone.csv").write_text(
        "file,emotion,speaker\n" + "".join(f"gone{i}.wav,e{i % 5},s{i}\n" for i in range(90))
    )
    (room / "garbage.ser").write_bytes(b"\x08\0\0\0\0\0\0\0{not json" + bytes(100))
    (room / "tiny.toml").write_text(TINY)
    return room


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, tmp_path_factory, monkeypatch) -> None:
    """Work in a new folder, with a cache that all tests share and no user's cache is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_FEWSHOT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def ok(run):
    """Call the program, which must succeed; return stdout."""

    def call(*arguments: object) -> str:
        code, out, err = run(*arguments)
        assert code == 0, err
        return out

    return call


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell line in which SER is the program."""
    line = command.replace("SER", f"{shlex.quote(sys.executable)} -m ser_fewshot")
    return subprocess.run(
        ["bash", "-c", line], env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60
    )


def below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


# The program as a whole


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


def test_help_loads_nothing_heavy():
    code = "import sys\nfrom ser_fewshot.cli.main import main\n"
    code += "try: main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())  # after the help itself, which has words of its own
    heavy = {"torch", "torchaudio", "transformers", "librosa", "numpy", "soundfile", "sklearn", "rich", "jinja2"}
    assert not loaded & heavy
    assert "ser_fewshot.plugins" in loaded


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(ok, command):
    assert f"usage: ser-fewshot {command}" in ok(command, "--help")
    assert command in ok("--help")


def test_the_version_is_that_of_the_package(ok):
    assert ok("--version").split()[1][0].isdigit()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "required: COMMAND"),
        ("transcribe", "invalid choice: 'transcribe'"),
        ("scan", "required: CORPUS, ROOT"),
        ("scan emodb x --fold one", "found 'one'; expected a whole number"),
        ("scan emodb x --out", "--out: expected one argument"),
        ("evaluate", "required: --manifest"),
        ("evaluate --manifest t.csv --seed -1", "found '-1'; expected a whole number from 0"),
        ("evaluate --manifest t.csv --seed 99999999999999999999", "expected a whole number from 0 to 2147483647"),
        ("evaluate --manifest t.csv --episodes 0", "expected a whole number from 1"),
        ("evaluate --manifest t.csv --k-shot 2.5", "found '2.5'"),
        ("evaluate --manifest t.csv --n-way few", "found 'few'"),
        ("evaluate --manifest t.csv --label mood", "invalid choice: 'mood'"),
        ("evaluate --manifest t.csv --query-speaker other", "invalid choice: 'other'"),
        ("evaluate --manifest t.csv --normalization max", "invalid choice: 'max'"),
        ("train --manifest t.csv", "required: --out"),
        ("train --manifest t.csv --out run --epochs 0", "expected a whole number from 1"),
        ("enroll mine", "required: --out"),
        ("enroll mine --out e --emotion", "--emotion: expected at least one argument"),
        ("predict e.ser", "required: CLIP"),
        ("cache 'a\nb'", "unrecognized arguments: a b"),
        ("cache '\x1b[2J'", "unrecognized arguments: \N{REPLACEMENT CHARACTER}[2J"),
    ],
)
def test_a_wrong_option_gives_one_line_and_exit_code_2(run, tmp_path, line, complaint):
    code, out, err = run(*shlex.split(line))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("ser-fewshot: ")
    assert complaint in err
    assert not below(tmp_path)


TRAIN = "train --manifest {demo} --out run --config"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("corpora emodbb", "Did you mean 'emodb'?"),
        ("corpora ''", "unknown name ''"),
        ("corpora ../emodb", "unknown name"),
        ("scan emodbb x --out t.csv", "Did you mean 'emodb'?"),
        ("scan emodb nowhere --out t.csv", "no folder"),
        ("scan emodb {room}/clip.ogg --out t.csv", "a sound file at"),
        ("scan emodb {room}/mine --out t.csv", "Emo-DB"),
        ("scan folder {room} --out t.csv", "folder"),
        ("scan table {room}/columns.csv --out t.csv", "no column file, emotion, speaker"),
        ("scan table {room}/header.csv --out t.csv", "no clip that can be used"),
        ("scan table {room}/gone.csv --out t.csv", "no clip that can be used, 90 files skipped"),
        ("scan emodb {room}/mine --fold 1 --out t.csv", "the option fold"),
        ("scan folder {room}/mine --out {room}/clip.ogg/t.csv", "not a directory"),
        ("scan folder {room}/mine --out {room}/mine", "the folder"),
        ("evaluate --manifest gone.csv", "no such file"),
        ("evaluate --manifest {room}", "found a folder"),
        ("evaluate --manifest {room}/clip.ogg", "found a sound file"),
        ("evaluate --manifest {room}/columns.csv", "no column file, emotion, speaker"),
        ("evaluate --manifest {room}/header.csv", "no clips"),
        ("evaluate --manifest {room}/gone.csv --model {room}/model", "none of which can be used"),
        ("evaluate --manifest {demo} {demo} --model {room}/model", "repeated ids"),
        ("evaluate --manifest {demo} --model nowhere", "no such file"),
        ("evaluate --manifest {demo} --model {room}/mine", "no such file"),
        ("evaluate --manifest {demo} --model {room}/model --learner rigde", "Did you mean 'ridge'?"),
        ("evaluate --manifest {demo} --model {room}/model --n-way 1 --json r.json", "--n-way: found 1"),
        ("evaluate --manifest {demo} --model {room}/model --n-way 9 --json r.json", "9-way"),
        (
            "evaluate --manifest {demo} --model {room}/model --k-shot 99 --json r.json",
            "Possible with these clips: --n-way 4, --k-shot",
        ),
        ("evaluate --manifest {demo} --model {room}/model --label speaker --query-speaker disjoint", "'same' or 'any'"),
        ("evaluate --manifest {demo} --model {room}/model --replay gone.jsonl", "frozen"),
        ("evaluate --manifest {demo} --model {room}/model --replay {room}/clip.ogg", "frozen"),
        (
            "evaluate --manifest {demo} --model {room}/model --replay f.jsonl --n-way 3 --seed 1",
            "--n-way, --seed beside",
        ),
        (
            "evaluate --manifest {demo} --model {room}/model --replay f.jsonl --save-episodes g",
            "--save-episodes beside",
        ),
        ("train --manifest gone.csv --out run", "no such file"),
        ("train --manifest {demo} --out run --learner protonett", "Did you mean 'protonet'?"),
        ("train --manifest {demo} --out run --hold-out-corpus emodb", "emodb"),
        ("train --manifest {demo} --out run --hold-out-corpus demo", "leave one to train on"),
        ("train --manifest {demo} --out run --hold-out-emotion awe", "awe"),
        ("train --manifest {demo} --out run", "classes"),
        ("train --manifest {demo} --out {room}/clip.ogg --config {room}/tiny.toml", "clip.ogg"),
        (f"{TRAIN} gone.toml", "no such file"),
        (f"{TRAIN} {{room}}", "a folder"),
        (f"{TRAIN} {{room}}/clip.ogg", "TOML file in UTF-8"),
        ("enroll --out e.ser", "no clips"),
        ("enroll --out e.ser --emotion anger", "--emotion anger: found no clips"),
        ("enroll --out e.ser --emotion anger {room}/clip.ogg", "at least two"),
        ("enroll --out e.ser --emotion anger gone.wav --emotion fear {room}/clip.ogg", "gone.wav"),
        ("enroll --out e.ser --emotion anger {room}/text.wav --emotion fear {room}/clip.ogg", "text file"),
        ("enroll --out e.ser --emotion anger {room}/empty.wav --emotion fear {room}/clip.ogg", "empty.wav"),
        ("enroll --out e.ser --emotion anger {room} --emotion fear {room}/clip.ogg", "folder"),
        ("enroll --out e.ser --emotion ' ' {room}/clip.ogg --emotion fear {room}/clip.ogg", "Give the emotion a name"),
        ("enroll nowhere --out e.ser", "no folder"),
        ("enroll {room}/mine --out e.ser --model nowhere", "no such file"),
        ("enroll {room}/mine --out e.ser --model {room}/model --learner rigde", "Did you mean 'ridge'?"),
        ("enroll --out e.ser --forget fear", "--to FILE"),
        ("enroll --out e.ser --to {room}/enrolled.ser", "no clips"),
        ("enroll --out e.ser --to {room}/enrolled.ser --forget awe", "anger | fear"),
        ("enroll {room}/mine --out e.ser --to {room}/enrolled.ser --model {room}/model", "none of the three"),
        ("enroll {room}/mine --out e.ser --to {room}/enrolled.ser --classes speaker", "none of the three"),
        ("enroll {room}/mine --out e.ser --classes speakers", "'emotion', 'speaker'"),
        ("enroll {room}/mine --out e.ser --to {room}/garbage.ser", "safetensors"),
        ("enroll --out {room}/clip.ogg/e --to {room}/enrolled.ser --forget fear", "a place that can be written"),
        ("enroll --out {room}/mine --to {room}/enrolled.ser --forget fear", "the folder"),
        ("predict gone.ser {room}/clip.ogg", "No such file"),
        ("predict {room}/garbage.ser {room}/clip.ogg", "safetensors"),
        ("predict {room}/model {room}/clip.ogg", "model"),
        ("predict {room}/model/model.safetensors {room}/clip.ogg", "an enrolment saved by this program"),
        ("predict {room}/enrolled.ser gone.wav", "gone.wav"),
        ("predict {room}/enrolled.ser {room}/clip.ogg {room}/text.wav", "text.wav"),
        ("quickstart --corpus emodb", "--corpus without --root"),
        ("quickstart --root {room}", "--root without --corpus"),
        ("quickstart --corpus emodbb --root {room}", "Did you mean 'emodb'?"),
    ],
)
def test_a_mistake_gives_one_line_and_exit_code_2_and_writes_nothing(run, room, tmp_path, line, complaint):
    before = below(room)
    code, out, err = run(*shlex.split(line.format(room=room, demo=DEMO_MANIFEST)))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1, err
    assert err.startswith("ser-fewshot: ")
    assert complaint.lower() in err.lower()
    assert "internal error" not in err
    assert not below(tmp_path)
    assert below(room) == before


@pytest.mark.parametrize(
    ("toml", "complaint"),
    [
        ("epochs = 3", "epochs"),
        ("[train", "end of a table"),
        ("[training]\nepochs = 3", "training"),
        ("train = 3", "the sections [settings] | [train] | [augmentation]"),
        ("settings = []", "the sections"),
        ("[[augmentation]]\ngain = 1", "the sections"),
        ("[train]\nepoch = 3", "epoch"),
        ("[train]\nepochs = '3'", "epochs"),
        ("[train]\nepochs = 1.5", "epochs"),
        ("[train]\nepochs = true", "epochs"),
        ("[train]\nepochs = 0", "epochs"),
        ("[train]\nlearning_rate = nan", "learning_rate"),
        ("[train]\nlearning_rate = -1", "learning_rate"),
        ("[train]\nseed = -1", "seed"),
        ("[train]\ntasks = 3", "tasks"),
        ("[train]\ntasks = []", "tasks"),
        ("[train]\ntasks = ['emotion']", "tasks"),
        ("[train.tasks]\nn_way = 2", "tasks"),
        ("[[train.tasks]]\nn_ways = 2", "n_ways"),
        ("[[train.tasks]]\nn_way = 1", "n_way"),
        ("[[train.tasks]]\nlabel = 'mood'", "label"),
        ("[augmentation]\ngains = 3.0", "gains"),
        ("[augmentation]\ngain = 'loud'", "gain"),
        ("[settings]\nmetrics = 'cosine'", "metrics"),
        ("[settings]\nmetric = 'manhattan'", "metric"),
        ("[settings.encoder]\nname = 'transformer'", "encoder"),
        ("[settings.encoder]\nchannels = 'many'", "channels"),
        ("a" * 10_000 + " = 1", "the sections"),
        ("a = " + "[" * 5_000, "TOML"),
    ],
)
def test_a_wrong_configuration_gives_one_line_and_writes_nothing(run, tmp_path, toml, complaint):
    Path("c.toml").write_text(toml)
    code, out, err = run("train", "--manifest", DEMO_MANIFEST, "--out", "run", "--config", "c.toml")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert complaint in err
    assert "internal error" not in err
    assert below(tmp_path) == {tmp_path / "c.toml"}


@pytest.mark.parametrize("arguments", [("--debug", "corpora", "emodbb"), ("corpora", "emodbb", "--debug")])
def test_debug_shows_the_traceback_before_or_after_the_command(run, arguments):
    code, _, err = run(*arguments)
    assert code == 2
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("ser-fewshot: corpora: found the unknown name")


@pytest.mark.parametrize(
    ("error", "code", "complaint"),
    [
        (KeyboardInterrupt(), 130, "ser-fewshot: stopped\n"),
        (
            ZeroDivisionError("[/]\nby \x1b[2J"),
            2,
            "internal error: ZeroDivisionError: [/] by \N{REPLACEMENT CHARACTER}[2J",
        ),
        (OSError(28, "No space left on device"), 2, "No space left on device"),
        (MemoryError(), 2, "internal error: MemoryError"),
    ],
)
def test_what_nobody_expected_still_ends_in_one_line(run, monkeypatch, error, code, complaint):
    def fail(arguments: object) -> None:
        raise error

    monkeypatch.setattr("ser_fewshot.cli.corpora.run", fail)
    got, out, err = run("corpora")
    assert (got, out, err.count("\n")) == (code, "", 1)
    assert complaint in err


def test_a_closed_pipe_is_silent():
    reader, writer = os.pipe()
    os.close(reader)
    for arguments in (["corpora"], ["corpora", "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "ser_fewshot", *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (141, b"")
    os.close(writer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_gives_one_line():
    done = shell("SER corpora > /dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "No space left on device" in done.stderr


def test_an_encoding_without_a_sign_does_not_stop_an_answer():
    for line in ("SER corpora turev_db", "SER corpora turev_db --json"):  # its authors have a ğ in a name
        done = shell(line, PYTHONIOENCODING="ascii", LC_ALL="C")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Ormano\\u011flu" in done.stdout


# What is printed


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc\u2028d\u00a0e\u3000f", "a b c d e f"),
        ("\x1b[2J\x07\x9b", "\ufffd[2J\ufffd\ufffd"),
        ("gpj.\u202eexe\u2066", "gpj.\ufffdexe\ufffd"),
        ("\udcff", "\ufffd"),
        ("نمی\u200cشود 怒り é 👩\u200d🚀", "نمی\u200cشود 怒り é 👩\u200d🚀"),
        ("  two  spaces ", "  two  spaces "),
    ],
)
def test_text_is_shown_as_one_line_that_a_terminal_does_not_obey(text, shown):
    assert printable(text) == shown


# corpora, cache


def test_corpora_lists_every_plug_in(ok):
    out = ok("corpora")
    assert all(f"| {name} " in out for name in plugins.names("corpora"))
    assert set(json.loads(ok("corpora", "--json"))) == set(plugins.names("corpora"))


def test_corpora_shows_all_about_one(ok):
    out = ok("corpora", "emodb")
    assert "title: " in out
    assert "anger 127" in out
    assert json.loads(ok("corpora", "emodb", "--json"))["emodb"]["expected"]["anger"] == 127


def test_the_cache_is_counted_and_cleared(ok, room, tmp_path):
    options = ("--cache", tmp_path / "cache", "--json")
    assert json.loads(ok("cache", *options))["entries"] == 0
    ok("evaluate", "--manifest", DEMO_MANIFEST, "--model", room / "model", *EPISODE, "--cache", tmp_path / "cache")
    kept = json.loads(ok("cache", *options))
    assert kept["entries"] == 80
    assert kept["bytes"] > 1000
    assert "80 clips" in ok("cache", "--cache", tmp_path / "cache")
    (tmp_path / "cache/mine.txt").write_text("not yours\n")
    assert json.loads(ok("cache", *options, "--clear"))["cleared"]
    assert json.loads(ok("cache", *options))["entries"] == 0
    assert (tmp_path / "cache/mine.txt").exists()


# scan


def test_scan_writes_one_row_a_clip_that_everything_else_reads(ok, room):
    out = ok("scan", "folder", room / "mine", "--out", "new/table.csv")
    assert "40 clips by 8 speakers" in out
    with Path("new/table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40
    assert {row["emotion"] for row in rows} == {"anger", "boredom", "fear", "happiness", "sadness"}
    assert "UAR" in ok("evaluate", "--manifest", "new/table.csv", "--model", room / "model", *EPISODE)


def test_scan_lists_what_it_could_not_use_and_goes_on(run, room, tmp_path):
    mine = tmp_path / "my [corpus] 声"
    shutil.copytree(room / "mine", mine)
    for name in ("text.wav", "empty.wav"):
        shutil.copy(room / name, mine / "fear" / name)
    (mine / "fear/phone.m4a").touch()
    (mine / "notes.txt").touch()
    code, out, err = run("scan", "folder", mine, "--out", "t.csv")
    assert code == 0
    assert "40 clips" in out
    assert "3 files skipped: unreadable 2, format 1" in err
    assert "warning: 3 of 43 clips (7%) are lost: unreadable 2, format 1" in err
    assert all(f"{mine}/fear/{name}: " in err for name in ("text.wav", "empty.wav", "phone.m4a"))
    code, out, _ = run("scan", "folder", mine, "--json")
    found = json.loads(out)
    assert {Path(item["file"]).name for item in found["skipped"]} == {"text.wav", "empty.wav", "phone.m4a"}
    assert (found["clips"], found["speakers"], found["emotions"]["fear"], found["manifest"]) == (40, 8, 8, None)
    code, out, _ = run("scan", "folder", mine, "--no-check", "--json")
    assert json.loads(out)["clips"] == 42


def test_a_long_list_of_skipped_files_is_cut_and_says_so(run, room, tmp_path):
    shutil.copytree(room / "mine", tmp_path / "mine")
    for i in range(25):
        (tmp_path / f"mine/fear/{i}.wav").touch()
    _, _, err = run("scan", "folder", tmp_path / "mine")
    assert "25 files skipped" in err
    assert "and 15 more; --json lists them all" in err


def test_scan_says_how_many_clips_have_no_speaker(ok, room):
    names = sorted((room / "mine").rglob("*.ogg"))[:3]
    rows = [f"{name},sad,{speaker}" for name, speaker in zip(names, ("m", "", "N/A"), strict=True)]
    Path("t.csv").write_text("\n".join(["file,emotion,speaker", *rows]))
    assert ok("scan", "table", "t.csv").startswith("3 clips by 1 speaker (2 without a speaker): sadness 3")


def test_enroll_counts_a_recording_once_and_knows_the_files_of_a_corpus(run, room):
    for name, clip in zip("ab", sorted((room / "mine").rglob("*.ogg"))[:2], strict=True):
        for copy in ("1", "2"):
            target = Path("people") / name / f"03a0{copy}Fa.ogg"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(clip, target)
    code, out, err = run("enroll", "people", "--out", "e.ser")
    assert (code, out) == (0, "enrolled a 1 clip, b 1 clip; file: e.ser\n")
    assert "warning: 03a02Fa.ogg is the same sound as 03a01Fa.ogg in 'a': it counts once" in err
    assert "warning: the clips are named as those of emodb" in err
    assert "errors.py" not in err


def test_a_manifest_is_read_from_any_folder(ok, room, tmp_path, monkeypatch):
    shutil.copytree(room / "mine", tmp_path / "data/mine")
    ok("scan", "folder", "data/mine", "--out", "data/inside.csv")
    (tmp_path / "far/away").mkdir(parents=True)
    ok("scan", "folder", "data/mine", "--out", "far/outside.csv")
    monkeypatch.chdir(tmp_path / "far/away")
    for manifest in ("../../data/inside.csv", "../outside.csv"):
        out = ok("evaluate", "--manifest", manifest, "--model", room / "model", *EPISODE, "--json", "-")
        assert json.loads(out)["clips"] == 40


# evaluate


def test_evaluate_prints_scores_with_intervals_chance_and_confusion(run, room):
    code, out, err = run("evaluate", "--manifest", DEMO_MANIFEST, "--model", room / "model", *EPISODE)
    assert "\nNone of these 80 clips was in the training set (which is empty)." in out
    assert "‡" not in out
    assert (code, err) == (0, "")
    for part in ("3-way 2-shot", "query speaker disjoint", "chance 33.3 %", "±", "nearest", "recall", "true \\ answer"):
        assert part in out


def test_evaluate_takes_the_directions_of_what_it_tells_apart_and_says_so(ok, room, tmp_path):
    model = model_of_two_views()
    save_model(model, tmp_path / "emotion", card="")
    save_model(with_view(model, "speaker"), tmp_path / "speaker", card="")
    found = {}
    for label in ("emotion", "speaker"):
        for saved in ("emotion", "speaker"):
            options = ("evaluate", "--manifest", DEMO_MANIFEST, "--model", tmp_path / saved, *EPISODE, "--label", label)
            assert f"; view {label}; chance" in ok(*options, "--learner", "protonet", "ridge")
            found[label, saved] = json.loads(ok(*options, "--json", "-"))
            assert found[label, saved]["view"] == label
        assert found[label, "emotion"]["learners"] == found[label, "speaker"]["learners"]
    plain = ok("evaluate", "--manifest", DEMO_MANIFEST, "--model", room / "model", *EPISODE, "--label", "speaker")
    assert "view" not in plain


def test_speakers_are_enrolled_by_their_own_directions(ok, tmp_path):
    save_model(model_of_two_views(), tmp_path / "model", card="")
    voices = [part for voice in ("en-f1", "en-m7") for part in ("--emotion", voice, *DEMO.glob(f"*_{voice}_1.ogg"))]
    for options, view in (((), "emotion"), (("--classes", "speaker"), "speaker")):
        ok("enroll", *voices, "--model", tmp_path / "model", "--out", f"{view}.ser", *options)
        assert FewShotClassifier.load(f"{view}.ser").model.config.view == view


def test_evaluate_says_how_many_episodes_diverged(run, tmp_path):
    save_model(small_model("maml", encoder="dense"), tmp_path, card="")
    config = json.loads((tmp_path / "config.json").read_text())
    config["settings"]["rate"] = 1e25
    (tmp_path / "config.json").write_text(json.dumps(config))
    code, _, err = run("evaluate", "--manifest", DEMO_MANIFEST, "--model", tmp_path, *EPISODE)
    assert code == 0
    assert "episodes diverged and count as chance" in err
    assert "learning rate of 1e+25" in err


def test_evaluate_says_as_json_what_was_scored_on_what(ok, room):
    options = ("evaluate", "--manifest", DEMO_MANIFEST, "--model", room / "model", *EPISODE, "--json")
    printed = json.loads(ok(*options, "-"))
    ok(*options, "deep/out.json")
    assert printed == json.loads(Path("deep/out.json").read_text())
    score = printed["learners"]["nearest"]
    assert (score["episodes"], score["chance"], score["spec"]["n_way"]) == (6, 1 / 3, 3)
    assert 0 <= score["uar"]["mean"] <= 1
    assert score["uar"]["ci95"] > 0
    assert len(score["confusion"]) == len(score["labels"]) == 5
    assert (printed["seed"], printed["clips"], printed["skipped"], printed["manifests"]) == (
        0,
        80,
        [],
        [str(DEMO_MANIFEST)],
    )
    assert printed["corpora"] == sorted({clip.corpus for clip in corpora.read_manifest(DEMO_MANIFEST).utterances})


def test_a_single_episode_has_no_interval_and_its_json_is_json(ok, room):
    options = ("--n-way", 3, "--k-shot", 2, "--n-query", 2, "--episodes", 1, "--json", "-")
    out = ok("evaluate", "--manifest", DEMO_MANIFEST, "--model", room / "model", *options)
    assert json.loads(out, parse_constant=pytest.fail)["learners"]["nearest"]["uar"]["ci95"] is None


def test_frozen_episodes_give_the_same_scores_again(ok, room):
    options = ("evaluate", "--manifest", DEMO_MANIFEST, "--model", room / "model", "--json", "-")
    first = json.loads(ok(*options, *EPISODE, "--seed", 7, "--save-episodes", "f.jsonl"))
    again = json.loads(ok(*options, "--replay", "f.jsonl"))
    assert again["learners"] == first["learners"]
    assert (again["seed"], again["replay"]) == (None, "f.jsonl")


def test_learners_are_compared_on_the_same_episodes(ok, room):
    options = ("evaluate", "--manifest", DEMO_MANIFEST, "--model", room / "model", *EPISODE)
    report = json.loads(ok(*options, "--learner", "nearest", "ridge", "--json", "-"))
    assert list(report["learners"]) == ["nearest", "ridge"]
    assert len({score["episodes_sha256"] for score in report["learners"].values()}) == 1
    assert list(report["difference_to_first"]) == ["ridge"]
    assert "paired difference" in ok(*options, "--learner", "nearest", "ridge")


@pytest.mark.parametrize(
    ("options", "protocol"),
    [
        (("--label", "speaker"), "by speaker, query speaker same"),
        (("--label", "emotion_x_speaker", "--k-shot", 1, "--n-query", 1), "by emotion_x_speaker, query speaker same"),
        (("--query-speaker", "any", "--query-text", "different"), "query speaker any, query text different"),
        (("--normalization", "speaker", "--mix-corpora"), "query speaker disjoint"),
    ],
)
def test_other_protocols_are_printed_with_their_scores(ok, room, options, protocol):
    out = ok("evaluate", "--manifest", DEMO_MANIFEST, "--model", room / "model", *EPISODE, *options)
    assert protocol in out


def test_clips_that_are_gone_are_listed_and_the_rest_is_scored(run, room, tmp_path):
    shutil.copytree(DEMO, tmp_path / "demo")
    (tmp_path / "demo/fear_en-f1_1.ogg").unlink()
    with (tmp_path / "demo/clips.csv").open("a") as table:
        table.write(",fear,nobody,demo,eng,,\n")
    code, out, err = run("evaluate", "--manifest", "demo/clips.csv", "--model", room / "model", *EPISODE, "--json", "-")
    report = json.loads(out)
    assert (code, report["clips"], len(report["skipped"])) == (0, 79, 2)
    assert "fear_en-f1_1.ogg" in err
    assert "names no file" in err


def test_classes_that_are_too_small_are_named_beside_the_answer(run, room):
    rows = DEMO_MANIFEST.read_text().splitlines()
    table = [rows[0], *(f"{DEMO}/{row}" for row in rows[1:]), f"{DEMO}/fear_en-f1_1.ogg,[awe],x,demo,eng,,"]
    Path("t.csv").write_text("\n".join([*table[:-1], table[-1].replace("fear_", "../demo/fear_")]))
    _, out, err = run("evaluate", "--manifest", "t.csv", "--model", room / "model", *EPISODE, "--json", "-")
    assert re.search(r"never drawn: .*\[awe\]: ", err)
    assert "[awe]" not in json.loads(out)["learners"]["nearest"]["labels"]


# train, and what a trained model is good for


@pytest.fixture(scope="module")
def trained(room, tmp_path_factory) -> Path:
    """The folder of a run that trained for one epoch of two steps."""
    run = tmp_path_factory.mktemp("trained") / "run [1]"
    options = ["--manifest", str(DEMO_MANIFEST), "--out", str(run), "--config", str(room / "tiny.toml")]
    assert cli.main(["train", *options, "--cache", str(run.parent / "cache")]) == 0
    return run


def test_train_writes_a_model_that_the_other_commands_take(ok, room, trained):
    model = ("--model", trained / "model")
    assert json.loads((trained / "model/config.json").read_text())["learner"] == "protonet"
    assert "train --manifest" in (trained / "model/README.md").read_text()
    report = json.loads(ok("evaluate", "--manifest", DEMO_MANIFEST, *model, *EPISODE, "--json", "-"))
    assert list(report["learners"]) == ["protonet"]
    assert sum(report["training_set"]["clips_found"].values()) == 80
    assert (report["versions"]["processor"], report["threads"], report["device"]) == (processor(), 1, "cpu")
    out = ok("evaluate", "--manifest", DEMO_MANIFEST, *model, *EPISODE)
    assert "| protonet ‡ |" in out
    assert "‡ Trained on demo: 80 of these 80 clips were in the training set" in out
    ok("enroll", room / "mine", *model, "--out", "e.ser")
    assert (
        json.loads(ok("predict", "e.ser", room / "clip.ogg", "--json"))[0]["label"]
        in report["learners"]["protonet"]["labels"]
    )
    ok("enroll", room / "mine", *model, "--learner", "ridge", "--out", "e.ser", "--force")


def test_train_says_what_it_kept(ok, room):
    options = ("--manifest", DEMO_MANIFEST, "--config", room / "tiny.toml", "--learner", "ridge", "--seed", 3)
    out = ok("train", *options, "--out", "run", "--hold-out-emotion", "Angry")
    assert "kept epoch 1" in out
    assert "chance 50.0 %" in out
    result = json.loads(ok("train", *options, "--out", "other", "--epochs", 2, "--json"))
    assert (result["model"], result["clips"]) == ("other/model", 80)
    assert result["kept"]["epoch"] in (1, 2)
    assert len(Path("other/log.jsonl").read_text().splitlines()) == 2
    assert "Seed 3" in Path("other/model/README.md").read_text()


def test_a_run_is_resumed_only_by_the_same_options_and_never_overwritten(run, ok, room, trained, tmp_path):
    shutil.copytree(trained, "run")
    before = {
        path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file() and "tensorboard" not in path.parts
    }
    same = ("train", "--manifest", DEMO_MANIFEST, "--out", "run", "--config", room / "tiny.toml")
    for options in (
        same,
        (*same, "--resume", "--seed", 1),
        (*same, "--resume", "--learner", "ridge"),
        (*same, "--resume", "--hold-out-emotion", "fear"),
    ):
        code, out, err = run(*options)
        assert (code, out, err.count("\n")) == (2, "", 1)
    ok(*same, "--resume")
    after = {path: path.read_bytes() for path in before if path.name != "README.md"}
    assert after == {path: content for path, content in before.items() if path.name != "README.md"}


# enroll, predict


def test_enroll_takes_a_folder_and_predict_recognises_with_it(ok, room):
    out = ok("enroll", room / "mine", "--model", room / "model", "--out", "e.ser")
    assert all(f"{emotion} 8 clips" in out for emotion in ("anger", "boredom", "fear", "happiness", "sadness"))
    out = ok("predict", "e.ser", room / "clip.ogg", DEMO / "sadness_en-f1_2.ogg")
    assert len(out.splitlines()) == 4
    assert "nearest enrolled clip" in out
    assert "%" in out


def test_a_class_folder_without_a_usable_clip_is_refused_not_lost(run, room):
    shutil.copytree(room / "mine", "mine")
    Path("mine/awe").mkdir()
    code, out, err = run("enroll", "mine", "--model", room / "model", "--out", "e.ser")
    assert (code, out) == (2, "")
    assert "no usable clip in awe" in err
    assert not Path("e.ser").exists()


def test_the_default_model_is_used_where_none_is_named(ok):
    for emotion in ("anger", "sadness"):
        (Path("few") / emotion).mkdir(parents=True)
        shutil.copy(DEMO / f"{emotion}_en-f1_1.ogg", Path("few") / emotion)
    assert json.loads(ok("enroll", "few", "--out", "e.ser", "--json"))["classes"] == {
        "anger": ["anger_en-f1_1.ogg"],
        "sadness": ["sadness_en-f1_1.ogg"],
    }
    assert json.loads(ok("predict", "e.ser", DEMO / "anger_en-f1_1.ogg", "--json"))[0]["label"] == "anger"


def test_predict_says_as_json_how_sure_it_is(ok, room):
    (answer,) = json.loads(ok("predict", room / "enrolled.ser", room / "clip.ogg", "--json"))
    assert answer["clip"] == str(room / "clip.ogg")
    assert set(answer["probabilities"]) == {"anger", "fear"}
    assert sum(answer["probabilities"].values()) == pytest.approx(1, rel=1e-4)
    assert answer["nearest"]["label"] in answer["probabilities"]
    assert answer["warnings"] == []
    assert (answer["unknown"], answer["novelty"]) == (False, None)  # its model was not calibrated


def test_a_single_word_is_enrolled_and_recognised_with_a_warning(run, tmp_path):
    for name, hertz in (("yes", 150.0), ("no", 300.0)):
        soundfile.write(tmp_path / f"{name}.wav", tone(0.1, hertz=hertz), 16_000)
    clips = [part for name in ("yes", "no") for part in ("--emotion", name, tmp_path / f"{name}.wav")]
    code, _, err = run("enroll", *clips, "--out", tmp_path / "e.ser")
    assert code == 0
    assert [line.partition(": There is less than 0.3 s of sound")[0] for line in err.splitlines()] == [
        f"warning: {tmp_path / name}.wav" for name in ("yes", "no")
    ]
    code, out, _ = run("predict", tmp_path / "e.ser", tmp_path / "yes.wav", "--json")
    (answer,) = json.loads(out)
    assert (answer["label"], answer["warnings"]) == ("yes", [audio.SHORT])


def test_predict_says_what_is_unknown(ok, room):
    config = json.loads((room / "model/config.json").read_text())
    calibration = {"temperature": [0, 0, 0], "novelty": [9, 0, 0, 0, 0], "most_ways": 4, "most_shots": 5}
    shutil.copytree(room / "model", "model")
    Path("model/config.json").write_text(json.dumps({**config, "calibration": {**calibration, "threshold": 0.5}}))
    ok("enroll", room / "mine", "--model", "model", "--out", "e.ser")
    assert "unknown, most like " in ok("predict", "e.ser", room / "clip.ogg")
    (answer,) = json.loads(ok("predict", "e.ser", room / "clip.ogg", "--json"))
    assert answer["unknown"] is True
    assert answer["novelty"] == pytest.approx(1 / (1 + math.exp(-9)))
    assert answer["label"] in answer["probabilities"]


def test_an_enrolment_speaks_the_words_of_its_user(ok, room, tmp_path):
    shutil.copytree(room / "mine/fear", tmp_path / "own/Scared")
    shutil.copytree(room / "mine/anger", tmp_path / "own/train/Really Angry")
    shutil.copytree(room / "mine/sadness", tmp_path / "own/Cafe\u0301")
    out = ok(
        *("enroll", "own", "--model", room / "model", "--out", "e.ser", "--json"),
        *("--emotion", "Scared", room / "clip.ogg", "--emotion", "scared", room / "clip.ogg"),
        *("--emotion", "Caf\u00e9", room / "clip.ogg"),
    )
    counts = {name: len(clips) for name, clips in json.loads(out)["classes"].items()}
    assert counts == {"Scared": 8, "Really Angry": 8, "Caf\u00e9": 9}  # clip.ogg is one of the scared ones


def test_enroll_adds_to_an_enrolment_and_forgets_from_it(ok, room, tmp_path):
    clip = room / "clip.ogg"
    shutil.copy(room / "enrolled.ser", "e.ser")
    out = ok("enroll", "--to", "e.ser", "--emotion", "awe", clip, "--emotion", "fear", clip, "--out", "e.ser", "--json")
    assert {name: len(clips) for name, clips in json.loads(out)["classes"].items()} == {"anger": 2, "fear": 3, "awe": 1}
    out = ok(
        "enroll", "--to", "e.ser", "--forget", "anger", "fear", "--emotion", "fear", clip, "--out", "f.ser", "--json"
    )
    assert {name: len(clips) for name, clips in json.loads(out)["classes"].items()} == {"awe": 1, "fear": 1}
    assert FewShotClassifier.load("e.ser").labels == ("anger", "fear", "awe")


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
