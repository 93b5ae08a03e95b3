"""The report of a benchmark: values are those of the records, the page is self-contained, and every name is text."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from html_reader import Reader

from ser_fewshot import audio
from ser_fewshot.benchmark.report import ClipMap, maps, select_clips, write_benchmark_report
from ser_fewshot.benchmark.report.table import ReportTable
from ser_fewshot.benchmark.significance import verdict
from ser_fewshot.benchmark.store import write_cell
from ser_fewshot.corpora import Utterance
from ser_fewshot.quickstart import DEMO_MANIFEST

from .records import LABELS, PROMISED, record, unfinished

HOSTILE = "<script>alert(1)</script>\"'><img src=http://x/y onerror=z>&amp;{{ 7 * 7 }} $x_1^2$ \\input{y} 50%"
CLIPS = sorted(DEMO_MANIFEST.parent.glob("*.ogg"))
OF_PROTOCOL = "scores significance confusion gender speakers languages groups calibration open_set"
OF_RUN = "overview shots_cross_corpus audit licences programs cells remarks"
BARE = {"reliability": None, "open_set": None, "tallies": {}, "audit": None, "licences": (), "split": None}
KINDS = {"protonet": "learner", "ridge": "learner", "default-model": "model", "linear-probe": "ceiling"}


def of_run(row: int, method: str, corpus: str, k_shot: int):
    """One record of a run: each method is better than the one before, and the model was trained on emodb."""
    heard, notes = (method, corpus) == ("default-model", "emodb"), ("a note",) if method == "ridge" else ()
    made = {"protocol": f"cross-corpus-{k_shot}-shot", "seed": 10 * row + k_shot, "level": 0.4 + 0.1 * row}
    return record(method, corpus=corpus, k_shot=k_shot, kind=KINDS[method], heard=heard, notes=notes, **made)


RUN = [of_run(row, name, corpus, k) for row, name in enumerate(KINDS) for corpus in ("emodb", "urdu") for k in (1, 5)]
OF_FIVE = [one for one in RUN if one.protocol == "cross-corpus-5-shot"]


def mapped(corpus="ravdess", *, emotion="anger", n=4):
    clips = tuple(Utterance(f"{corpus}/{i}", CLIPS[i], corpus, emotion=emotion, speaker=f"{i % 2}") for i in range(n))
    return ClipMap(clips, np.random.default_rng(0).normal(size=(n, 2)), 0.5)


def write(folder, some, **options) -> str:
    return write_benchmark_report(folder, some, **options).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write(folder, RUN, clips={"ravdess": mapped()})
    return folder


@pytest.fixture(scope="module")
def page(written) -> str:
    return (written / "report.html").read_text(encoding="utf-8")


def shown(page: str, name: str) -> dict[str, list[str]]:
    """The lines of the table that links to a file of that name, by their first cell; the best has a star."""
    table = page[: page.index(f'href="tables/{name}.csv"')].rpartition("<table")[2]
    marked = html.unescape(re.sub(r'(class="best">[^<]*)', r"\1 *", table))
    lines = [
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.S) for line in re.findall(r"<tr>(.*?)</tr>", marked, re.S)
    ]
    return {line[0]: line[1:] for line in lines}


def test_every_section_is_there_and_every_table_as_csv_and_latex(written, page):
    sections = "scores shots confusions groups calibration open_set maps audit licences repeat remarks"
    assert re.findall(r'<section id="(\w+)">', page) == sections.split()
    names = OF_RUN.split() + [f"{name}_cross_corpus_{k}_shot" for name in OF_PROTOCOL.split() for k in (1, 5)]
    files = {path.name for path in (written / "tables").iterdir()}
    assert (
        files
        == set(re.findall(r'href="tables/([^"]+)"', page))
        == {f"{n}.{end}" for n in names for end in ("csv", "tex")}
    )
    for name in names:
        assert len(pd.read_csv(written / f"tables/{name}.csv")) > 0, name
        tex = (written / f"tables/{name}.tex").read_text(encoding="utf-8")
        assert tex.count(r"\begin{") == tex.count(r"\end{") == (1 if "longtable" in tex else 2)


@pytest.mark.parametrize("method", KINDS)
def test_values_are_those_of_the_record(written, page, method):
    one = next(one for one in OF_FIVE if one.method == method and one.corpus == ("urdu" if method < "m" else "emodb"))

    def row(name):
        table = pd.read_csv(written / f"tables/{name}_cross_corpus_5_shot.csv", dtype={"episodes_sha256": str})
        return table[(table.corpus == one.corpus) & (table.method == one.method)]

    names = ["uar", "uar_ci95", "accuracy", "chance", "episodes_sha256"]
    expected = [one.uar.mean, one.uar.ci95, one.accuracy.mean, one.chance, one.episodes_sha256]
    assert row("scores")[names].to_numpy().tolist() == [expected]
    (line,) = [cells for name, cells in shown(page, "scores_cross_corpus_5_shot").items() if one.method in name]
    assert line[one.corpus == "urdu"].startswith(f"{100 * one.uar.mean:.1f} ± {100 * one.uar.ci95:.1f}")
    found = verdict([other for other in OF_FIVE if other.corpus == one.corpus])
    best = next(other.uar.mean for other in OF_FIVE if (other.method, other.corpus) == (found.best, one.corpus))
    compared = [[found.best, pytest.approx(one.uar.mean - best), found.p[one.method]]] if one.method in found.p else []
    assert row("significance")[["best", "difference", "p_holm"]].to_numpy().tolist() == compared
    counts = row("confusion").pivot_table(index="true", columns="answer", values="count", fill_value=0)
    assert counts.loc[list(LABELS), list(LABELS)].to_numpy().tolist() == [list(counts) for counts in one.confusion]
    assert row("gender")[["female", "male"]].to_numpy().tolist() == [[0.65, 0.55]]
    assert row("speakers")[["worst", "median", "best", "worst_speaker"]].to_numpy().tolist() == [[0.4, 0.47, 0.54, 3]]
    assert row("calibration").ece.tolist() == [one.reliability.ece]
    assert row("open_set")[["auroc", "fpr95", "oscr"]].to_numpy().tolist() == [[0.71, 0.8, 0.45]]
    assert shown(page, "cells")[one.key] == [one.origin.command, "0", one.episodes_sha256[:12], "1.8"]


def test_the_best_is_bold_and_neither_a_ceiling_nor_a_method_trained_on_the_corpus(page, written):
    bold = {name: ["*" in cell for cell in cells] for name, cells in shown(page, "scores_cross_corpus_5_shot").items()}
    assert (bold["ridge"], bold["default-model (model)"]) == ([True, False, False], [False, True, False])
    assert "‡" in shown(page, "scores_cross_corpus_5_shot")["default-model (model)"][0]
    lines = shown(page, "overview")
    assert list(lines) == ["method", "linear-probe (ceiling)", "default-model (model)", "ridge", "protonet", "chance"]
    assert lines["chance"] == ["25.0", "25.0"]
    assert all("‡" in cell for cell in lines["default-model (model)"])
    mean = f"{100 * np.mean([one.uar.mean for one in OF_FIVE if one.method == 'ridge']):.1f}"
    assert lines["ridge"][1] == f"{mean} *"
    assert rf"\textbf{{{mean}}}" in (written / "tables/overview.tex").read_text(encoding="utf-8")
    assert set(re.findall(r">([\w-]+)(?: \(\w+\))? on (?:emodb|urdu): UAR", page)) == {"ridge", "protonet"}


def test_a_method_that_was_not_tested_on_every_corpus_has_no_mean(tmp_path):
    some = [one for one in RUN if (one.method, one.corpus, one.spec["k_shot"]) != ("protonet", "urdu", 1)]
    assert [cell == "-" for cell in shown(write(tmp_path, some), "overview")["protonet"]] == [True, False]


def test_the_audit_shows_promises_kept_and_broken_and_counts_without_a_promise(tmp_path):
    trained = record("default-model", heard=True)
    trained = replace(trained, audit=replace(trained.audit, promised=PROMISED[:2]))
    text = write(tmp_path, [record("ridge"), record("mtl", shared=3), trained])
    lines = {tuple(re.findall(r"<td[^>]*>([^<]*)</td>", line)[3:]) for line in re.findall(r"<tr>.*without-.*", text)}
    both = ("0 ✓", "0 ✓", "77")
    assert lines == {(*both, "0 ✓", "0 ✓", "0"), (*both, "0 ✓", "3 ✗", "0"), (*both, "-", "-", "-")}
    assert "✗ 1 of 3 records break a promise: cross-corpus-5-shot/emodb/mtl." in text
    audit = pd.read_csv(tmp_path / "tables/audit.csv").set_index("methods")
    assert audit.holds.to_dict() == {"ridge": True, "mtl": False, "default-model": True}
    assert audit.train_test_clips.isna().to_dict() == {"ridge": False, "mtl": False, "default-model": True}
    assert "(BROKEN)" in (tmp_path / "tables/audit.tex").read_text(encoding="utf-8")


def test_a_run_that_is_not_finished_has_a_page_that_says_so(tmp_path):
    for some, expected, words in (
        ([], (), "No record is finished yet"),
        ([record(episodes=1, **BARE)], (), "1 records: 1 methods"),
        ([record("a"), record("a", corpus="urdu"), record("b")], (), "missing: 1 (cross-corpus-5-shot/urdu/b)"),
        ([record("ridge")], ("a/b/siamese", record("ridge").key), "missing: 1 (a/b/siamese)"),
        ([unfinished("mann", status="failed", reason="no memory")], (), "no memory"),
        ([unfinished("mann", status="failed", reason="no memory")], (), "Failed, see Remarks: 1"),
        ([unfinished("", status="left out", reason="two emotions", corpus="tess")], (), "two emotions"),
        ([record("default-model", kind="model", heard=True)], (), "default-model (model) on emodb: UAR"),
    ):
        assert words in Reader(write(tmp_path, some, expected=expected)).text


def test_hostile_names_are_text_and_nothing_else(tmp_path):
    made = {"corpus": HOSTILE, "labels": (HOSTILE, "$x^2$", "_hidden", "no UTF-8 \udcff")}
    one = record(HOSTILE, protocol=f"{HOSTILE}-1-shot", k_shot=1, speakers=(HOSTILE, "_"), **made)
    other = record("no UTF-8 \udcff", protocol=f"{HOSTILE}-5-shot", notes=(HOSTILE,), **made)
    reader = Reader(write(tmp_path, [one, other], clips={HOSTILE: mapped(HOSTILE, emotion=HOSTILE)}, play=True))
    assert [tag for tag, _ in reader.tags if tag in ("script", "img")] == ["script"]
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert reader.text.count(HOSTILE) > 20
    assert pd.read_csv(tmp_path / "tables/remarks.csv").why.tolist() == [HOSTILE]
    twice = pd.DataFrame([[HOSTILE, "\N{MINUS SIGN}1"]], columns=["m_1", "m_1"])
    table = ReportTable("t", HOSTILE, twice, twice).latex
    for tex in (table, (tmp_path / "tables/remarks.tex").read_text(encoding="utf-8")):
        assert r"\input" not in tex
        assert r"\textbackslash input\{y\} 50\%" in tex
    assert r"m\_1 & m\_1 \\" in table
    assert "$-$1" in table


def test_latex_typesets_every_table(written, tmp_path):
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("no pdflatex")
    tables = "\\clearpage".join(f"\\input{{{path}}}" for path in sorted((written / "tables").glob("*.tex")))
    head = "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs,longtable}"
    (tmp_path / "all.tex").write_text(f"{head}\\begin{{document}}{tables}\\end{{document}}")
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2_000:]


def test_the_page_stands_alone_and_its_charts_have_text_alternatives(page):
    reader = Reader(page)
    assert not {"link", "img", "iframe", "object", "embed", "base", "image"} & {tag for tag, _ in reader.tags}
    links = {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}
    found = [value for _, attributes in reader.tags for name, value in attributes.items() if name in links]
    assert [link for link in found if not re.match(r"#|data:audio/ogg|tables/[a-z0-9_]+\.(csv|tex)$", link)] == []
    assert set(re.findall(r"url\(.|@import", page)) <= {"url(#"}
    assert any((attributes.get("content") or "").startswith("default-src 'none'") for _, attributes in reader.tags)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    charts = re.findall(r'<div class="wide" role="img" aria-label="([^"]+)"><svg', page)
    assert len(charts) == page.count("<svg xmlns") == 16
    assert f"protonet: {100 * RUN[0].uar.mean:.1f} % with 1" in "".join(charts)


def test_the_same_records_give_the_same_bytes(tmp_path):
    for name, order in (("a", OF_FIVE[:2]), ("b", OF_FIVE[1::-1])):
        write(tmp_path / name, order)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*")]
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


def test_clips_are_played_where_the_licence_or_the_user_allows_it(tmp_path):
    for corpus, play, n in (("ravdess", False, 3), ("emodb", False, 0), ("esd", False, 0), ("mine", True, 3)):
        text = write(tmp_path, [], clips={corpus: mapped(corpus)}, play=play)
        assert text.count("data:audio/ogg;base64,") == text.count('class="play"') == n
        assert ("keep the page to yourself" in text, "No clip can be played" in text) == (play, n == 0)


def test_sounds_are_capped_and_can_be_decoded_and_speakers_take_turns(monkeypatch):
    clips = [Utterance(str(i), path, "mine", emotion="anger", speaker="a") for i, path in enumerate(CLIPS[:4])]
    found = maps.encoded([clips[0], Utterance("gone", Path("gone.wav"), "mine"), *clips[1:]])
    assert [clip.id for clip, _ in found] == ["0", "1", "2", "3"]
    sound = audio.load(base64.b64decode(found[0][1].partition(",")[2]))
    assert sound.duration == pytest.approx(audio.load(CLIPS[0]).duration, abs=0.3)
    monkeypatch.setattr(maps, "MAX_BYTES", len(found[0][1]) + 10)
    assert [clip.id for clip, _ in maps.encoded(clips)] == ["0"]
    many = [Utterance(f"{s}{i}", Path("x"), "c", emotion="fear", speaker=s) for s in "ab" for i in range(30)]
    assert [clip.id for clip in select_clips(many)["c"]] == [
        f"{s}{i}" for i in sorted(map(str, range(30))) for s in "ab"
    ][:25]


def test_the_command_writes_the_page_of_a_run_at_any_time(tmp_path, run):
    for arguments, message in (((), "the results of a benchmark"), (("--play",), "--corpora DIR")):
        code, out, err = run("report", tmp_path, *arguments)
        assert (code, out, list(tmp_path.iterdir())) == (2, "", [])
        assert message in err
    write_cell(tmp_path, RUN[0])
    code, out, _ = run("report", tmp_path, "--json")
    assert (code, json.loads(out)) == (0, {"page": str(tmp_path / "report.html"), "done": 1, "cells": 1})


def in_a_browser(program: str, path: Path) -> tuple[list[int], list[str]]:
    """By how much the page is wider than a phone and a desk; what it asks for from elsewhere and complains of."""
    from playwright.sync_api import sync_playwright

    wider, faults = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for width in (390, 1280):
            view = browser.new_page(viewport={"width": width, "height": 844})
            view.on("request", lambda request: faults.append(request.url))
            view.on("console", lambda message: faults.append(message.text))
            view.goto(path.as_uri())
            view.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
            view.wait_for_timeout(200)
            wider.append(view.evaluate("document.documentElement.scrollWidth") - width)
        view.locator("a.play").first.click()
        playing = "[...document.querySelectorAll('audio')].some(sound => sound.currentTime > 0)"
        while not view.evaluate(playing):  # pytest's own limit ends it; the page forbids what waits by evaluating text
            view.wait_for_timeout(100)
        browser.close()
    return wider, [fault for fault in faults if not fault.startswith(("file:", "data:"))]


def test_a_browser_shows_it_without_any_request_and_without_scrolling_sideways(written):
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium on this machine: install Debian's package 'chromium'")
    with ThreadPoolExecutor(1) as apart:  # the tests of the demo may still hold Playwright in this thread
        wider, faults = apart.submit(in_a_browser, program, written / "report.html").result()
    assert max(wider) <= 0
    assert faults == []
