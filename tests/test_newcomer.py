"""What a newcomer gets wrong in Python, with arguments swapped or of the wrong kind: what was found, and what to do."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import small_model

from ser_fewshot import EpisodeSampler, EpisodeSpec, FewShotClassifier, evaluate, load, read_manifest, scan
from ser_fewshot import write_manifest as write
from ser_fewshot.classifier.inputs import misspelt
from ser_fewshot.episodes.splits import split_by_corpus
from ser_fewshot.errors import SerFewshotError
from ser_fewshot.models import load_model, save_model
from ser_fewshot.quickstart import DEMO_MANIFEST

DEMO = DEMO_MANIFEST.parent
CLIP = str(DEMO / "anger_en-f1_1.ogg")
SPEC = EpisodeSpec(n_way=3, k_shot=1, n_query=1)
CLIPS = read_manifest(DEMO_MANIFEST).utterances

CALLS = [
    (lambda c, _: c.enroll([CLIP]), "found an object of type list; expected a mapping from each label", '{"anger": ['),
    (lambda c, _: c.enroll("recordings"), "found an object of type str; expected a mapping", '{"anger": ['),
    (lambda c, _: c.enroll({"anger": CLIP, "fear": CLIP}), "a single str", "Pass a list of clips"),
    (lambda c, _: c.enroll({"anger": [np.zeros(9)], "fear": [np.zeros(9)]}), "type ndarray", "tuple (rate, array)"),
    (lambda c, _: c.predict(np.zeros(16_000)), "type ndarray", "tuple (rate, array)"),
    (lambda c, _: c.predict(str(DEMO)), "found a folder", "Name the files in it"),
    (lambda c, _: load("https://example.org/a.wav"), "the address https://example.org/a.wav", "download it first"),
    (
        lambda c, room: FewShotClassifier.from_pretrained(room / "enrolled.ser"),
        "a safetensors file",
        "FewShotClassifier.load",
    ),
    (lambda c, room: FewShotClassifier.load(room / "model"), "found a folder", "FewShotClassifier.from_pretrained"),
    (lambda c, room: load_model(str(room / "enrolled.ser")), "a safetensors file", "FewShotClassifier.load"),
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


def test_a_mistake_in_python_says_what_was_found_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_model(small_model("nearest", encoder="mean"), tmp_path / "model", card="")
    classifier = FewShotClassifier.from_pretrained(tmp_path / "model")
    classifier.enroll({name: sorted(DEMO.glob(f"{name}_en-f1_*.ogg")) for name in ("anger", "fear")})
    classifier.save(tmp_path / "enrolled.ser")
    for call, found, remedy in CALLS:
        with pytest.raises(SerFewshotError) as caught:
            call(FewShotClassifier.load(tmp_path / "enrolled.ser"), tmp_path)
        assert found in str(caught.value)
        assert remedy in str(caught.value)


def test_a_label_that_looks_misspelt_is_told_from_a_word_of_its_own():
    for labels, enrolled, meant in [
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
    ]:
        assert misspelt(labels, enrolled) == meant, labels
