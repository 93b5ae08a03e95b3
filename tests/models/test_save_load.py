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
from ser_fewshot.models import FORMAT, Model, ModelConfig, build_model, load_model, save_model, swap_learner, with_view
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


@pytest.mark.parametrize(
    ("learner", "encoder"), [*((name, "conv") for name in names()), ("ridge", "statistics"), ("ridge", "mean")]
)
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
    told |= {"discriminant": 0, "recording": 0, "components": 0, "view": "emotion", "functionals": 0.0}
    beside = {"discriminant": 0, "recording": 0, "components": 0, "view": "emotion", "functionals": 0.0}
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


def test_a_calibration_is_kept_as_plain_numbers_and_refused_where_it_is_damaged(tmp_path, subtests):
    model = small_model(calibration=CALIBRATION)
    save_model(model, tmp_path, card="")
    content = (tmp_path / "config.json").read_text()
    assert json.loads(content)["calibration"]["novelty"] == list(CALIBRATION.novelty)
    assert load_model(tmp_path).config == model.config
    rewrite_config(tmp_path, lambda config: config.pop("calibration"))  # from before there were any
    assert load_model(tmp_path).config.calibration is None
    for change in ({"threshold": 0.5}, {"novelty": [0, 0]}, {"novelty": ["0"] * 10}, {"other": 1}):
        with subtests.test(f"{change}"):
            (tmp_path / "config.json").write_text(content)
            rewrite_config(tmp_path, lambda config, change=change: config["calibration"].update(change))
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
def test_what_is_no_regular_file_is_named(name, saved):
    (saved / name).unlink()
    assert_refused(saved, match=rf"{name}: found no such file")
    (saved / name).mkdir()
    assert_refused(saved, match=rf"{name}: found a folder")
    (saved / name).rmdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(saved / name)
        assert_refused(saved)  # and not waited for


def test_a_path_that_is_no_model_folder_is_refused(saved, subtests):
    for path in ("config.json", "model.safetensors", "nowhere", "a\0b", "x" * 300, ".."):
        with subtests.test(path[:20]):
            assert_refused(saved / path)


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


def test_weights_that_are_no_safetensors_are_refused_and_no_pickle_is_run(saved, tmp_path, subtests):
    path, bomb = saved / "model.safetensors", {"weight": Bomb(str(tmp_path / "exploded"))}
    content = path.read_bytes()
    torch.save(bomb, path)
    contents = {
        "a header of 4 EiB": huge_header(),
        "a tensor of 4 TB": lying_header(),
        "a header of brackets": struct.pack("<Q", 50_000) + b"[" * 50_000,
        "a zip archive": b"PK\x03\x04" + bytes(100),
        "text": b"{}",
        "zeros": bytes(1000),
        "a pickle": pickle.dumps(bomb),
        "a pickle of torch": path.read_bytes(),
        **{f"{share} of it": content[: int(share * len(content))] for share in (0.0, 0.001, 0.2, 0.999)},
    }
    for name, other in contents.items():
        with subtests.test(name):
            path.write_bytes(other)
            assert_refused(saved, match="whole safetensors file")
    assert not (tmp_path / "exploded").exists()


FIRST = "encoder.project.weight"


MISFITS: dict[str, tuple[Any, str]] = {
    "missing": (lambda t: t.pop(FIRST), f"missing: {FIRST}"),
    "unexpected": (lambda t: t.update(extra=torch.zeros(2)), "unexpected: extra"),
    "transposed": (lambda t: t.update({FIRST: t[FIRST].T.contiguous()}), f"wrong shape: {FIRST}"),
    "one dimension more": (lambda t: t.update({FIRST: t[FIRST][None]}), f"wrong shape: {FIRST}"),
    "empty": (lambda t: t.update({FIRST: torch.zeros(0)}), f"wrong shape: {FIRST}"),
    "double": (lambda t: t.update({FIRST: t[FIRST].double()}), f"wrong type: {FIRST}"),
    "bfloat16": (lambda t: t.update({FIRST: t[FIRST].bfloat16()}), f"wrong type: {FIRST}"),
    "integers": (lambda t: t.update({FIRST: t[FIRST].long()}), f"wrong type: {FIRST}"),
    "complex": (lambda t: t.update({FIRST: t[FIRST].to(torch.complex64)}), f"wrong type: {FIRST}"),
    "nan": (lambda t: t[FIRST].view(-1)[3].fill_(math.nan), f"NaN or infinite values in {FIRST}"),
    "infinite": (lambda t: t["encoder.gate"].fill_(-math.inf), "infinite values in encoder.gate"),
    "nothing at all": (lambda t: t.clear(), "found"),
    "many": (lambda t: t.update({f"{n}": torch.zeros(1) for n in range(999)}), "996 more"),
    "a name of 10,000 letters": (lambda t: t.update({"x" * 10_000: torch.zeros(1)}), "unexpected: xxx"),
}


