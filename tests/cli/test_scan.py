"""The commands corpora, scan and cache."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

from cli.rooms import EPISODE
from ser_fewshot import plugins
from ser_fewshot.quickstart import DEMO_MANIFEST


def test_corpora_lists_every_plug_in_and_shows_all_about_one(ok):
    listed = ok("corpora")
    assert all(f"| {name} " in listed for name in plugins.names("corpora"))
    assert set(json.loads(ok("corpora", "--json"))) == set(plugins.names("corpora"))
    out = ok("corpora", "emodb")
    assert "title: " in out
    assert "anger 127" in out
    assert json.loads(ok("corpora", "emodb", "--json"))["emodb"]["expected"]["anger"] == 127


def test_the_cache_is_counted_and_cleared(ok, room, tmp_path):
    options = ("--cache", tmp_path / "cache", "--json")
    assert json.loads(ok("cache", *options))["entries"] == 0
    ok("evaluate", "--manifest", DEMO_MANIFEST, "--model", room / "model", *EPISODE, "--clean-only", *options[:2])
    kept = json.loads(ok("cache", *options))
    assert kept["entries"] == 80
    assert kept["bytes"] > 1000
    assert "80 clips" in ok("cache", "--cache", tmp_path / "cache")
    (tmp_path / "cache/mine.txt").write_text("not yours\n")
    assert json.loads(ok("cache", *options, "--clear"))["cleared"]
    assert json.loads(ok("cache", *options))["entries"] == 0
    assert (tmp_path / "cache/mine.txt").exists()


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
    for i in range(25):
        (mine / f"fear/{i}.wav").touch()
    _, _, err = run("scan", "folder", mine)
    assert "28 files skipped" in err
    assert "and 18 more; --json lists them all" in err


def test_scan_says_how_many_clips_have_no_speaker(ok, room):
    names = sorted((room / "mine").rglob("*.ogg"))[:3]
    rows = [f"{name},sad,{speaker}" for name, speaker in zip(names, ("m", "", "N/A"), strict=True)]
    Path("t.csv").write_text("\n".join(["file,emotion,speaker", *rows]))
    assert ok("scan", "table", "t.csv").startswith("3 clips by 1 speaker (2 without a speaker): sadness 3")


def test_a_manifest_is_read_from_any_folder(ok, room, tmp_path, monkeypatch):
    shutil.copytree(room / "mine", tmp_path / "data/mine")
    ok("scan", "folder", "data/mine", "--out", "data/inside.csv")
    (tmp_path / "far/away").mkdir(parents=True)
    ok("scan", "folder", "data/mine", "--out", "far/outside.csv")
    monkeypatch.chdir(tmp_path / "far/away")
    for manifest in ("../../data/inside.csv", "../outside.csv"):
        out = ok("evaluate", "--manifest", manifest, "--model", room / "model", *EPISODE, "--json", "-")
        assert json.loads(out)["clips"] == 40
