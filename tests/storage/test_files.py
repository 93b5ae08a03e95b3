"""A file is there whole or not at all, whatever goes wrong while it is written."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ser_fewshot.errors import SettingsError
from ser_fewshot.storage.files import write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_what_stands_there_and_nothing_else(tmp_path):
    for content, stored in (
        (b"\x00\xff", b"\x00\xff"),
        ("größe\n", "größe\n".encode()),
        ("", b""),
        (b"x" * 3_000_000, b"x" * 3_000_000),
    ):
        for durable in (True, False):
            path = tmp_path / "new" / "folders" / "file.bin"
            write_atomically(path, content, durable=durable)
            assert path.read_bytes() == stored
            assert names(path.parent) == ["file.bin"]


def test_what_stood_there_is_replaced(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "a long old text")
    write_atomically(path, "new")
    assert path.read_text() == "new"


def test_a_name_as_long_as_the_file_system_allows_is_written(tmp_path):
    path = tmp_path / ("n" * 255)
    write_atomically(path, "x")
    assert path.read_text() == "x"


def test_a_link_is_followed_and_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "elsewhere" / "target.json")
    for content in ("first", "second"):
        write_atomically(link, content)
        assert link.is_symlink()
        assert (tmp_path / "elsewhere" / "target.json").read_text() == content


def fail(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_failure_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    for broken in ("os.fsync", "pathlib.Path.replace"):
        path = tmp_path / "file"
        path.write_text("old")
        monkeypatch.setattr(broken, fail)
        with pytest.raises(SettingsError, match=r"found No space left on device; .*is untouched"):
            write_atomically(path, "new")
        monkeypatch.undo()
        assert path.read_text() == "old"
        assert names(tmp_path) == ["file"]


def test_an_interrupt_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_folder_a_device_and_a_path_below_a_file_are_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    for path, found in [
        (tmp_path / "folder", "a folder"),
        (tmp_path / "pipe", "a device"),
        (tmp_path / "file" / "below", "not a directory"),
        (tmp_path / "nul\0byte", "null"),
        (tmp_path / ("n" * 256), "File name too long"),
    ]:
        with pytest.raises(SettingsError, match=found):
            write_atomically(path, "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert names(tmp_path) == ["file", "folder", "pipe"]


def test_a_ring_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(SettingsError):
        write_atomically(tmp_path / "a", "x")


def test_text_that_is_not_unicode_is_refused_in_one_printable_line(tmp_path):
    with pytest.raises(SettingsError, match="not valid Unicode") as caught:
        write_atomically(tmp_path / "file", "name \udcff.wav")
    str(caught.value).encode()
    assert names(tmp_path) == []


def test_many_writers_of_one_file_leave_one_of_their_contents(tmp_path):
    path = tmp_path / "file"
    contents = [str(number) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_atomically(path, content, durable=False), contents * 5))
    assert path.read_text() in contents
    assert names(tmp_path) == ["file"]