def test_weights_that_do_not_fit_are_refused_and_named(saved, subtests):
    content = (saved / "model.safetensors").read_bytes()
    for name, (change, match) in MISFITS.items():
        with subtests.test(name):
            (saved / "model.safetensors").write_bytes(content)
            rewrite_weights(saved, change)
            assert_refused(saved, match=match)


def test_a_config_that_is_none_is_refused(saved, subtests):
    contents: dict[str, str | bytes] = {
        "empty": "",
        "half": "{",
        "text": "no JSON",
        "a list": "[1, 2]",
        "null": "null",
        "a string": '"ridge"',
        "nan": "NaN",
        "a number of 5000 digits": "9" * 5000,
        "50,000 objects deep": '{"learner": ' * 50_000,
        "100,000 lists deep": "[" * 100_000 + "]" * 100_000,
        "900 lists deep": '{"learner": ' + "[" * 900 + "]" * 900 + "}",
        "a megabyte": " " * 1_100_000 + "{}",
        "nothing in it": "{}",
        "half a character": '{"\\ud800": "\\ud800"}',
        "control characters": "\x00\x01",
        "no UTF-8": b"\xff\xfe{}",
        "a pickle": pickle.dumps({"format": 1}),
        "zeros": bytes(50),
    }
    for name, content in contents.items():
        with subtests.test(name):
            (saved / "config.json").write_bytes(content.encode() if isinstance(content, str) else content)
            assert_refused(saved)


def test_a_config_that_an_editor_on_windows_saved_is_read(saved):
    path = saved / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    load_model(saved)


