"""Models to and from the hub: what goes there comes back and answers alike, and nothing else goes or comes."""

from __future__ import annotations

import json
import pickle
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import tone
from fake_hub import FakeHub, serving
from huggingface_hub import ModelCard, constants
from synthetic import small_model

from ser_fewshot import FewShotClassifier
from ser_fewshot.assets import DEFAULT_MODEL, TEMPLATES
from ser_fewshot.errors import CheckpointError, SettingsError
from ser_fewshot.models import load_model, save_model
from ser_fewshot.models.training_set import Part, TrainingSet, by_card
from ser_fewshot.storage import hub
from ser_fewshot.storage.hub_card import _NOT_LOOKED_UP, hub_card

CARD = """---
license: other
license_name: research-only
datasets: ["emodb"]
---

# A model

    FewShotClassifier.from_pretrained("THIS_FOLDER")
"""
CLIPS = {label: [(16_000, tone(0.5, hertz=hertz))] for label, hertz in (("low", 120), ("high", 900))}


@pytest.fixture
def there(monkeypatch, tmp_path) -> Iterator[FakeHub]:
    with serving(monkeypatch, tmp_path / "cache") as server:
        yield server


@pytest.fixture
def folder(tmp_path) -> Path:
    save_model(small_model(), tmp_path / "model", card=CARD)
    (tmp_path / "model" / "notes.txt").write_text("for my eyes only")
    (tmp_path / "model" / "checkpoint.pt").write_bytes(pickle.dumps("nobody's"))
    return tmp_path / "model"


def answers(name: Path | str) -> list[dict[str, float]]:
    classifier = FewShotClassifier.from_pretrained(name)
    classifier.enroll(CLIPS)
    return [classifier.predict(clip).probabilities for (clip,) in CLIPS.values()]


def test_a_model_comes_back_from_the_hub_and_gives_the_same_answers(there, folder):
    sent = hub.push(folder, "user/voices", message="the first")
    assert sent.url == f"{there.url}/user/voices/commit/{sent.revision}"
    assert set(there.newest("user/voices")) == {"README.md", "config.json", "model.safetensors"}
    assert answers("user/voices") == answers(folder)
    assert answers(f"user/voices@{sent.revision}") == answers(folder)


def test_what_a_model_was_trained_on_is_still_known_when_it_comes_back(there, folder, tmp_path):
    record = TrainingSet(corpora={"emodb": Part(clips=1, files=frozenset([b"sixten"]))})
    save_model(replace(small_model(), training_set=record), folder, card=CARD)
    hub.push(folder, "user/voices")
    assert load_model(hub.pull("user/voices", out=tmp_path / "out")).training_set == record


def test_a_score_on_a_corpus_of_the_training_set_is_refused_however_the_card_writes_it(folder):
    for head in ("datasets: emodb", "datasets:\n- emodb", "datasets: [emodb] # and no other"):
        (folder / "README.md").write_text(f"---\nlicense: mit\n{head}\n---\n# A model\n")
        assert list(by_card(folder).corpora) == ["emodb"]
        with pytest.raises(SettingsError, match="scores on emodb"):
            hub_card(folder, "user/voices", results=[result(folder, "emodb.csv")])
        with pytest.raises(SettingsError, match="scores on mine"):  # the same clips under another name
            hub_card(folder, "user/voices", results=[{**result(folder, "mine.csv"), "training_set": {"found": True}}])


def test_a_branch_with_a_slash_is_a_revision():
    assert hub.is_id("user/voices@refs/pr/1")
    assert not hub.is_id("user/voices@/tmp")


def test_an_older_commit_can_be_named(there, folder, tmp_path):
    first = hub.push(folder, "user/voices")
    save_model(small_model("protonet"), folder, card=CARD)
    second = hub.push(folder, "user/voices")
    assert first.revision != second.revision
    learners = [
        FewShotClassifier.from_pretrained(name).model.config.learner
        for name in (
            f"user/voices@{first.revision}",
            f"user/voices@{second.revision}",
            "user/voices",
        )
    ]
    assert learners == ["ridge", "protonet", "protonet"]


