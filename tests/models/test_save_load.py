"""Models on disk: what was saved comes back bit for bit, and whatever else lies there is refused by one line."""

from __future__ import annotations

import json
import math
import os
import pickle
import struct
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from conftest import tone
from synthetic import CALIBRATION, small_model
from tolerance import assert_near
from torch import Tensor
from views import N, directions_of, model_of_two_views

from ser_fewshot import models as checkpoints
from ser_fewshot.errors import CheckpointError, SettingsError
from ser_fewshot.frontends import analyse, stack
from ser_fewshot.learners import names
from ser_fewshot.models import Model, ModelConfig, build_model, load_model, save_model, swap_learner, with_view
from ser_fewshot.storage.tensors import in_single, load_weights, read_config, read_tensors

Y = torch.tensor([0, 0, 1, 1])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    save_model(small_model(), folder, card="# A model\n")
    return folder


def weights(model: Model) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.learner.state_dict().items()}


def answers(model: Model) -> Tensor:
    waves = [torch.from_numpy(tone(0.4 + 0.1 * n, hertz=100 * (n + 1))) for n in range(6)]
    clips = analyse(model.frontend, waves)
    with torch.no_grad():
        return model.learner.adapt(stack(clips[:4]), Y)(stack(clips[4:]))


def assert_refused(folder: Path, *, match: str | None = None) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        load_model(folder)
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 1500


