"""An entry of the cache is what was written, or it is as if it were not there; the rest of the disk is left alone."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import FeatureCache, clear, default_directory, size

IDENTITY = {"frontend": "logmel", "version": 1, "n_mels": 80}
KEYS = [f"{number:02x}" * 32 for number in range(40)]


def entry(number: int = 0, frames: int = 50) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(frames, 80)).astype(np.float32)


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_what_was_written_is_read_bit_for_bit(tmp_path):
    for shape in ((50, 80), (1, 1), (0, 80), (768,)):
        root = tmp_path / f"{shape}"
        cache = FeatureCache(root, IDENTITY)
        array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        assert cache.read(KEYS[0]) is None
        cache.write(KEYS[0], array)
        again = FeatureCache(root, dict(IDENTITY)).read(KEYS[0])
        assert again.dtype == np.float32
        assert again.shape == shape
        assert again.tobytes() == array.tobytes()
        assert cache.read(KEYS[1]) is None


def test_what_half_precision_holds_takes_half_the_space_and_is_read_bit_for_bit(tmp_path):
    cache = FeatureCache(tmp_path, IDENTITY)
    rounded = entry(frames=500).astype(np.float16).astype(np.float32)
    rounded[0, :3] = [-0.0, 6e-8, 65_504]
    rounded = rounded.astype(np.float16).astype(np.float32)
    sizes = []
    for array in (rounded, np.nextafter(rounded, np.float32(1))):
        cache.write(KEYS[0], array)
        assert cache.read(KEYS[0]).tobytes() == array.tobytes()
        assert cache.read(KEYS[0]).dtype == np.float32
        sizes.append(size(tmp_path)[1])
    assert sizes[0] - 200 < sizes[1] / 2 < sizes[0]


def test_other_settings_have_other_entries(tmp_path):
    for other in ({**IDENTITY, "n_mels": 64}, {**IDENTITY, "version": 2}, {**IDENTITY, "hop": 160}, {}):
        FeatureCache(tmp_path, IDENTITY).write(KEYS[0], entry())
        assert FeatureCache(tmp_path, other).read(KEYS[0]) is None


def test_the_order_in_which_settings_are_named_does_not_matter(tmp_path):
    FeatureCache(tmp_path, IDENTITY).write(KEYS[0], entry())
    assert FeatureCache(tmp_path, dict(reversed(IDENTITY.items()))).read(KEYS[0]) is not None


def flip(content: bytes, at: int) -> bytes:
    changed = bytearray(content)
    changed[at] ^= 1
    return bytes(changed)


DAMAGE = {
    "empty": lambda content: b"",
    "first byte alone": lambda content: content[:1],
    "digest alone": lambda content: content[:16],
    "half": lambda content: content[: len(content) // 2],
    "last byte lost": lambda content: content[:-1],
    "one byte more": lambda content: content + b"\0",
    "bit of the digest": lambda content: flip(content, 0),
    "bit of the header": lambda content: flip(content, 30),
    "bit of the last value": lambda content: flip(content, -1),
    "rubbish of the right length": lambda content: np.random.default_rng(1).bytes(len(content)),
    "zeros of the right length": lambda content: bytes(len(content)),
    "a pickle": lambda content: b"cos\nsystem\n(S'true'\ntR.",
    "another entry's head": lambda content: bytes(16) + content[16:],
}


def test_a_damaged_entry_is_not_there_and_can_be_written_again(tmp_path):
    for damage in DAMAGE.values():
        cache = FeatureCache(tmp_path, IDENTITY)
        cache.write(KEYS[0], entry())
        [path] = files(tmp_path)
        whole = path.read_bytes()
        path.write_bytes(damage(whole))
        assert cache.read(KEYS[0]) is None
        cache.write(KEYS[0], entry())
        assert path.read_bytes() == whole
        assert np.array_equal(cache.read(KEYS[0]), entry())


def test_a_folder_in_the_place_of_an_entry_is_no_entry(tmp_path):
    cache = FeatureCache(tmp_path, IDENTITY)
    cache.write(KEYS[0], entry())
    [path] = files(tmp_path)
    path.unlink()
    path.mkdir()
    assert cache.read(KEYS[0]) is None


ENTRIES = [entry(number, 400) for number in range(4)]
ENTRY_BYTES = 16 + 128 + ENTRIES[0].nbytes  # digest, header, values


def hammer(root: Path, seed: int) -> list[str]:
    """Write and read the same entries many times; return what was wrong with any that was read."""
    (root / f"ready {seed}").touch()
    while len(list(root.glob("ready *"))) < 2:
        time.sleep(0.001)
    cache = FeatureCache(root, IDENTITY)
    rng = np.random.default_rng(seed)
    wrong = []
    for _ in range(200):
        number = int(rng.integers(len(ENTRIES)))
        if rng.random() < 0.5:
            cache.write(KEYS[number], ENTRIES[number])
        # Not through `read` alone, which would hide a part of an entry behind its digest.
        wrong += [path.name for path in root.rglob(f"{KEYS[number]}.npy") if len(path.read_bytes()) != ENTRY_BYTES]
        array = cache.read(KEYS[number])
        if array is not None and not np.array_equal(array, ENTRIES[number]):
            wrong.append(f"other values in entry {number}")
    return wrong


def test_processes_that_write_and_read_the_same_entries_never_see_a_part_of_one(tmp_path):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        other = pool.submit(hammer, tmp_path, 1)
        results = [hammer(tmp_path, 2), other.result(timeout=60)]
    assert results == [[], []]
    assert size(tmp_path)[0] == len(ENTRIES)
    assert len(files(tmp_path / "features")) == len(ENTRIES)  # no temporary file is left


def test_size_counts_the_entries_of_all_front_ends(tmp_path):
    assert size(tmp_path) == (0, 0)
    assert size(tmp_path / "not there") == (0, 0)
    for identity in (IDENTITY, {"frontend": "other"}):
        for key in KEYS[:3]:
            FeatureCache(tmp_path, identity).write(key, entry())
    assert size(tmp_path) == (6, sum(path.stat().st_size for path in files(tmp_path)))


def test_clearing_removes_the_entries_and_what_killed_writers_left(tmp_path):
    cache = FeatureCache(tmp_path, IDENTITY)
    for key in KEYS:
        cache.write(key, entry(frames=2))
    left = files(tmp_path)[0].parent / ".0123456789abcdef.tmp"
    left.write_bytes(b"part")
    assert size(tmp_path)[0] == len(KEYS)
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert size(tmp_path) == (0, 0)
    clear(tmp_path)
    clear(tmp_path / "not there")


def test_clearing_touches_nothing_that_is_not_an_entry(tmp_path):
    cache = FeatureCache(tmp_path, IDENTITY)
    cache.write(KEYS[0], entry())
    [own] = files(tmp_path)
    theirs = [
        tmp_path / "thesis.npy",
        tmp_path / "features" / "mine.npy",
        tmp_path / "features" / "emodb" / "a.npy",
        cache.directory / "notes.txt",
        own.parent / "notes.npy",
        own.parent / ".hidden",
    ]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
    assert size(tmp_path)[0] == 1
    clear(tmp_path)
    assert files(tmp_path) == sorted(theirs)
    assert size(tmp_path) == (0, 0)


def test_an_entry_that_cannot_be_removed_is_an_error(tmp_path, monkeypatch):
    FeatureCache(tmp_path, IDENTITY).write(KEYS[0], entry())

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(SettingsError, match=r"feature cache .*Permission denied"):
        clear(tmp_path)
    monkeypatch.setattr(Path, "iterdir", refuse)
    for act in (clear, size):
        with pytest.raises(SettingsError, match=r"feature cache .*Permission denied"):
            act(tmp_path)


def test_a_cache_that_cannot_be_written_is_an_error_that_names_the_folder_and_the_way_out(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    cache = FeatureCache(tmp_path / "file", IDENTITY)
    assert cache.read(KEYS[0]) is None
    assert size(tmp_path / "file") == (0, 0)
    with pytest.raises(SettingsError, match=r"feature cache .*/file: found .*--cache or SER_FEWSHOT_CACHE"):
        cache.write(KEYS[0], entry())


def test_the_cache_stands_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.delenv("SER_FEWSHOT_CACHE", raising=False)
    usual = default_directory()
    assert usual.name == "ser_fewshot"
    monkeypatch.setenv("SER_FEWSHOT_CACHE", str(tmp_path / "here"))
    assert default_directory() == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SER_FEWSHOT_CACHE", "~/there")
    assert default_directory() == tmp_path / "there"
    for empty in ("", "  "):
        monkeypatch.setenv("SER_FEWSHOT_CACHE", empty)
        assert default_directory().name == "ser_fewshot"
