"""Hostile and damaged sources: each is refused in one line, runs nothing, and leaves nothing behind."""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import resource
import struct
import sys
import types
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from ser_fewshot.errors import CheckpointError
from ser_fewshot.importers import Choice, import_model
from ser_fewshot.importers._files import Plain, as_tensors, read_pickled

from .conftest import built
from .layouts import encoder, write_fairseq, write_huggingface, write_torchaudio


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@cache
def small():
    return encoder("Wav2Vec2")


def folder(tmp_path: Path, *, bin_file: bool = False) -> Path:
    return write_huggingface(small(), tmp_path / "hf", bin_file=bin_file)


def reconfigured(tmp_path: Path, **changes: Any) -> Path:
    source = folder(tmp_path)
    path = source / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return source


def with_bin(tmp_path: Path, content: object) -> Path:
    source = folder(tmp_path, bin_file=True)
    torch.save(content, source / "pytorch_model.bin")
    return source


def evil_bin(tmp_path: Path) -> Path:
    return with_bin(tmp_path, {**small().state_dict(), "evil": Evil(tmp_path / "trace")})


def evil_old_bin(tmp_path: Path) -> Path:
    source = folder(tmp_path, bin_file=True)
    (source / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(tmp_path / "trace"), protocol=2))
    return source


def evil_torchaudio(tmp_path: Path) -> Path:
    source = write_torchaudio(small(), tmp_path / "ta.pt")
    torch.save({**torch.load(source, weights_only=True), "evil": Evil(tmp_path / "trace")}, source)
    return source


def evil_fairseq(tmp_path: Path) -> Path:
    source = write_fairseq(small(), tmp_path / "fs.pt")
    options = argparse.Namespace(evil=Evil(tmp_path / "trace"))
    torch.save({**torch.load(source, weights_only=True), "args": options}, source)
    return source


def evil_speechbrain(tmp_path: Path) -> Path:
    (tmp_path / "sb").mkdir()
    torch.save({"model.x": Evil(tmp_path / "trace")}, tmp_path / "sb" / "wav2vec2.ckpt")
    return tmp_path / "sb"


def truncated(tmp_path: Path, *, bin_file: bool) -> Path:
    source = folder(tmp_path, bin_file=bin_file)
    path = source / ("pytorch_model.bin" if bin_file else "model.safetensors")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return source


def zip_bomb(tmp_path: Path) -> Path:
    source = folder(tmp_path, bin_file=True)
    with zipfile.ZipFile(source / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(100_000_000))
    assert (source / "pytorch_model.bin").stat().st_size < 200_000
    return source


def lying_zip(tmp_path: Path) -> Path:
    """One part of which the directory says that it is 4 GB."""
    source = folder(tmp_path, bin_file=True)
    path = source / "pytorch_model.bin"
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(content)
    return source


def overlapping_zip(tmp_path: Path) -> Path:
    """A hundred entries of the directory that all lead to the same bytes."""
    source = folder(tmp_path, bin_file=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(100_000))
        (entry,) = archive.filelist
        archive.filelist.extend([entry] * 99)
    (source / "pytorch_model.bin").write_bytes(buffer.getvalue())
    return source


def sharded(tmp_path: Path, place: str) -> Path:
    source = folder(tmp_path)
    (source / "model.safetensors").rename(tmp_path / "outside.safetensors")
    index = {"weight_map": dict.fromkeys(small().state_dict(), place)}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    return source


def sharded_through_a_link(tmp_path: Path) -> Path:
    source = sharded(tmp_path, "model-1.safetensors")
    (source / "model-1.safetensors").symlink_to(tmp_path / "outside.safetensors")
    return source


def linked_out(tmp_path: Path, name: str) -> Path:
    source = folder(tmp_path)
    (source / name).rename(tmp_path / name)
    (source / name).symlink_to(tmp_path / name)
    return source


def of_another_family(tmp_path: Path) -> Path:
    source = folder(tmp_path)
    encoder("WavLM").save_pretrained(tmp_path / "wavlm")
    (tmp_path / "wavlm" / "model.safetensors").replace(source / "model.safetensors")
    return source


def of_another_width(tmp_path: Path) -> Path:
    source = folder(tmp_path)
    encoder("Wav2Vec2", hidden_size=64).save_pretrained(tmp_path / "narrow")
    (tmp_path / "narrow" / "model.safetensors").replace(source / "model.safetensors")
    return source


def huge_json(tmp_path: Path) -> Path:
    return reconfigured(tmp_path, padding="x" * 2_000_000)