def test_the_card_that_is_sent_is_found_by_its_metadata_and_names_its_repository(there, folder):
    hub.push(folder, "user/voices")
    card = ModelCard(there.newest("user/voices")["README.md"].decode())
    assert card.data.library_name == "ser_fewshot"
    assert card.data.pipeline_tag == "audio-classification"
    assert "audio-classification" in card.data.tags
    assert (card.data.license, card.data.license_name, card.data.datasets) == ("other", "research-only", ["emodb"])
    assert 'from_pretrained("user/voices")' in card.text
    assert "THIS_FOLDER" in (folder / "README.md").read_text()


def test_the_card_of_the_default_model_is_one_for_the_hub():
    card = ModelCard(hub_card(DEFAULT_MODEL, "user/default"))
    assert card.data.license == "other"
    assert set(card.data.datasets) == {
        "ased",
        "baved",
        "casia",
        "emodb",
        "emogator",
        "emospeech",
        "ravdess",
        "tess",
        "urdu",
    }
    assert 'from_pretrained("user/default")' in card.text


def test_a_licence_that_nobody_has_looked_up_is_asked_for(tmp_path):
    save_model(small_model(), tmp_path / "bare", card="a model\n")
    with pytest.raises(SettingsError, match="no licence"):
        hub_card(tmp_path / "bare", "user/name")
    (tmp_path / "bare" / "README.md").write_text("---\nlicense: other\nlicense_name: see-source\n---\n# imported\n")
    with pytest.raises(SettingsError, match="nobody has looked up"):
        hub_card(tmp_path / "bare", "user/name")
    data = ModelCard(hub_card(tmp_path / "bare", "user/name", licence="mit")).data
    assert (data.license, data.license_name) == ("mit", None)


def test_a_card_whose_metadata_is_no_yaml_is_refused(tmp_path):
    save_model(small_model(), tmp_path / "odd", card="---\nlicense: [mit\n---\n# a model\n")
    with pytest.raises(SettingsError, match="metadata in YAML"):
        hub_card(tmp_path / "odd", "user/name")
    with pytest.raises(CheckpointError, match="a card"):
        hub_card(tmp_path / "nowhere", "user/name")


def result(folder: Path, manifest: str = "ravdess.csv") -> dict[str, object]:
    score = {
        "protocol": "4-way 5-shot",
        "episodes": 600,
        "episodes_sha256": "ab" * 32,
        "uar": {"mean": 0.5, "ci95": 0.01},
    }
    names = {"manifests": [manifest], "corpora": [manifest.removesuffix(".csv")]}
    return {"version": "0", "model": str(folder), **names, "learners": {"ridge": score}}


def test_scores_of_the_model_become_its_index(folder):
    card = ModelCard(hub_card(folder, "user/voices", results=[result(folder)]))
    (found,) = card.data.eval_results
    assert (found.dataset_name, found.metric_name, found.metric_value) == ("ravdess", "UAR, 4-way 5-shot", 0.5)
    assert found.metric_args["ci95"] == 0.01
    assert card.data.model_name == "voices"


def test_scores_of_another_model_or_of_what_it_heard_are_refused(folder):
    for change, complaint in (
        ({"model": "default"}, "scores of default"),
        ({"corpora": ["emodb"]}, "scores on emodb; expected a corpus that the model was not trained on"),
        ({"corpora": 3}, "what 'evaluate --json' wrote"),
        ({"learners": {}}, "what 'evaluate --json' wrote"),
        ({"learners": 3}, "what 'evaluate --json' wrote"),
    ):
        with pytest.raises(SettingsError, match=complaint):
            hub_card(folder, "user/voices", results=[result(folder) | change])


def test_nothing_but_text_and_tensors_is_fetched(there, folder, tmp_path):
    there.put("user/voices", **{path.name.replace(".", "__"): path.read_bytes() for path in folder.iterdir()})
    there.put("user/voices", modeling__py=b"raise SystemExit", pytorch_model__bin=b"a pickle")
    assert hub.pull("user/voices", out=tmp_path / "out") == tmp_path / "out"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"README.md", "config.json", "model.safetensors"}
    fetched = {line.rpartition("/")[2] for line in there.asked if "/resolve/" in line}
    assert fetched == {"README.md", "config.json", "model.safetensors"}