def encoder(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda config: config["settings"]["encoder"].update(values)


def frontend(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda config: config["frontend_settings"].update(values)


CONFIGS: dict[str, dict[str, Callable[[dict[str, Any]], Any]]] = {
    "top level": {
        "a newer format": lambda c: c.update(format=FORMAT + 1),
        "a format in words": lambda c: c.update(format="1"),
        "no format": lambda c: c.pop("format"),
        "another kind of model": lambda c: c.update(model_type="bert"),
        "no learner": lambda c: c.pop("learner"),
        "unknown learner": lambda c: c.update(learner="maml2"),
        "a helper module": lambda c: c.update(learner="_base"),
        "a path for a learner": lambda c: c.update(learner="../protonet"),
        "a module of Python": lambda c: c.update(learner="os"),
        "a list for a learner": lambda c: c.update(learner=["ridge"]),
        "null for a learner": lambda c: c.update(learner=None),
        "a very long learner": lambda c: c.update(learner="x" * 100_000),
        "a learner that has not these settings": lambda c: c.update(learner="protonet"),
        "unknown front-end": lambda c: c.update(frontend="mfcc"),
        "a helper of the front-ends": lambda c: c.update(frontend="_cache"),
        "a number for a front-end": lambda c: c.update(frontend=3),
        "unknown normalisation": lambda c: c.update(normalization="batch"),
        "a list for a normalisation": lambda c: c.update(normalization=["none"]),
        "an unknown key": lambda c: c.update(torch_dtype="float16"),
        "null for settings": lambda c: c.update(settings=None),
        "pairs for settings": lambda c: c.update(settings=[["penalty", 1]]),
        "text for a number": lambda c: c["settings"].update(penalty="1"),
        "nan": lambda c: c["settings"].update(penalty=math.nan),
        "zero": lambda c: c["settings"].update(penalty=0),
        "text for an encoder": lambda c: c["settings"].update(encoder="conv"),
    },
    "encoder": {
        "an unknown encoder": encoder(name="transformer"),
        "text for channels": encoder(channels="96"),
        "a fraction for channels": encoder(channels=96.0),
        "a list for channels": encoder(channels=[96]),
        "true for channels": encoder(channels=True),
        "no channels": encoder(channels=0),
        "negative channels": encoder(channels=-4),
        "another number of channels": encoder(channels=5),
        "4096 channels": encoder(channels=4096),
        "a billion channels": encoder(channels=10**9),
        "a billion dimensions": encoder(width=10**9),
        "20 GB of weights": encoder(channels=4096, width=4096, blocks=64),
        "many blocks": encoder(blocks=64),
        "a billion blocks": encoder(blocks=10**9),
        "a googol of channels": encoder(channels=10**300),
        "an unknown key of the encoder": encoder(depth=3),
    },
    "front-end": {
        "text for bands": frontend(n_mels="80"),
        "a billion bands": frontend(n_mels=10**9),
        "no bands": frontend(n_mels=0),
        "another number of bands": frontend(n_mels=13),
        "a transform of a day": frontend(n_fft=10**9, window=10**9),
        "no hop": frontend(hop=0),
        "beyond the Nyquist frequency": frontend(f_max=1e9),
        "an infinite frequency": frontend(f_min=math.inf),
        "a negative floor": frontend(floor=-1.0),
        "null for a floor": frontend(floor=None),
        "an unknown key of the front-end": frontend(window_fn="hann"),
    },
}


@pytest.mark.parametrize("part", CONFIGS)
def test_a_config_that_does_not_fit_is_refused(part, saved, subtests):
    content = (saved / "config.json").read_text()
    for name, change in CONFIGS[part].items():
        with subtests.test(name):
            (saved / "config.json").write_text(content)
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


def test_a_model_that_cannot_be_built_is_refused_where_it_is_asked_for(subtests):
    for config, match in (
        ({"learner": "none such"}, "nearest"),
        ({"frontend": "none such"}, "logmel"),
        ({"settings": {"penalty": "high"}}, "ridge.penalty"),
        ({"settings": {"encoder": {"channels": "many"}}}, "ridge.encoder.channels"),
        ({"frontend_settings": {"n_mels": "many"}}, "logmel.n_mels"),
        ({"frontend_settings": {"n_mel": 80}}, "n_mels"),
        ({"normalization": "corpus"}, "none"),
    ):
        with subtests.test(f"{config}"), pytest.raises(SettingsError, match=match):
            build_model(ModelConfig(**{"learner": "ridge", **config}))


def test_the_seed_decides_the_weights_of_a_new_model():
    first, second, other = (build_model(ModelConfig(learner="protonet"), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(weights(first)[FIRST], weights(second)[FIRST])
    assert not torch.equal(weights(first)[FIRST], weights(other)[FIRST])


def test_another_learner_takes_over_the_encoder(subtests):
    model = small_model("protonet")
    before = weights(model)
    for learner in names():
        with subtests.test(learner):
            if learner in ("mann", "relation"):  # they compare by a network of their own
                with pytest.raises(SettingsError, match=rf"as protonet; expected .* Train it: .*--learner {learner}"):
                    swap_learner(model, learner)
                continue
            swapped = swap_learner(model, learner)
            assert swapped.config.learner == learner
            assert swapped.config.settings["encoder"] == model.config.settings["encoder"]
            assert swapped.config.frontend_settings == model.config.frontend_settings
            after = weights(swapped)
            shared = [name for name in after if name.startswith("encoder.")]
            assert shared
            assert all(torch.equal(after[name], before[name]) for name in shared)
    with pytest.raises(SettingsError, match="ridge"):
        swap_learner(model, "rigde")


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
    assert_near(directions_of(seen).project(z)[:, -N:], z @ directions_of(model).speaker)
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


def test_an_unknown_view_is_refused_whatever_the_model():
    for model in (small_model(), model_of_two_views()):
        for view in ("speakers", "", None, ["emotion"]):
            with pytest.raises(SettingsError, match=r"expected emotion \| speaker"):
                with_view(model, view)


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