def rewrite_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def rewrite_weights(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors, _ = read_tensors(folder / "model.safetensors")
    change(tensors)
    (folder / "model.safetensors").write_bytes(safetensors.torch.save(tensors))


@pytest.mark.parametrize("learner", names())
@pytest.mark.parametrize("encoder", ["conv", "statistics", "mean"])
def test_a_saved_model_comes_back_bit_for_bit(learner, encoder, tmp_path):
    model = small_model(learner, encoder=encoder, normalization="clip")
    save_model(model, tmp_path / "a" / "b", card="# A model\n")
    loaded = load_model(tmp_path / "a" / "b")
    assert loaded.config == model.config
    assert loaded.frontend.identity == model.frontend.identity
    before, after = weights(model), weights(loaded)
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert torch.equal(answers(loaded), answers(model))
    assert not loaded.learner.training


def test_a_model_is_a_folder_of_three_files(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (saved / "README.md").read_text() == "# A model\n"
    config = json.loads((saved / "config.json").read_text())
    assert config["model_type"] == "ser_fewshot"
    told = {"name": "conv", "whitening": False, "channels": 4, "blocks": 1, "width": 3, "dropout": 0.2}
    told |= {"discriminant": 0, "recording": 0, "view": "emotion", "functionals": 0.0}
    beside = {"discriminant": 0, "recording": 0, "view": "emotion", "functionals": 0.0}
    followed = {"layers": 1, "pooled": False, "continues": {}}
    assert config["settings"]["encoder"] == {**told, **beside, **followed, "lora": 0}
    assert config["settings"]["penalty"] == 1.0  # defaults are written out, so that they can change
    assert config["frontend_settings"]["hop"] == 160


def test_weights_are_halved_on_disk_where_that_loses_nothing_and_are_single_in_memory(tmp_path):
    model = small_model()
    save_model(model, tmp_path / "whole", card="")
    learner = model.learner
    learner.load_state_dict({name: tensor.half().float() for name, tensor in learner.state_dict().items()})
    exact = learner.get_submodule("encoder.project").bias
    with torch.no_grad():
        exact.fill_(1 / 3)  # type: ignore[operator, union-attr]
    save_model(model, tmp_path / "halved", card="")
    stored, _ = read_tensors(tmp_path / "halved" / "model.safetensors")
    assert {name for name, tensor in stored.items() if tensor.dtype != torch.float16} == {"encoder.project.bias"}
    kept = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    loaded = weights(load_model(tmp_path / "halved"))
    assert all(loaded[name].dtype == tensor.dtype for name, tensor in kept.items())
    assert all(torch.equal(loaded[name], tensor) for name, tensor in kept.items())
    values = sum(tensor.numel() for tensor in kept.values())
    smaller, larger = (
        sum(tensor.nbytes for tensor in read_tensors(tmp_path / name / "model.safetensors")[0].values())
        for name in ("halved", "whole")
    )
    assert smaller == 2 * values + 2 * exact.numel()  # type: ignore[operator, union-attr]
    assert larger > 3 * values


def test_a_file_from_before_weights_were_halved_is_read(saved):
    rewrite_weights(saved, lambda t: t.update({name: tensor.float() for name, tensor in t.items()}))
    model = small_model()
    assert all(torch.equal(weights(load_model(saved))[name], tensor) for name, tensor in weights(model).items())


def test_only_what_the_model_has_in_single_precision_becomes_single():
    stored = {name: torch.ones(2, dtype=torch.float16) for name in ("single", "half", "whole number", "nowhere")}
    built = {"single": torch.zeros(2), "half": torch.zeros(2).half(), "whole number": torch.zeros(2).long()}
    found = in_single(stored, built)
    assert {name for name, tensor in found.items() if tensor.dtype == torch.float32} == {"single"}
    assert list(found) == list(stored)


def test_a_calibration_is_kept_as_plain_numbers(tmp_path):
    model = small_model(calibration=CALIBRATION)
    save_model(model, tmp_path, card="")
    assert json.loads((tmp_path / "config.json").read_text())["calibration"]["threshold"] == CALIBRATION.threshold
    assert load_model(tmp_path).config == model.config


def test_a_model_from_before_there_were_calibrations_is_read(saved):
    rewrite_config(saved, lambda config: config.pop("calibration"))
    assert load_model(saved).config.calibration is None


@pytest.mark.parametrize(
    "change",
    [{"threshold": 2}, {"novelty": [0, 0]}, {"temperature": [99, 0, 0]}, {"threshold": "0.5"}, {"other": 1}],
    ids=str,
)
def test_a_damaged_calibration_is_refused(change, tmp_path):
    save_model(small_model(calibration=CALIBRATION), tmp_path, card="")
    rewrite_config(tmp_path, lambda config: config["calibration"].update(change))
    assert_refused(tmp_path, match="calibration")


def test_saving_again_replaces_the_model(saved):
    save_model(small_model("protonet"), saved, card="# Another\n")
    assert load_model(saved).config.learner == "protonet"
    assert sorted(path.name for path in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_a_model_in_a_place_that_cannot_be_written_is_refused(saved):
    with pytest.raises(SettingsError, match="written"):
        save_model(small_model(), saved / "config.json", card="")


def test_loading_leaves_the_global_generator_as_it_was(saved):
    before = torch.get_rng_state()
    load_model(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_in_memory_do_not_change_with_the_file(saved):
    path = saved / "model.safetensors"
    tensors, _ = read_tensors(path)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    with path.open("r+b") as file:  # as `cp` does: into the file that was read
        file.seek(-200, os.SEEK_END)
        file.write(bytes(200))
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors.items())


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(name, saved):
    (saved / name).unlink()
    assert_refused(saved, match=rf"{name}: found no such file")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_in_the_place_of_a_file_is_refused(name, saved):
    (saved / name).unlink()
    (saved / name).mkdir()
    assert_refused(saved, match=rf"{name}: found a folder")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in its file system")
def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(name, saved):
    (saved / name).unlink()
    os.mkfifo(saved / name)
    assert_refused(saved)


@pytest.mark.parametrize("path", ["config.json", "model.safetensors", "nowhere", "a\0b", "x" * 300, ""])
def test_a_path_that_is_no_model_folder_is_refused(path, saved):
    assert_refused(saved / path if path else saved.parent)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.9, 0.999])
def test_truncated_weights_are_refused(share, saved):
    path = saved / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert_refused(saved, match="whole safetensors file")


def huge_header() -> bytes:
    return struct.pack("<Q", 2**62) + b"{}"


def lying_header() -> bytes:
    """A tensor that claims more than the file holds."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()
    return struct.pack("<Q", len(header)) + header


class Bomb:
    """Whoever unpickles this makes a folder of that name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.name,)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(huge_header(), id="a header of 4 EiB"),
        pytest.param(lying_header(), id="a tensor of 4 TB"),
        pytest.param(struct.pack("<Q", 50_000) + b"[" * 50_000, id="a header of brackets"),
        pytest.param(b"PK\x03\x04" + bytes(100), id="a zip archive"),
        pytest.param(b"{}", id="text"),
        pytest.param(bytes(1000), id="zeros"),
    ],
)
def test_weights_that_are_no_safetensors_are_refused(content, saved):
    (saved / "model.safetensors").write_bytes(content)
    assert_refused(saved, match="whole safetensors file")