def deep_json(tmp_path: Path) -> Path:
    source = folder(tmp_path)
    (source / "config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    return source


def not_finite(tmp_path: Path) -> Path:
    state = small().state_dict()
    return with_bin(tmp_path, {**state, "encoder.layer_norm.bias": torch.full((128,), torch.nan)})


def one_storage(tmp_path: Path) -> Path:
    values = torch.zeros(20_000, dtype=torch.float16)
    return with_bin(tmp_path, {f"x{n}": values[:] for n in range(9)})


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "code in a .bin": (evil_bin, "the pickled object .*mkdir, which could run code"),
    "code in a .bin of before torch 1.6": (evil_old_bin, "the pickled object .*mkdir, which could run code"),
    "code in a torchaudio file": (evil_torchaudio, "the pickled object .*mkdir, which could run code"),
    "code in a namespace": (evil_fairseq, "the pickled object .*mkdir, which could run code"),
    "code in a SpeechBrain file": (evil_speechbrain, "the pickled object .*mkdir, which could run code"),
    "truncated safetensors": (lambda path: truncated(path, bin_file=False), "expected a whole safetensors file"),
    "truncated .bin": (lambda path: truncated(path, bin_file=True), "expected a whole file that torch.save wrote"),
    "zip bomb": (zip_bomb, "1 parts that unpack to 100000000 bytes"),
    "zip that lies": (lying_zip, "parts that unpack to 4296"),
    "zip of one part a hundred times": (overlapping_zip, "100 parts that unpack to 10000000 bytes"),
    "one value as a trillion": (
        lambda path: with_bin(path, {"x": torch.zeros(1).expand(10**6, 10**6)}),
        "no tensor of its own values",
    ),
    "one storage as many tensors": (one_storage, "9 tensors of 360000 bytes in a file of"),
    "sparse tensor": (lambda path: with_bin(path, {"x": torch.eye(2).to_sparse()}), "no tensor of its own values"),
    "a list": (lambda path: with_bin(path, [torch.ones(2)]), "a list that does not name tensors"),
    "nothing": (lambda path: with_bin(path, {}), "a dict that does not name tensors"),
    "a number among tensors": (lambda path: with_bin(path, {"x": 3}), "'x', which is no tensor"),
    "weights that are not finite": (not_finite, "NaN or infinite values in encoder.layer_norm.bias"),
    "another family": (of_another_family, r"unexpected: encoder\.layers\.0\.attention\.gru_rel_pos_const"),
    "another width": (of_another_width, r"shape \(64,\) instead of \(128,\)"),
    "absurd width": (lambda path: reconfigured(path, hidden_size=10**9), "architecture.hidden_size: found 1000000000"),
    "absurd depth": (lambda path: reconfigured(path, num_hidden_layers=10**6), "num_hidden_layers: found 1000000"),
    "a width of text": (lambda path: reconfigured(path, hidden_size="many"), "hidden_size: found 'many'"),
    "fewer strides than convolutions": (
        lambda path: reconfigured(path, conv_stride=[5, 2]),
        "conv_dim of 7, conv_kernel of 7, conv_stride of 2; expected one value for each",
    ),
    "more kernels than convolutions": (
        lambda path: reconfigured(path, conv_kernel=[3] * 8),
        "conv_kernel of 8, conv_stride of 7",
    ),
    "larger than any": (
        lambda path: reconfigured(path, hidden_size=16_384, num_hidden_layers=100),
        "parameters; expected at most",
    ),
    "larger than its file": (
        lambda path: reconfigured(path, hidden_size=4096, intermediate_size=8192, num_hidden_layers=16),
        "instead of",
    ),
    "shard above": (lambda path: sharded(path, "../outside.safetensors"), "leads out of the folder"),
    "shard at an absolute path": (
        lambda path: sharded(path, str(path / "outside.safetensors")),
        "leads out of the folder",
    ),
    "shard through a link": (sharded_through_a_link, "leads out of the folder"),
    "shard that is no text": (lambda path: sharded(path, 3), "no weight_map from names to files"),
    "shard that is not there": (lambda path: sharded(path, "gone.safetensors"), "no such file"),
    "weights through a link": (lambda path: linked_out(path, "model.safetensors"), "leads out of the folder"),
    "config through a link": (lambda path: linked_out(path, "config.json"), "leads out of the folder"),
    "huge JSON": (huge_json, "config.json: found ValueError: 20.* bytes"),
    "deep JSON": (deep_json, "config.json: found RecursionError"),
    "a family with code of its own": (
        lambda path: reconfigured(path, model_type="evil", auto_map={"AutoModel": "modeling_evil.Evil"}),
        "found the model_type 'evil'",
    ),
    "a path that is not there": (lambda path: path / "gone", "no such file or folder"),
    "an empty folder": (lambda path: path, "no layout that is known"),
}