def test_a_model_of_pickles_is_refused(there, folder):
    there.put("user/pickled", config__json=(folder / "config.json").read_bytes(), pytorch_model__bin=b"a pickle")
    with pytest.raises(CheckpointError, match=r"no model\.safetensors; expected .* never fetched"):
        FewShotClassifier.from_pretrained("user/pickled")


def test_a_model_of_another_program_is_refused_before_its_weights_are_fetched(there):
    there.put("user/encoder", config__json=b'{"model_type": "wav2vec2"}', model__safetensors=bytes(1000))
    with pytest.raises(CheckpointError, match=r"'wav2vec2'.* ser-fewshot import user/encoder"):
        FewShotClassifier.from_pretrained("user/encoder")
    assert not [line for line in there.asked if line.endswith("safetensors")]


def test_a_repository_that_is_not_there_says_so(there):
    with pytest.raises(CheckpointError, match="no answer from the Hugging Face hub") as caught:
        FewShotClassifier.from_pretrained("user/nothing")
    assert "hf auth login" in caught.value.remedy


def test_an_account_that_may_not_write_says_so(there, folder):
    there.refused = True
    with pytest.raises(CheckpointError, match="hf auth login"):
        hub.push(folder, "user/voices")
    assert there.commits == {}


def test_what_was_fetched_is_there_without_a_network(there, folder, monkeypatch):
    hub.push(folder, "user/voices")
    expected = answers("user/voices")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    n_asked = len(there.asked)
    assert answers("user/voices") == expected
    assert len(there.asked) == n_asked
    with pytest.raises(CheckpointError, match="Check the name and the network"):
        FewShotClassifier.from_pretrained("user/never_fetched")


def test_what_is_no_id_is_never_looked_up(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    for name in ("gone", "./gone", "../gone", "a/b/c", "", "/gone/model", "a/b@", "a/b@/tmp", "-a/b", "~/x/y"):
        with pytest.raises(CheckpointError, match=r"config\.json"):
            FewShotClassifier.from_pretrained(name)
        for get in (hub.pull, lambda name: hub.fetch(name, ["*"])):
            with pytest.raises(SettingsError, match="an id such as user/model"):
                get(name)


def test_a_path_is_never_looked_up_and_a_folder_of_that_name_comes_first(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    with pytest.raises(CheckpointError):
        FewShotClassifier.from_pretrained(Path("user/voices"))
    folder.rename(tmp_path / "voices")
    monkeypatch.chdir(tmp_path.parent)
    assert FewShotClassifier.from_pretrained(f"{tmp_path.name}/voices").model.config.learner == "ridge"


def test_push_and_pull_speak_in_one_line_each(there, folder, tmp_path, run):
    code, printed, noted = run("push", folder, "user/voices", "--private", "--json")
    told = json.loads(printed)
    assert (code, told["repo"], there.private) == (0, "user/voices", {"user/voices"})
    assert noted == f"sending {folder} to the Hugging Face hub as user/voices\n"
    code, printed, _ = run("pull", f"user/voices@{told['revision']}", "--out", tmp_path / "out")
    assert (code, printed.split(":")[0]) == (0, "ridge on logmel")
    assert answers(tmp_path / "out") == answers(folder)
    code, printed, complaint = run("pull", "user/voices", "--out", tmp_path / "out")
    assert (code, printed) == (2, "")
    assert "something there already" in complaint


def test_a_model_that_cannot_be_read_is_not_sent(there, folder, run):
    (folder / "model.safetensors").write_bytes(b"damaged")
    code, printed, complaint = run("push", folder, "user/voices")
    assert (code, printed) == (2, "")
    assert "a whole safetensors file" in complaint
    assert there.asked == []


def test_scores_are_sent_from_the_file_that_evaluate_wrote(there, folder, run, tmp_path):
    (tmp_path / "scores.json").write_text(json.dumps(result(folder)))
    code, _, _ = run("push", folder, "user/voices", "--results", tmp_path / "scores.json", "--license", "mit")
    assert code == 0
    card = ModelCard(there.newest("user/voices")["README.md"].decode())
    assert (card.data.license, card.data.eval_results[0].metric_value) == ("mit", 0.5)


def test_the_card_of_an_import_says_that_nobody_has_looked_its_licence_up():
    card = (TEMPLATES / "import_card.md.j2").read_text(encoding="utf-8")
    assert f"license_name: {_NOT_LOOKED_UP}\n" in card