@pytest.mark.parametrize("write", [pickle.dumps, None], ids=["pickle", "torch"])
def test_a_pickle_renamed_to_safetensors_is_refused_and_not_run(write, saved, tmp_path):
    bomb = {"weight": Bomb(str(tmp_path / "exploded"))}
    if write is None:
        torch.save(bomb, saved / "model.safetensors")
    else:
        (saved / "model.safetensors").write_bytes(write(bomb))
    assert_refused(saved, match="whole safetensors file")
    assert not (tmp_path / "exploded").exists()


FIRST = "encoder.project.weight"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        pytest.param(lambda t: t.pop(FIRST), f"missing: {FIRST}", id="missing"),
        pytest.param(lambda t: t.update(extra=torch.zeros(2)), "unexpected: extra", id="unexpected"),
        pytest.param(lambda t: t.update({FIRST: t[FIRST].T.contiguous()}), f"wrong shape: {FIRST}", id="transposed"),
        pytest.param(lambda t: t.update({FIRST: t[FIRST][None]}), f"wrong shape: {FIRST}", id="one dimension more"),
        pytest.param(lambda t: t.update({FIRST: torch.zeros(0)}), f"wrong shape: {FIRST}", id="empty"),
        pytest.param(lambda t: t.update({FIRST: t[FIRST].double()}), f"wrong type: {FIRST}", id="double"),
        pytest.param(lambda t: t.update({FIRST: t[FIRST].bfloat16()}), f"wrong type: {FIRST}", id="bfloat16"),
        pytest.param(lambda t: t.update({FIRST: t[FIRST].long()}), f"wrong type: {FIRST}", id="integers"),
        pytest.param(lambda t: t.update({FIRST: t[FIRST].to(torch.complex64)}), f"wrong type: {FIRST}", id="complex"),
        pytest.param(lambda t: t[FIRST].view(-1)[3].fill_(math.nan), f"NaN or infinite values in {FIRST}", id="nan"),
        pytest.param(lambda t: t["encoder.gate"].fill_(-math.inf), "infinite values in encoder.gate", id="infinite"),
        pytest.param(lambda t: t.clear(), "found", id="nothing at all"),
        pytest.param(lambda t: t.update({f"{n}": torch.zeros(1) for n in range(999)}), "996 more", id="many"),
        pytest.param(
            lambda t: t.update({"x" * 10_000: torch.zeros(1)}), "unexpected: xxx", id="a name of 10,000 letters"
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_named(change, match, saved):
    rewrite_weights(saved, change)
    assert_refused(saved, match=match)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="half"),
        pytest.param("no JSON", id="text"),
        pytest.param("[1, 2]", id="a list"),
        pytest.param("null", id="null"),
        pytest.param('"ridge"', id="a string"),
        pytest.param("NaN", id="nan"),
        pytest.param("9" * 5000, id="a number of 5000 digits"),
        pytest.param('{"learner": ' * 50_000, id="50,000 objects deep"),
        pytest.param("[" * 100_000 + "]" * 100_000, id="100,000 lists deep"),
        pytest.param('{"learner": ' + "[" * 900 + "]" * 900 + "}", id="900 lists deep"),
        pytest.param(" " * 1_100_000 + "{}", id="a megabyte"),
        pytest.param("{}", id="nothing in it"),
        pytest.param('{"\\ud800": "\\ud800"}', id="half a character"),
        pytest.param("\x00\x01", id="control characters"),
    ],
)
def test_a_config_that_is_none_is_refused(content, saved):
    (saved / "config.json").write_text(content)
    assert_refused(saved)