@pytest.mark.parametrize("part", range(4))
def test_a_hostile_source_is_refused_in_one_line_and_nothing_of_it_runs_or_stays(part, tmp_path, run):
    out = tmp_path / "out"
    for number, (make, match) in list(enumerate(HOSTILE.values()))[part::4]:
        place = tmp_path / str(number)
        place.mkdir()
        source = make(place)
        with pytest.raises(CheckpointError, match=match) as caught:
            import_model(str(source), Choice())
        assert caught.value.expected
        assert caught.value.remedy.endswith(".")
        code, printed, complaint = run("import", source, "--out", out)
        assert code == 2
        assert printed == ""
        assert complaint == f"ser-fewshot: {caught.value}\n"
        assert complaint.count("\n") == 1
        assert len(complaint) < 1500
        assert not out.exists()
        assert not (place / "trace").exists()
    assert not (tmp_path / "trace").exists()


def test_the_evil_of_these_tests_would_work(tmp_path):
    torch.load(evil_bin(tmp_path) / "pytorch_model.bin", weights_only=False)
    assert (tmp_path / "trace").is_dir()


def test_a_zip_bomb_is_refused_before_it_is_read(tmp_path, monkeypatch):
    for make in (zip_bomb, lying_zip, overlapping_zip):
        place = tmp_path / make.__name__
        place.mkdir()
        path = make(place) / "pytorch_model.bin"
        monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
        with pytest.raises(CheckpointError, match="parts that unpack"):
            read_pickled(path)


def test_tensors_that_share_one_storage_are_refused_before_they_are_copied(tmp_path, monkeypatch):
    path = one_storage(tmp_path) / "pytorch_model.bin"
    state = read_pickled(path)
    monkeypatch.setattr(torch.Tensor, "float", lambda _: pytest.fail("it was copied"))
    with pytest.raises(CheckpointError, match="in a file of"):
        as_tensors(state, path)


def test_tied_weights_are_read(tmp_path):
    state = small().state_dict()
    tied = {f"lm_head.{name}": x for name, x in state.items() if "layers.0" in name}
    _, _, report = built(with_bin(tmp_path, {**state, **tied}))
    assert report.reasons["head for text"] == tuple(sorted(tied))


def test_a_config_larger_than_its_file_takes_no_memory(tmp_path):
    source = reconfigured(tmp_path, hidden_size=4096, intermediate_size=8192, num_hidden_layers=16)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="instead of"):
        built(source, layer="weighted")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024  # MB, on Linux
    assert grown < 500  # its weights would be 9,000


def test_code_beside_a_known_family_is_never_run(tmp_path, run):
    source = reconfigured(tmp_path, auto_map={"AutoModel": "modeling_evil.Evil"}, trust_remote_code=True)
    (source / "modeling_evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'trace')!r})\n")
    code, printed, complaint = run("import", source, "--out", tmp_path / "out")
    assert code == 0, complaint
    assert "brings code of its own (auto_map), which is not run" in printed
    assert not (tmp_path / "trace").exists()


def test_what_the_environment_says_of_unpickling_is_not_obeyed(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(CheckpointError, match="could run code"):
        read_pickled(evil_bin(tmp_path) / "pytorch_model.bin")
    assert not (tmp_path / "trace").exists()


def test_options_of_another_library_are_refused_with_a_remedy(tmp_path, monkeypatch):
    module = types.ModuleType("omegaconf")
    monkeypatch.setitem(sys.modules, "omegaconf", module)
    module.DictConfig = type("DictConfig", (), {"__module__": "omegaconf", "__qualname__": "DictConfig"})
    source = write_fairseq(small(), tmp_path / "fs.pt")
    torch.save({**torch.load(source, weights_only=True), "cfg": module.DictConfig()}, source)
    with pytest.raises(CheckpointError, match=r"object omegaconf\.DictConfig.*state dict alone"):
        built(source)


def test_a_namespace_of_the_file_cannot_reach_the_class_that_stands_for_it(tmp_path):
    path, options = tmp_path / "odd.pt", argparse.Namespace(x=5)
    vars(options).update(__class__=3, __setstate__=4)
    torch.save({"args": options}, path)
    first, second = read_pickled(path)["args"], read_pickled(path)["args"]
    assert type(first) is type(second) is Plain
    assert vars(first)["x"] == 5
