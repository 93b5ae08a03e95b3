"""What a newcomer gets wrong, with arguments swapped, mistyped or of the wrong kind: what was found, and what to do.

The lines are tried as a shell would; the calls as in Python. Nothing is overwritten or dropped without a word.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import small_model

from ser_fewshot import EpisodeSampler, EpisodeSpec, FewShotClassifier, evaluate, load, read_manifest, scan
from ser_fewshot import write_manifest as write
from ser_fewshot.classifier.inputs import misspelt
from ser_fewshot.cli import train as train_command
from ser_fewshot.episodes.splits import split_by_corpus, split_by_speaker_name
from ser_fewshot.errors import DataWarning, SerFewshotError
from ser_fewshot.models import load_model, save_model
from ser_fewshot.quickstart import DEMO_MANIFEST

DEMO = DEMO_MANIFEST.parent
CLIP = str(DEMO / "anger_en-f1_1.ogg")
SPEC = EpisodeSpec(n_way=3, k_shot=1, n_query=1)
CLIPS = read_manifest(DEMO_MANIFEST).utterances


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    """A model, an enrolment, folders of clips and loose ones, and files of other kinds."""
    room = tmp_path_factory.mktemp("newcomer")
    save_model(small_model("nearest", encoder="mean"), room / "model", card="")
    for emotion in ("anger", "fear"):
        (room / "mine" / emotion).mkdir(parents=True)
        for clip in DEMO.glob(f"{emotion}_en-f1_*.ogg"):
            shutil.copy(clip, room / "mine" / emotion)
    (room / "loose").mkdir()
    shutil.copy(CLIP, room / "loose/clip.ogg")
    shutil.copy(CLIP, room / "clip.ogg")
    classifier = FewShotClassifier.from_pretrained(room / "model")
    classifier.enroll({name: sorted((room / "mine" / name).iterdir()) for name in ("anger", "fear")})
    classifier.save(room / "e.safetensors")
    (room / "empty").touch()
    return room


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, tmp_path_factory, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_FEWSHOT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


TABLE = "expected a CSV table in UTF-8 with the columns file, emotion, speaker. "
MANIFEST = TABLE + "Write the manifest of a folder first: ser-fewshot scan folder DIR --out clips.csv"
MODEL = "expected the folder of a saved model, with config.json and model.safetensors. "
DOWNLOAD = "expected a file or a folder of this machine. Addresses are not read: download it first, and give the file."
LAYOUT = "expected angry/maria/a.wav, the folder of the speaker may be missing. "

LINES = [
    ("enrol mine --out e", "invalid choice: 'enrol'", "Did you mean 'enroll'?"),
    ("evaluate --manifest m --nway 3", "unrecognized arguments: --nway 3", "Did you mean '--n-way'?"),
    ("evaluate --manifest m --label emotions", "invalid choice: 'emotions'", "Did you mean 'emotion'?"),
    (
        "predict clip.ogg e.safetensors",
        "a sound file as the first",
        "swapped: ser-fewshot predict e.safetensors clip.ogg",
    ),
    ("predict clip.ogg clip.ogg", "a sound file as the first", "Name the file that 'enroll' wrote before the clips."),
    ("predict mine clip.ogg", "mine: found a folder", "or given as --model."),
    ("predict empty clip.ogg", "found an empty file", "Check the path"),
    ("predict e.safetensors mine", "found a folder at mine", "Name the files in it"),
    ("predict e.safetensors https://example.org/a.wav", "found the address https://example.org/a.wav", DOWNLOAD),
    ("export clip.ogg --out m.onnx", "clip.ogg: found a sound file", "Give the file that 'enroll' wrote here"),
    ("scan mine folder", "'mine' as the name of a corpus", "Swap the two."),
    ("scan folder loose", "1 clip", LAYOUT + "Make a folder for each emotion"),
    ("scan folder https://example.org/clips --out t.csv", "found the address https://example.org/clips", DOWNLOAD),
    ("scan folder '' --out t.csv", "found an empty path", "a variable of the shell may be empty."),
    ("scan folder mine --out https://example.org/t.csv", "found the address https://example.org/t.csv", DOWNLOAD),
    ("enroll clip.ogg --out e", "found a sound file at", "Give the folder that the file lies in, or the one above."),
    ("enroll loose --out e", "1 clip", LAYOUT + "Make a folder for each emotion"),
    ("enroll mine --out e --model e.safetensors", "found a safetensors file", MODEL + "An enrolment file is opened"),
    ("enroll mine --out e --model user/voices", "found no such file", "ser-fewshot pull user/voices --out DIR."),
    ("enroll --to e.safetensors --forget anger fear --out e", "found every emotion that is enrolled", "Leave one out"),
    (
        "enroll mine --out e.safetensors",
        "--out: found e.safetensors, which is there",
        "or replace what is there with --force.",
    ),
    ("evaluate --manifest mine", "mine: found a folder", MANIFEST),
    ("evaluate --manifest clip.ogg", "clip.ogg: found a sound file", MANIFEST),
    (
        "evaluate --manifest {demo} --json e --save-episodes e",
        "found e for both",
        "Choose another name for one of them.",
    ),
    ("evaluate --manifest {demo} --json mine", "--json: found the folder mine", "Add the name of a file."),
    ("predict model/model.safetensors clip.ogg", "found weights with nothing enrolled", "ser-fewshot enroll"),
    ("evaluate --manifest {demo} --n-way 1", "--n-way: found 1", "expected a whole number of at least 2. Change it."),
    (
        "evaluate --manifest {demo} --k-shot 40",
        "found 0 such classes",
        "Possible with these clips: --n-way 4, --k-shot",
    ),
    ("evaluate --manifest {demo} --model model --json clip.ogg", "--json: found clip.ogg", "with --force."),
    ("train --manifest mine --out run", "mine: found a folder", MANIFEST),
    (
        "train --manifest {demo} --out run --hold-out-speakers nobody",
        "found nobody to hold out",
        "Name one that occurs",
    ),
    ("cache --cache clip.ogg", "clip.ogg: found a file", "Correct --cache, or leave it out."),
    ("report {demo}", "clips.csv, line 1", "Give the folder of a run"),
    ("push user/voices model", "the id user/voices before the folder model", "ser-fewshot push model user/voices"),
    ("import https://huggingface.co/user/model --out m", "found an address", "Name a model of the hub by its account"),
    ("import clip.ogg --out m", "found a sound file", "Name the folder with config.json"),
]


@pytest.mark.parametrize(("line", "found", "remedy"), LINES, ids=[line for line, *_ in LINES])
def test_a_mistake_on_the_command_line_says_what_was_found_and_what_to_do(
    run, room, tmp_path, monkeypatch, line, found, remedy
):
    monkeypatch.chdir(room)
    before = {path: path.stat().st_mtime_ns for path in room.rglob("*")}
    code, out, err = run(*shlex.split(line.format(demo=DEMO_MANIFEST)))
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("ser-fewshot: ")
    assert found in err
    assert remedy in err
    assert {path: path.stat().st_mtime_ns for path in room.rglob("*")} == before


CALLS = [
    (lambda c, _: c.enroll([CLIP]), "found an object of type list; expected a mapping from each label", '{"anger": ['),
    (lambda c, _: c.enroll("recordings"), "found an object of type str; expected a mapping", '{"anger": ['),
    (lambda c, _: c.enroll({"anger": CLIP, "fear": CLIP}), "a single str", "Pass a list of clips"),
    (lambda c, _: c.enroll({"anger": [np.zeros(9)], "fear": [np.zeros(9)]}), "type ndarray", "tuple (rate, array)"),
    (lambda c, _: c.predict(np.zeros(16_000)), "type ndarray", "tuple (rate, array)"),
    (lambda c, _: c.predict(str(DEMO)), "found a folder", "Name the files in it"),
    (lambda c, _: load("https://example.org/a.wav"), "the address https://example.org/a.wav", "download it first"),
    (
        lambda c, room: FewShotClassifier.from_pretrained(room / "e.safetensors"),
        "a safetensors file",
        "FewShotClassifier.load",
    ),
    (lambda c, room: FewShotClassifier.load(room / "model"), "found a folder", "FewShotClassifier.from_pretrained"),
    (lambda c, room: load_model(str(room / "e.safetensors")), "a safetensors file", "FewShotClassifier.load"),
    (
        lambda c, _: FewShotClassifier("model"),
        "type str; expected one of type Model",
        "FewShotClassifier.from_pretrained",
    ),
    (
        lambda c, _: EpisodeSampler("emodb.csv", SPEC),
        "type str; expected a sequence of Utterance",
        "read_manifest(path)",
    ),
    (lambda c, _: EpisodeSampler(read_manifest(DEMO_MANIFEST), SPEC), "type Scan", "Pass its attribute utterances."),
    (lambda c, _: EpisodeSampler(CLIPS, 5), "type int; expected one of type EpisodeSpec", "EpisodeSpec(n_way=4"),
    (lambda c, _: split_by_corpus("emodb.csv", ["emodb"]), "type str", "read_manifest(path).utterances"),
    (lambda c, _: write(CLIPS, "clips.csv"), "type tuple; expected one of type str | os.PathLike", "Give a path here"),
    (lambda c, _: read_manifest(DEMO), "found a folder", "ser-fewshot scan folder DIR"),
    (lambda c, _: scan("recordings", "folder"), "'recordings' as the name of a corpus", "Swap the two."),
    (
        lambda c, _: evaluate(c, CLIPS, [], spec=SPEC),
        "type FewShotClassifier; expected one of type Learner",
        "model.learner",
    ),
    (
        lambda c, _: evaluate(c.model.learner, CLIPS, [], spec=SPEC),
        "type tuple; expected one of type FeatureSet",
        "extract",
    ),
]


@pytest.mark.parametrize(("call", "found", "remedy"), CALLS, ids=[f"{found}" for _, found, _ in CALLS])
def test_a_mistake_in_python_says_what_was_found_and_what_to_do(room, call, found, remedy):
    with pytest.raises(SerFewshotError) as caught:
        call(FewShotClassifier.load(room / "e.safetensors"), room)
    assert found in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "enrolled", "meant"),
    [
        (["anger", "agner"], [], {"agner": "anger"}),
        (["agner"], [], {"agner": "anger"}),
        (["hapiness"], ["neutral"], {"hapiness": "happiness"}),
        (["Anger", "\uff21NGER"], ["anger"], {}),
        (["angry"], ["anger"], {"angry": "anger"}),
        (["wonderr"], ["wonder"], {"wonderr": "wonder"}),
        (["anger", "boredom", "fear", "sadness", "surprise", "neutral", "calm", "contempt"], [], {}),
        (["awe", "danger", "relief", "thinking", "nostalgia"], ["anger"], {}),
        (["take 1", "take 2"], [], {}),
        (["anger"], ["anger", "fear"], {}),
    ],
)
def test_a_label_that_looks_misspelt_is_told_from_a_word_of_its_own(labels, enrolled, meant):
    assert misspelt(labels, enrolled) == meant


def test_a_misspelt_label_is_enrolled_with_a_warning_and_names_of_people_without(run, room):
    question = "'agner' is enrolled as a class of its own: did you mean 'anger'?"
    clips = ("--emotion", "anger", CLIP, "--emotion", "agner", DEMO / "fear_en-f1_1.ogg", "--model", room / "model")
    code, out, err = run("enroll", *clips, "--out", "e.ser")
    assert (code, err) == (0, f"warning: {question}\n")
    assert "agner 1 clip" in out
    classifier = FewShotClassifier.load(room / "e.safetensors")
    with pytest.warns(DataWarning, match="did you mean 'anger'") as told:
        classifier.add("agner", [CLIP])
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        classifier.add("anger", [DEMO / "anger_en-m7_1.ogg"])


def test_what_stands_where_a_command_writes_is_replaced_by_force_alone(run, room, tmp_path):
    shutil.copy(room / "e.safetensors", "e.ser")
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


TINY = '[settings.encoder]\nname = "mean"\n[train]\nepochs = 1\nsteps = 1\nvalidation_episodes = 2\n'
TASK = "tasks = [{ n_way = 2, k_shot = 1, n_query = 1 }]\n"


def test_speakers_that_are_held_out_are_in_no_part_of_training_and_named(run, tmp_path, monkeypatch):
    Path("any.toml").write_text(TINY + TASK.replace(" }]", ', query_speaker = "any" }]'))
    parts = []
    features = train_command.features_of
    monkeypatch.setattr(
        train_command,
        "features_of",
        lambda model, part, *told, **more: parts.append(part) or features(model, part, *told, **more),
    )
    names = sorted({clip.speaker for clip in CLIPS})[:2]
    train = ("train", "--manifest", DEMO_MANIFEST, "--config", "any.toml", "--out", "run", "--hold-out-speakers")
    code, out, err = run(*train, names[0], f"demo/{names[1]}", "--json")
    assert code == 0, err
    assert len(parts) == 2, "meta-training and meta-validation"
    assert not {clip.speaker for part in parts for clip in part} & {*names}
    held_out = read_manifest("run/held_out.csv").utterances
    assert json.loads(out)["held_out"] == "run/held_out.csv"
    assert {clip.speaker for clip in held_out} == {*names}
    assert len(held_out) + sum(map(len, parts)) == len(CLIPS)
    assert f"- speakers: demo/{names[0]}, demo/{names[1]}" in Path("run/model/README.md").read_text()
    told = ("--n-way", 3, "--k-shot", 1, "--n-query", 1, "--episodes", 2)
    assert run("evaluate", "--manifest", "run/held_out.csv", "--model", "run/model", *told)[0] == 0
    twice = [replace(clip, id=f"{clip.id}/{corpus}", corpus=corpus) for corpus in "ab" for clip in CLIPS]
    with pytest.raises(SerFewshotError, match=re.escape(f"Name the corpus too: a/{names[0]} or b/{names[0]}.")):
        split_by_speaker_name(twice, names[:1])


def test_what_cannot_be_trained_or_replayed_is_known_before_features_are_computed(run, monkeypatch, tmp_path):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("features were computed")

    for command in ("train", "evaluate"):
        monkeypatch.setattr(f"ser_fewshot.cli.{command}.features_of", never)
    Path("tiny.toml").write_text(TINY + TASK)
    names = sorted({clip.speaker for clip in CLIPS})
    few = [clip for clip in CLIPS if clip.speaker in names[:4]]
    write("few.csv", few)
    code, _, err = run("train", "--manifest", "few.csv", "--config", "tiny.toml", "--out", "run")
    assert (code, err.count("\n")) == (2, 1)
    assert "meta-validation, 2-way" in err
    assert "1 speaker in it" in err
    (tmp_path / "old").mkdir()
    (tmp_path / "old/checkpoint.safetensors").touch()
    code, _, err = run("train", "--manifest", DEMO_MANIFEST, "--config", "tiny.toml", "--out", "old")
    assert code == 2
    assert "a run that stands there already" in err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    told = ("--n-way", 3, "--k-shot", 1, "--n-query", 1, "--episodes", 2)
    assert run("evaluate", "--manifest", DEMO_MANIFEST, *told, "--save-episodes", "f.jsonl")[0] == 0
    monkeypatch.setattr("ser_fewshot.cli.evaluate.features_of", never)
    code, _, err = run("evaluate", "--manifest", "few.csv", "--replay", "f.jsonl")
    assert code == 2
    assert "which has no features" in err


def test_the_settings_of_the_library_are_called_as_the_options_of_the_command(run):
    code, _, err = run("evaluate", "--manifest", DEMO_MANIFEST, "--label", "speaker", "--query-speaker", "disjoint")
    assert code == 2
    assert "Choose --query-speaker='same'." in err
