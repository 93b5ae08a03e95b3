"""Mistakes in commands: one line on stderr with what was found and what to do, exit code 2, and nothing is written."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from cli.rooms import below
from ser_fewshot.quickstart import DEMO_MANIFEST

TABLE = "expected a CSV table in UTF-8 with the columns file, emotion, speaker. "
MANIFEST = TABLE + "Write the manifest of a folder first: ser-fewshot scan folder DIR --out clips.csv"
MODEL = "expected the folder of a saved model, with config.json and model.safetensors. "
DOWNLOAD = "expected a file or a folder of this machine. Addresses are not read: download it first, and give the file."
LAYOUT = "expected angry/maria/a.wav, the folder of the speaker may be missing. Make a folder for each emotion"
ON_DEMO = "evaluate --manifest {demo} --model model"
TRAIN = "train --manifest {demo} --out run"

MISTAKES: dict[str, list[tuple[str, ...]]] = {
    "options": [
        ("", "required: COMMAND"),
        ("enrol mine --out e", "invalid choice: 'enrol'", "Did you mean 'enroll'?"),
        ("evaluate --manifest m --nway 3", "unrecognized arguments: --nway 3", "Did you mean '--n-way'?"),
        ("evaluate --manifest m --label emotions", "invalid choice: 'emotions'", "Did you mean 'emotion'?"),
        ("scan", "required: CORPUS, ROOT"),
        ("scan emodb x --out", "--out: expected one argument"),
        ("evaluate --manifest t.csv --seed -1", "found '-1'; expected a whole number from 0 to 2147483647"),
        ("evaluate --manifest t.csv --seed 99999999999999999999", "expected a whole number from 0 to 2147483647"),
        ("evaluate --manifest t.csv --episodes 0", "expected a whole number from 1"),
        ("evaluate --manifest t.csv --k-shot 2.5", "found '2.5'"),
        ("enroll mine --out e --emotion", "--emotion: expected at least one argument"),
        ("demo --port 70000", "expected a port from 1 to 65535"),
        ("demo --store clip.ogg/store", "clip.ogg"),
        ("cache 'a\nb' '\x1b[2J'", "unrecognized arguments: a b \N{REPLACEMENT CHARACTER}[2J"),
        ("cache --cache clip.ogg", "clip.ogg: found a file", "Correct --cache, or leave it out."),
    ],
    "scan": [
        ("corpora emodbb", "Did you mean 'emodb'?"),
        ("corpora ../emodb", "unknown name"),
        ("scan emodbb x --out t.csv", "Did you mean 'emodb'?"),
        ("scan mine folder", "'mine' as the name of a corpus", "Swap the two."),
        ("scan emodb nowhere --out t.csv", "no folder"),
        ("scan emodb clip.ogg --out t.csv", "a sound file at"),
        ("scan emodb mine --out t.csv", "Emo-DB"),
        ("scan emodb mine --fold 1 --out t.csv", "the option fold"),
        ("scan table columns.csv --out t.csv", "no column file, emotion, speaker"),
        ("scan table gone.csv --out t.csv", "no clip that can be used, 90 files skipped"),
        ("scan folder loose", "1 clip", LAYOUT),
        ("scan folder https://example.org/clips --out t.csv", "the address https://example.org/clips", DOWNLOAD),
        ("scan folder '' --out t.csv", "found an empty path", "a variable of the shell may be empty."),
        ("scan folder mine --out https://example.org/t.csv", "the address https://example.org/t.csv", DOWNLOAD),
        ("scan folder mine --out clip.ogg/t.csv", "not a directory"),
        ("scan folder mine --out mine", "the folder"),
    ],
    "evaluate": [
        ("evaluate --manifest nowhere.csv", "no such file"),
        ("evaluate --manifest mine", "mine: found a folder", MANIFEST),
        ("evaluate --manifest clip.ogg", "clip.ogg: found a sound file", MANIFEST),
        ("evaluate --manifest header.csv", "no clips"),
        ("evaluate --manifest gone.csv --model model", "none of which can be used"),
        ("evaluate --manifest {demo} {demo} --model model", "repeated ids"),
        ("evaluate --manifest {demo} --model nowhere", "no such file"),
        (f"{ON_DEMO} --learner rigde", "Did you mean 'ridge'?"),
        (f"{ON_DEMO} --n-way 1", "--n-way: found 1", "expected a whole number of at least 2. Change it."),
        (f"{ON_DEMO} --k-shot 40", "found 0 such classes", "Possible with these clips: --n-way 4, --k-shot"),
        (f"{ON_DEMO} --label speaker --query-speaker disjoint", "Choose --query-speaker='same'."),
        (f"{ON_DEMO} --replay nowhere.jsonl", "frozen"),
        (f"{ON_DEMO} --replay clip.ogg", "frozen"),
        (f"{ON_DEMO} --replay f --n-way 3 --seed 1 --save-episodes g", "--n-way, --seed, --save-episodes beside"),
        (f"{ON_DEMO} --json e --save-episodes e", "found e for both", "Choose another name for one of them."),
        (f"{ON_DEMO} --json mine", "--json: found the folder mine", "Add the name of a file."),
        (f"{ON_DEMO} --json clip.ogg", "--json: found clip.ogg", "with --force."),
    ],
    "train": [
        ("train --manifest mine --out run", "mine: found a folder", MANIFEST),
        (f"{TRAIN} --learner protonett", "Did you mean 'protonet'?"),
        (f"{TRAIN} --hold-out-corpus emodb", "emodb"),
        (f"{TRAIN} --hold-out-corpus demo", "leave one to train on"),
        (f"{TRAIN} --hold-out-emotion awe", "awe"),
        (f"{TRAIN} --hold-out-speakers nobody", "found nobody to hold out", "Name one that occurs"),
        (TRAIN, "classes"),
        ("train --manifest {demo} --out clip.ogg --config tiny.toml", "clip.ogg"),
        (f"{TRAIN} --config nowhere.toml", "no such file"),
        (f"{TRAIN} --config mine", "a folder"),
        (f"{TRAIN} --config clip.ogg", "TOML file in UTF-8"),
    ],
    "enroll": [
        ("enroll --out e.ser", "no clips"),
        ("enroll --out e.ser --emotion anger", "--emotion anger: found no clips"),
        ("enroll --out e.ser --emotion anger clip.ogg", "at least two"),
        ("enroll --out e.ser --emotion anger nowhere.wav --emotion fear clip.ogg", "nowhere.wav"),
        ("enroll --out e.ser --emotion anger text.wav --emotion fear clip.ogg", "text file"),
        ("enroll --out e.ser --emotion anger mine --emotion fear clip.ogg", "folder"),
        ("enroll --out e.ser --emotion ' ' clip.ogg --emotion fear clip.ogg", "Give the emotion a name"),
        ("enroll nowhere --out e.ser", "no folder"),
        (
            "enroll clip.ogg --out e",
            "found a sound file at",
            "Give the folder that the file lies in, or the one above.",
        ),
        ("enroll loose --out e", "1 clip", LAYOUT),
        ("enroll mine --out e --model enrolled.ser", "found a safetensors file", MODEL + "An enrolment file is opened"),
        ("enroll mine --out e --model user/voices", "found no such file", "ser-fewshot pull user/voices --out DIR."),
        ("enroll mine --out e.ser --model model --learner rigde", "Did you mean 'ridge'?"),
        ("enroll mine --out e.ser --classes speakers", "'emotion', 'speaker'"),
        ("enroll --out e.ser --forget fear", "--to FILE"),
        ("enroll --out e.ser --to enrolled.ser", "no clips"),
        ("enroll --out e.ser --to enrolled.ser --forget awe", "anger | fear"),
        ("enroll --out e --to enrolled.ser --forget anger fear", "every emotion that is enrolled", "Leave one out"),
        ("enroll mine --out e.ser --to enrolled.ser --model model", "none of the three"),
        ("enroll mine --out e.ser --to enrolled.ser --learner ridge", "none of the three"),
        ("enroll mine --out e.ser --to garbage.ser", "safetensors"),
        ("enroll --out clip.ogg/e --to enrolled.ser --forget fear", "a place that can be written"),
        ("enroll mine --out enrolled.ser", "--out: found enrolled.ser, which is there", "is there with --force."),
        ("enroll mine --out mine", "the folder"),
        ("enroll --out e.ser --speaker anna --forget a --to enrolled.ser", "--speaker: found neither a folder nor"),
        (
            "enroll mine --out e.ser --speaker anna",
            "'anna', and folders of the speakers",
            "the folders name the speakers",
        ),
        ("enroll --out e.ser --manifest columns.csv", "columns.csv: found no"),
    ],
    "predict": [
        ("predict nowhere.ser clip.ogg", "no such file"),
        ("predict garbage.ser clip.ogg", "safetensors"),
        (
            "predict clip.ogg enrolled.ser",
            "a sound file as the first",
            "swapped: ser-fewshot predict enrolled.ser clip",
        ),
        (
            "predict clip.ogg clip.ogg",
            "a sound file as the first",
            "Name the file that 'enroll' wrote before the clips.",
        ),
        ("predict mine clip.ogg", "mine: found a folder", "or given as --model."),
        ("predict empty.wav clip.ogg", "found an empty file", "Check the path"),
        ("predict model/model.safetensors clip.ogg", "found weights with nothing enrolled", "ser-fewshot enroll"),
        ("predict enrolled.ser mine", "found a folder at mine", "Name the files in it"),
        ("predict enrolled.ser clip.ogg text.wav", "text.wav"),
        ("predict enrolled.ser clip.ogg --voice a --same-speaker", "--same-speaker: not allowed with argument --voice"),
        ("predict enrolled.ser clip.ogg --voice enrolled.ser", "found no voice", "ser-fewshot listen"),
        ("listen clip.ogg enrolled.ser --out a", "swapped: ser-fewshot listen enrolled.ser clip"),
        ("listen enrolled.ser clip.ogg --out clip.ogg", "--out: found clip.ogg, which is there"),
        ("listen enrolled.ser clip.ogg --voice gone.voice --out a", "no such file"),
        (
            ON_DEMO + " --context 2",
            "--context: found no statistics of speakers for the learner nearest",
            "Train it again",
        ),
        (ON_DEMO + " --context 2 --label speaker", "the label 'speaker'", "because a class is a speaker"),
        (ON_DEMO + " --context-of one", "it without --context"),
        (ON_DEMO + " --session", "queries of several speakers", "Add --context 1"),
        (ON_DEMO + " --replay f --support-speakers one", "--support-speakers beside it"),
        ("predict enrolled.ser https://example.org/a.wav", "the address https://example.org/a.wav", DOWNLOAD),
    ],
    "others": [
        ("quickstart --corpus emodb", "--corpus without --root"),
        ("quickstart --root mine", "--root without --corpus"),
        ("quickstart --corpus emodbb --root mine", "Did you mean 'emodb'?"),
        ("export clip.ogg --out m.onnx", "clip.ogg: found a sound file", "Give the file that 'enroll' wrote here"),
        ("report {demo}", "clips.csv, line 1", "Give the folder of a run"),
        ("push user/voices model", "the id user/voices before the folder", "ser-fewshot push model user/voices"),
        (
            "import https://huggingface.co/user/model --out m",
            "found an address",
            "Name a model of the hub by its account",
        ),
        ("import clip.ogg --out m", "found a sound file", "Name the folder with config.json"),
    ],
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_gives_one_line_and_exit_code_2_and_writes_nothing(run, room, monkeypatch, command):
    monkeypatch.chdir(room)
    before = below(room)
    for line, *complaints in MISTAKES[command]:
        code, out, err = run(*shlex.split(line.format(demo=DEMO_MANIFEST)))
        assert (code, out, err.count("\n")) == (2, "", 1), (line, err)
        assert err.startswith("ser-fewshot: "), line
        assert "internal error" not in err, line
        assert all(complaint.lower() in err.lower() for complaint in complaints), (line, err)
        assert below(room) == before, line


CONFIGURATIONS = {
    "epochs = 3": "epochs",
    "[train": "end of a table",
    "train = 3": "the sections [settings] | [train] | [augmentation]",
    "[[augmentation]]\ngain = 1": "the sections",
    "[train]\nepoch = 3": "epoch",
    "[train]\nepochs = '3'": "epochs",
    "[train]\nepochs = true": "epochs",
    "[train]\nepochs = 0": "epochs",
    "[train]\nlearning_rate = nan": "learning_rate",
    "[train]\ntasks = ['emotion']": "tasks",
    "[[train.tasks]]\nn_ways = 2": "n_ways",
    "[[train.tasks]]\nlabel = 'mood'": "label",
    "[augmentation]\ngain = 'loud'": "gain",
    "[settings]\nmetric = 'manhattan'": "metric",
    "[settings.encoder]\nname = 'transformer'": "encoder",
    "[settings.encoder]\nchannels = 'many'": "channels",
    "a" * 10_000 + " = 1": "the sections",
    "a = " + "[" * 5_000: "TOML",
}


def test_a_wrong_configuration_gives_one_line_and_writes_nothing(run, tmp_path):
    for toml, complaint in CONFIGURATIONS.items():
        Path("c.toml").write_text(toml)
        code, out, err = run("train", "--manifest", DEMO_MANIFEST, "--out", "run", "--config", "c.toml")
        assert (code, out, err.count("\n")) == (2, "", 1), toml
        assert complaint in err, toml
        assert "internal error" not in err, toml
        assert set(below(tmp_path)) == {tmp_path / "c.toml"}