@pytest.mark.parametrize("content", [b"\xff\xfe{}", pickle.dumps({"format": 1}), bytes(50)])
def test_a_config_that_is_no_text_is_refused(content, saved):
    (saved / "config.json").write_bytes(content)
    assert_refused(saved)


def test_a_config_that_an_editor_on_windows_saved_is_read(saved):
    path = saved / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    load_model(saved)


def encoder(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda config: config["settings"]["encoder"].update(values)


def frontend(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda config: config["frontend_settings"].update(values)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda c: c.update(format=2), id="a newer format"),
        pytest.param(lambda c: c.update(format="1"), id="a format in words"),
        pytest.param(lambda c: c.pop("format"), id="no format"),
        pytest.param(lambda c: c.update(model_type="bert"), id="another kind of model"),
        pytest.param(lambda c: c.pop("learner"), id="no learner"),
        pytest.param(lambda c: c.update(learner="maml2"), id="unknown learner"),
        pytest.param(lambda c: c.update(learner="_base"), id="a helper module"),
        pytest.param(lambda c: c.update(learner="../protonet"), id="a path for a learner"),
        pytest.param(lambda c: c.update(learner="os"), id="a module of Python"),
        pytest.param(lambda c: c.update(learner=["ridge"]), id="a list for a learner"),
        pytest.param(lambda c: c.update(learner=None), id="null for a learner"),
        pytest.param(lambda c: c.update(learner="x" * 100_000), id="a very long learner"),
        pytest.param(lambda c: c.update(learner="protonet"), id="a learner that has not these settings"),
        pytest.param(lambda c: c.update(frontend="mfcc"), id="unknown front-end"),
        pytest.param(lambda c: c.update(frontend="_cache"), id="a helper of the front-ends"),
        pytest.param(lambda c: c.update(frontend=3), id="a number for a front-end"),
        pytest.param(lambda c: c.update(normalization="batch"), id="unknown normalisation"),
        pytest.param(lambda c: c.update(normalization=["none"]), id="a list for a normalisation"),
        pytest.param(lambda c: c.update(torch_dtype="float16"), id="an unknown key"),
        pytest.param(lambda c: c.update(settings=None), id="null for settings"),
        pytest.param(lambda c: c.update(settings=[["penalty", 1]]), id="pairs for settings"),
        pytest.param(lambda c: c["settings"].update(penalty="1"), id="text for a number"),
        pytest.param(lambda c: c["settings"].update(penalty=math.nan), id="nan"),
        pytest.param(lambda c: c["settings"].update(penalty=0), id="zero"),
        pytest.param(lambda c: c["settings"].update(encoder="conv"), id="text for an encoder"),
        pytest.param(encoder(name="transformer"), id="an unknown encoder"),
        pytest.param(encoder(channels="96"), id="text for channels"),
        pytest.param(encoder(channels=96.0), id="a fraction for channels"),
        pytest.param(encoder(channels=[96]), id="a list for channels"),
        pytest.param(encoder(channels=True), id="true for channels"),
        pytest.param(encoder(channels=0), id="no channels"),
        pytest.param(encoder(channels=-4), id="negative channels"),
        pytest.param(encoder(channels=5), id="another number of channels"),
        pytest.param(encoder(channels=4096), id="4096 channels"),
        pytest.param(encoder(channels=10**9), id="a billion channels"),
        pytest.param(encoder(width=10**9), id="a billion dimensions"),
        pytest.param(encoder(channels=4096, width=4096, blocks=64), id="20 GB of weights"),
        pytest.param(encoder(blocks=64), id="many blocks"),
        pytest.param(encoder(blocks=10**9), id="a billion blocks"),
        pytest.param(encoder(channels=10**300), id="a googol of channels"),
        pytest.param(encoder(depth=3), id="an unknown key of the encoder"),
        pytest.param(frontend(n_mels="80"), id="text for bands"),
        pytest.param(frontend(n_mels=10**9), id="a billion bands"),
        pytest.param(frontend(n_mels=0), id="no bands"),
        pytest.param(frontend(n_mels=13), id="another number of bands"),
        pytest.param(frontend(n_fft=10**9, window=10**9), id="a transform of a day"),
        pytest.param(frontend(hop=0), id="no hop"),
        pytest.param(frontend(f_max=1e9), id="beyond the Nyquist frequency"),
        pytest.param(frontend(f_min=math.inf), id="an infinite frequency"),
        pytest.param(frontend(floor=-1.0), id="a negative floor"),
        pytest.param(frontend(floor=None), id="null for a floor"),
        pytest.param(frontend(window_fn="hann"), id="an unknown key of the front-end"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(change, saved):
    rewrite_config(saved, change)
    assert_refused(saved)


def test_a_config_cannot_claim_more_memory_than_its_weights_take(saved, monkeypatch):
    filled = []
    monkeypatch.setattr(torch.nn.init, "kaiming_uniform_", lambda tensor, **_: filled.append(tensor.numel()))
    rewrite_config(saved, encoder(channels=4096))
    assert_refused(saved, match="as many as are stored")
    assert max(filled, default=0) <= 2 * sum(x.numel() for x in read_tensors(saved / "model.safetensors")[0].values())


def test_several_threads_load_models_at_once(saved):
    loaded: list[Model] = []
    threads = [threading.Thread(target=lambda: loaded.append(load_model(saved))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 8
    assert all(torch.equal(answers(model), answers(loaded[0])) for model in loaded)


def test_weights_that_do_not_fit_leave_the_learner_as_it_was():
    model = small_model()
    before = weights(model)
    with pytest.raises(CheckpointError):
        load_weights(model.learner, {**before, FIRST: torch.full_like(before[FIRST], math.nan)}, origin="here")
    assert all(torch.equal(weights(model)[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (ModelConfig(learner="none such"), "nearest"),
        (ModelConfig(learner="ridge", frontend="none such"), "logmel"),
        (ModelConfig(learner="ridge", settings={"penalty": "high"}), "ridge.penalty"),
        (ModelConfig(learner="ridge", settings={"encoder": {"channels": "many"}}), "ridge.encoder.channels"),
        (ModelConfig(learner="ridge", frontend_settings={"n_mels": "many"}), "logmel.n_mels"),
        (ModelConfig(learner="ridge", frontend_settings={"n_mel": 80}), "n_mels"),
    ],
    ids=lambda value: f"{value!s:.60}",
)
def test_a_model_that_cannot_be_built_is_refused_where_it_is_asked_for(config, match):
    with pytest.raises(SettingsError, match=match):
        build_model(config)


def test_an_unknown_normalisation_is_refused():
    with pytest.raises(SettingsError, match="none"):
        ModelConfig(learner="ridge", normalization="corpus")  # type: ignore[arg-type]


def test_the_seed_decides_the_weights_of_a_new_model():
    first, second, other = (build_model(ModelConfig(learner="protonet"), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(weights(first)[FIRST], weights(second)[FIRST])
    assert not torch.equal(weights(first)[FIRST], weights(other)[FIRST])


@pytest.mark.parametrize("learner", sorted({*names()} - {"mann", "relation"}))
def test_another_learner_takes_over_the_encoder(learner):
    model = small_model("protonet")
    swapped = swap_learner(model, learner)
    assert swapped.config.learner == learner
    assert swapped.config.settings["encoder"] == model.config.settings["encoder"]
    assert swapped.config.frontend_settings == model.config.frontend_settings
    before, after = weights(model), weights(swapped)
    shared = [name for name in after if name.startswith("encoder.")]
    assert shared
    assert all(torch.equal(after[name], before[name]) for name in shared)


def test_the_same_learner_keeps_all_that_it_has_learned():
    model = small_model("protonet")
    with torch.no_grad():
        model.learner.log_sharpness.fill_(2.5)  # type: ignore[operator, union-attr]
    assert torch.equal(answers(swap_learner(model, "protonet")), answers(model))


def test_a_swapped_learner_is_of_its_own():
    model = small_model("protonet")
    before = weights(model)
    with torch.no_grad():
        for parameter in swap_learner(model, "ridge").learner.parameters():
            parameter.add_(1)
    assert all(torch.equal(weights(model)[name], tensor) for name, tensor in before.items())


def test_an_unknown_learner_to_swap_is_refused():
    with pytest.raises(SettingsError, match="ridge"):
        swap_learner(small_model(), "rigde")


@pytest.mark.parametrize("learner", ["mann", "relation"])
def test_a_learner_that_compares_by_a_network_of_its_own_cannot_be_swapped_in_untrained(learner):
    with pytest.raises(SettingsError, match=rf"trained as ridge; expected .* Train it: .*--learner {learner}"):
        swap_learner(small_model("ridge"), learner)


def test_a_view_shares_all_weights_and_leaves_the_other_as_it_was():
    model = model_of_two_views()
    seen = with_view(model, "speaker")
    assert (directions_of(model).view, directions_of(seen).view) == ("emotion", "speaker")
    assert (model.config.view, seen.config.view) == ("emotion", "speaker")
    assert seen.frontend is model.frontend
    pairs = zip(model.learner.state_dict().items(), seen.learner.state_dict().items(), strict=True)
    assert all(one == other and a.data_ptr() == b.data_ptr() for (one, a), (other, b) in pairs)
    assert not torch.equal(answers(seen), answers(model))
    silence = torch.zeros(1, model.learner.get_submodule("encoder.inner").width)  # type: ignore[arg-type]
    z = silence + 1
    assert_near(directions_of(seen).beside(z)[:, -N:], z @ directions_of(model).speaker)
    assert torch.equal(answers(with_view(seen, "emotion")), answers(model))


def test_settings_of_a_learner_hold_in_either_view():
    model = model_of_two_views()
    model.learner.penalty = 0.25  # type: ignore[assignment]
    seen = with_view(model, "speaker")
    assert seen.learner.penalty == 0.25
    assert seen.config.settings == {
        **model.config.settings,
        "encoder": {**model.config.settings["encoder"], "view": "speaker"},
    }


def test_a_calibration_is_of_the_view_that_it_was_fitted_for():
    model = model_of_two_views()
    assert with_view(model, "emotion") is model
    assert with_view(model, "emotion").config.calibration == CALIBRATION
    assert with_view(model, "speaker").config.calibration is None


def test_a_model_without_directions_has_no_views():
    model = small_model(calibration=CALIBRATION)
    assert model.config.view is None
    assert with_view(model, "speaker") is model


@pytest.mark.parametrize("view", ["speakers", "", None, ["emotion"]])
@pytest.mark.parametrize("make", [small_model, model_of_two_views])
def test_an_unknown_view_is_refused_whatever_the_model(make, view):
    with pytest.raises(SettingsError, match=r"expected emotion \| speaker"):
        with_view(make(), view)


def test_a_view_is_saved_with_the_model_and_handed_on_to_another_learner(tmp_path):
    seen = with_view(model_of_two_views(), "speaker")
    save_model(seen, tmp_path, card="")
    loaded = load_model(tmp_path)
    assert loaded.config == seen.config
    assert torch.equal(answers(loaded), answers(seen))
    assert directions_of(swap_learner(loaded, "protonet")).view == "speaker"
    assert torch.equal(answers(with_view(loaded, "emotion")), answers(model_of_two_views()))


def test_a_config_is_read_as_it_was_written(saved):
    assert read_config(saved / "config.json") == {
        "format": checkpoints.FORMAT,
        "model_type": "ser_fewshot",
        **asdict(small_model().config),
    }
