"""The report of a benchmark: it holds the numbers of the records, stands alone, and obeys nothing that a name says."""

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
from benchmark_records import LABELS, PROMISED, record, unfinished
from html_reader import Reader

from ser_fewshot import audio
from ser_fewshot.benchmark.cells import write_cell
from ser_fewshot.benchmark.records import write_results
from ser_fewshot.benchmark.significance import verdict
from ser_fewshot.benchmark_report import Mapped, _sounds, chosen, write_benchmark_report
from ser_fewshot.benchmark_report._grid import protocols
from ser_fewshot.benchmark_report._table import ReportTable, frame
from ser_fewshot.corpora import Utterance
from ser_fewshot.quickstart import DEMO_MANIFEST

HOSTILE = "<script>alert(1)</script>\"'><img src=http://x/y onerror=z>&amp;{{ 7 * 7 }} $x_1^2$ \\input{y} 50%"
CLIPS = sorted(DEMO_MANIFEST.parent.glob("*.ogg"))


def records():
    """Two methods, a ceiling, and one that heard the corpus, on two corpora with one and five shots."""
    kinds = {"protonet": "learner", "ridge": "learner", "default-model": "model", "linear-probe": "ceiling"}
    return [
        record(
            method,
            protocol=f"cross-corpus-{k_shot}-shot",
            corpus=corpus,
            k_shot=k_shot,
            seed=10 * row + k_shot,
            level=0.4 + 0.1 * row + 0.02 * k_shot,
            kind=kind,
            heard=(method, corpus) == ("default-model", "emodb"),
        )
        for row, (method, kind) in enumerate(kinds.items())
        for corpus in ("emodb", "urdu")
        for k_shot in (1, 5)
    ]


def mapped(corpus="ravdess", *, emotion="anger", n=4):
    clips = tuple(
        Utterance(f"{corpus}/{i}", CLIPS[i], corpus, emotion=emotion, speaker=f"{i % 2}", language="eng")
        for i in range(n)
    )
    return Mapped(clips, np.random.default_rng(0).normal(size=(n, 2)), 0.5)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_benchmark_report(folder, records(), clips={"ravdess": mapped()})
    return folder


@pytest.fixture(scope="module")
def page(written) -> str:
    return (written / "report.html").read_text(encoding="utf-8")


def cells_of(page: str, caption: str) -> list[list[str]]:
    """The words of the table whose caption begins so."""
    found = re.search(rf'aria-label="{re.escape(caption)}.*?</table>', page, re.S)
    assert found, caption
    rows = re.findall(r"<tr>(.*?)</tr>", found[0], re.S)
    return [[html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)] for row in rows]


def test_the_scores_are_those_of_the_records(page):
    head, *rows = cells_of(page, "cross-corpus-5-shot: UAR")
    assert head == ["method", "emodb", "urdu", "mean"]
    shown = {row[0].split(" (")[0]: row[1:] for row in rows}
    for one in records():
        if one.protocol == "cross-corpus-5-shot":
            words = f"{100 * one.uar.mean:.1f} ± {100 * one.uar.ci95:.1f}"
            assert shown[one.method][head.index(one.corpus) - 1].split(" †")[0].split(" ‡")[0] == words
    means = [float(row[-1]) for row in rows]
    assert means == sorted(means, reverse=True)


def test_the_best_is_bold_and_who_heard_the_corpus_or_saw_its_labels_is_not_the_best(page):
    table = re.search(r'aria-label="cross-corpus-5-shot: UAR.*?</table>', page, re.S)[0]
    bold = re.findall(r'<th scope="row">([^<]*)</th>(?:<td>[^<]*</td>)*?<td class="best">', table)
    assert bold == ["default-model (model)", "ridge"]  # of urdu; of emodb, which the model heard
    assert re.search(r"default-model.*?<td>[^<]* ‡</td>", table)


def test_p_values_are_those_of_the_significance(written):
    table = pd.read_csv(written / "tables/significance_cross_corpus_5_shot.csv")
    column = [one for one in records() if (one.protocol, one.corpus) == ("cross-corpus-5-shot", "urdu")]
    expected = verdict(column)
    rows = table[table.corpus == "urdu"].set_index("method")
    assert rows.p_holm.to_dict() == pytest.approx(expected.p)
    assert set(rows.best) == {expected.best}
    means = {one.method: one.uar.mean for one in column}
    for method, row in rows.iterrows():
        assert row.difference == pytest.approx(means[method] - means[expected.best])


def test_every_table_is_there_as_csv_and_latex_and_reads_back(written, page):
    linked = set(re.findall(r'href="tables/([^"]+)"', page))
    assert linked == {path.name for path in (written / "tables").iterdir()}
    names = {name.rpartition(".")[0] for name in linked}
    kinds = (
        "overview",
        "scores",
        "significance",
        "shots",
        "confusion",
        "gender",
        "speakers",
        "languages",
        "groups",
        "calibration",
    )
    assert all(
        any(name.startswith(kind) for name in names) for kind in (*kinds, "open_set", "audit", "licences", "cells")
    )
    for name in names:
        assert len(pd.read_csv(written / f"tables/{name}.csv")) > 0, name
        tex = (written / f"tables/{name}.tex").read_text(encoding="utf-8")
        assert tex.count(r"\begin{") == tex.count(r"\end{") == 2 or "longtable" in tex


def test_latex_typesets_every_table(written, tmp_path):
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("no pdflatex")
    tables = "\n\\clearpage\n".join(
        f"\\input{{{path}}}" for path in sorted((written / "tables").glob("*.tex"), key=lambda path: path.name)
    )
    packages = "\\usepackage[T1]{fontenc}\\usepackage{booktabs,longtable}"
    (tmp_path / "all.tex").write_text(
        f"\\documentclass{{article}}{packages}\\begin{{document}}{tables}\\end{{document}}"
    )
    done = subprocess.run(
        [program, "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:]


def test_a_cell_is_found_without_looking_at_all_others():
    looked = 0

    class Counted(tuple):
        def __iter__(self):
            nonlocal looked
            looked += len(self)
            return super().__iter__()

    (protocol,) = (one for one in protocols(records()) if one.name == "cross-corpus-1-shot")
    counted = replace(protocol, records=Counted(protocol.records))
    for _ in range(10):
        assert [counted.on(corpus) for corpus in counted.corpora] == [protocol.on(name) for name in protocol.corpora]
        assert counted.best() == protocol.best()
    assert looked <= 3 * len(protocol.records)


def test_the_csv_holds_scores_in_full(written):
    table = pd.read_csv(written / "tables/scores_cross_corpus_1_shot.csv").set_index(["corpus", "method"])
    for one in records():
        if one.protocol == "cross-corpus-1-shot":
            row = table.loc[one.corpus, one.method]
            assert (row.uar, row.uar_ci95, row.chance) == (one.uar.mean, one.uar.ci95, one.chance)
            assert row.episodes_sha256 == one.episodes_sha256 or int(row.episodes_sha256) == int(one.episodes_sha256)


def test_confusions_gender_and_speakers_are_those_of_the_records(written, page):
    one = records()[0]
    counts = pd.read_csv(written / "tables/confusion_cross_corpus_1_shot.csv")
    own = counts[(counts.method == one.method) & (counts.corpus == one.corpus)]
    matrix = own.pivot_table(index="true", columns="answer", values="count", fill_value=0).loc[
        list(LABELS), list(LABELS)
    ]
    assert matrix.to_numpy().tolist() == [list(row) for row in one.confusion]
    head, *rows = cells_of(page, "cross-corpus-1-shot. Accuracy in % on queries by women")
    assert dict(zip(head, rows[0], strict=True))["emodb"] == "65.0 / 55.0 (10.0)"
    speakers = pd.read_csv(written / "tables/speakers_cross_corpus_1_shot.csv")
    assert speakers[["worst", "median", "best"]].iloc[0].tolist() == [0.40, 0.47, 0.54]


def test_the_curve_over_shots_has_every_number_of_shots(page):
    head, *rows = cells_of(page, "cross-corpus: UAR")
    assert head == ["corpus", "method", "1-shot", "5-shot"]
    assert len(rows) == 8
    assert "protonet: " in re.search(r"<title>UAR by number of shots on emodb</title><desc>(.*?)</desc>", page)[1]


def test_a_kept_promise_and_a_broken_one_differ_by_a_sign(tmp_path):
    kept = record("ridge")
    broken = record("mtl", shared=3)
    text = write_benchmark_report(tmp_path, [kept, broken]).read_text(encoding="utf-8")
    rows = [
        dict(zip(("a", "b", "c", "d", *"123456"), row, strict=True))
        for row in cells_of(text, "What two sides share")[1:]
    ]
    assert {row["5"] for row in rows} == {"0 ✓", "3 ✗"}
    assert {row["3"] for row in rows} == {"77"}
    assert "✗ 1 of 2 cells break a promise: cross-corpus-5-shot/emodb/mtl." in text
    audit = pd.read_csv(tmp_path / "tables/audit.csv")
    assert dict(zip(audit.methods, audit.holds, strict=True)) == {"ridge": True, "mtl": False}
    assert "(BROKEN)" in (tmp_path / "tables/audit.tex").read_text(encoding="utf-8")


def test_of_a_method_that_learned_from_the_test_side_no_pass_is_shown(tmp_path):
    kept = record("ridge")
    heard = record("default-model", heard=True)
    heard = replace(heard, audit=replace(heard.audit, promised=PROMISED[:2]))
    text = write_benchmark_report(tmp_path, [kept, heard]).read_text(encoding="utf-8")
    rows = [row[4:] for row in cells_of(text, "What two sides share")[1:]]
    assert sorted(rows) == [["0 ✓", "0 ✓", "77", "-", "-", "-"], ["0 ✓", "0 ✓", "77", "0 ✓", "0 ✓", "0"]]
    audit = pd.read_csv(tmp_path / "tables/audit.csv").set_index("methods")
    assert audit.train_test_clips.isna().to_dict() == {"ridge": False, "default-model": True}


def test_the_page_says_how_a_number_is_repeated(page):
    one = records()[0]
    rows = {row[0]: row[1:] for row in cells_of(page, "Every cell")[1:]}
    assert rows[one.key] == [one.origin.command, "0", one.episodes_sha256[:12], "1.8"]
    assert "numpy 2.4.6" in page
    licences = {row[0]: row for row in cells_of(page, "Programs")[1:]}
    assert licences["numpy"][2].startswith("BSD")
    assert licences["no-such-package"][2] == "not installed here"


def test_a_run_that_is_not_finished_has_a_page_that_says_so(tmp_path):
    some = [record("ridge"), record("ridge", corpus="urdu"), record("maml")]
    some += [
        unfinished("mann", status="failed", reason="too little memory"),
        unfinished("", status="left out", reason="two emotions only", corpus="tess"),
    ]
    text = Reader(write_benchmark_report(tmp_path, some).read_text(encoding="utf-8")).text
    assert "The run is not finished: 2 cells are not there yet, such as cross-corpus-5-shot/urdu/maml." in text
    assert "too little memory" in text
    assert "two emotions only" in text


def test_what_is_missing_is_what_the_run_was_asked_for(tmp_path):
    some = [record("ridge"), record("maml")]
    absent = "cross-corpus-5-shot/emodb/siamese"
    path = write_benchmark_report(tmp_path, some, asked=[one.key for one in some] + [absent])
    assert f"The run is not finished: 1 cell is not there yet, such as {absent}." in path.read_text(encoding="utf-8")


def test_all_protocols_stand_side_by_side_as_means_over_their_corpora(page, written):
    head, *rows = cells_of(page, "UAR in %, mean over the corpora")
    assert head == ["method", "cross-corpus-1-shot", "cross-corpus-5-shot"]
    told = {row[0]: row[1:] for row in rows}
    # The default model heard one corpus; the probe saw labels that no other method sees.
    assert list(told) == ["linear-probe (ceiling)", "default-model (model)", "ridge", "protonet", "chance"]
    of_ridge = [one.uar.mean for one in records() if one.method == "ridge" and one.protocol == "cross-corpus-1-shot"]
    assert told["ridge"][0] == f"{100 * np.mean(of_ridge):.1f}"
    assert all(cell.endswith(" ‡") for cell in told["default-model (model)"])
    assert told["chance"] == ["25.0", "25.0"]
    assert r"\textbf{" + told["ridge"][1] + "}" in (written / "tables/overview.tex").read_text(encoding="utf-8")


def test_figures_are_of_those_that_are_compared_and_of_all_where_nobody_is(page, tmp_path):
    drawn = re.findall(r">([\w-]+)(?: \(\w+\))? on (?:emodb|urdu): UAR", page)
    assert set(drawn) == {"ridge", "protonet"}
    alone = write_benchmark_report(tmp_path, [record("default-model", kind="model", heard=True)])
    assert "default-model (model) on emodb: UAR" in alone.read_text(encoding="utf-8")


def test_a_method_that_was_not_asked_on_every_corpus_has_no_mean(tmp_path):
    some = [
        record(
            name, corpus=corpus, k_shot=k, protocol=f"cross-corpus-{k}-shot", chance=0.25 if corpus == "emodb" else 0.5
        )
        for name, corpus, k in (
            ("ridge", "emodb", 1),
            ("ridge", "urdu", 1),
            ("ridge", "emodb", 5),
            ("maml", "emodb", 1),
            ("maml", "emodb", 5),
        )
    ]
    text = write_benchmark_report(tmp_path, some).read_text(encoding="utf-8")
    told = {row[0]: row[1:] for row in cells_of(text, "UAR in %, mean over the corpora")[1:]}
    assert told["chance"] == ["37.5", "25.0"]
    assert told["maml"][0] == "-"
    assert told["maml"][1] != "-"


def test_a_run_without_a_number_is_a_page_too(tmp_path):
    text = write_benchmark_report(tmp_path, []).read_text(encoding="utf-8")
    assert "No cell is done yet" in Reader(text).text


def test_a_record_without_probabilities_novelty_groups_or_interval_is_shown(tmp_path):
    bare = record(episodes=1, reliability=None, open_set=None, tallies={}, audit=None, licences=(), split=None)
    assert bare.uar.ci95 is None
    text = write_benchmark_report(tmp_path, [bare]).read_text(encoding="utf-8")
    assert cells_of(text, "cross-corpus-5-shot: UAR")[1][1] == f"{100 * bare.uar.mean:.1f}"
    assert not any(f'id="{name}"' in text for name in ("calibration", "open_set", "groups", "audit"))


def test_hostile_names_are_text_and_nothing_else(tmp_path):
    labels = (HOSTILE, "$x^2$", "_hidden", "%s {0}")
    one = record(
        HOSTILE, protocol=f"{HOSTILE}-1-shot", corpus=HOSTILE, labels=labels, speakers=(HOSTILE, "_"), k_shot=1
    )
    other = replace(record("b", protocol=f"{HOSTILE}-5-shot", corpus=HOSTILE, labels=labels), notes=(HOSTILE,))
    path = write_benchmark_report(tmp_path, [one, other], clips={HOSTILE: mapped(HOSTILE, emotion=HOSTILE)}, play=True)
    reader = Reader(path.read_text(encoding="utf-8"))
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("script") == 1
    assert "img" not in tags
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert reader.text.count(HOSTILE) > 20
    tex = (tmp_path / "tables/remarks.tex").read_text(encoding="utf-8")
    assert r"\input{" not in tex
    assert r"\textbackslash input\{y\} 50\%" in tex


def test_the_page_stands_alone(page):
    reader = Reader(page)
    assert not {"link", "img", "iframe", "object", "embed", "base", "image"} & {tag for tag, _ in reader.tags}
    for tag, attributes in reader.tags:
        for name in {"src", "href", "xlink:href", "srcset", "action", "data", "poster"} & set(attributes):
            assert re.match(r"#|data:audio/ogg|tables/[a-z0-9_]+\.(csv|tex)$", attributes[name]), (
                tag,
                attributes[name],
            )
    assert "@import" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}
    policy = next(a["content"] for _, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_figure_has_a_title_and_a_description(page):
    drawn = re.findall(r'<svg class="drawn"[^>]*role="img">(?:<title>(.*?)</title><desc>(.*?)</desc>)?', page)
    assert len(drawn) >= 14
    assert all(title and description for title, description in drawn)


def test_the_same_records_give_the_same_page(tmp_path):
    some = [record("ridge"), record("maml", corpus="urdu"), record("maml")]
    pages = [
        write_benchmark_report(tmp_path / name, order).read_text(encoding="utf-8")
        for name, order in (("a", some), ("b", some[::-1]))
    ]
    assert pages[0] == pages[1]


@pytest.mark.parametrize(("corpus", "play", "n"), [("ravdess", False, 3), ("emodb", False, 0), ("emodb", True, 3)])
def test_clips_are_played_where_the_licence_or_the_user_says_so(tmp_path, corpus, play, n):
    text = write_benchmark_report(tmp_path, [], clips={corpus: mapped(corpus)}, play=play).read_text("utf-8")
    assert text.count("data:audio/ogg;base64,") == text.count('class="play"') == n
    assert ("keep the page to yourself" in text) == (play and corpus == "emodb")
    assert ("No clip can be played" in text) == (n == 0)


def test_sounds_are_capped_short_and_can_be_decoded(monkeypatch):
    clips = [Utterance(str(i), path, "mine", emotion="anger", speaker="a") for i, path in enumerate(CLIPS[:4])]
    clips.insert(1, Utterance("gone", Path("gone.wav"), "mine"))
    found = _sounds.sounds(clips)
    assert list(found) == ["0", "1", "2", "3"]
    sound = audio.load(base64.b64decode(found["0"].partition(",")[2]))
    assert sound.duration == pytest.approx(audio.load(CLIPS[0]).duration, abs=0.3)
    monkeypatch.setattr(_sounds, "MOST_BYTES", len(found["0"]) + 10)
    assert list(_sounds.sounds(clips)) == ["0"]


@pytest.mark.parametrize(
    ("corpus", "may"),
    [("ravdess", True), ("crema_d", True), ("tess", True), ("emodb", False), ("esd", False), ("mine", False)],
)
def test_a_licence_that_does_not_settle_it_does_not_let_clips_be_passed_on(corpus, may):
    assert _sounds.may_be_shared(corpus) == may


def test_the_map_takes_speakers_in_turn():
    clips = [Utterance(f"{s}{i}", Path("x"), "c", emotion="fear", speaker=s) for s in "ab" for i in range(30)]
    (fear,) = chosen(clips)["c"]
    assert len(fear) == 25
    assert [clip.id for clip in fear[:4]] == ["a0", "b0", "a1", "b1"]


def test_latex_keeps_names_as_they_are():
    table = ReportTable(
        "t", HOSTILE, frame([], columns=["a"]), frame([[HOSTILE, "\N{MINUS SIGN}1"]], columns=["m_1", "m_1"])
    )
    assert r"m\_1 & m\_1 \\" in table.latex
    assert r"\input" not in table.latex
    assert "$-$1" in table.latex


def test_the_command_writes_the_page_of_a_run_at_any_time(tmp_path, run):
    write_cell(tmp_path, records()[0])
    code, out, _ = run("report", tmp_path, "--json")
    assert code == 0
    assert json.loads(out) == {"page": str(tmp_path / "report.html"), "done": 1, "cells": 1}
    write_results(tmp_path / "other/results.jsonl", [record("ridge"), record("maml")])
    code, out, _ = run("report", tmp_path / "other")
    assert (code, out) == (0, f"2 cells: {tmp_path / 'other/report.html'}\n")


@pytest.mark.parametrize(("arguments", "message"), [((), "the results of a benchmark"), (("--play",), "--corpora DIR")])
def test_the_command_refuses_what_is_no_run(tmp_path, run, arguments, message):
    code, out, err = run("report", tmp_path, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def seen_by_a_browser(program: str, path: Path, width: int) -> dict[str, object]:
    """What a browser of that width makes of the page, and what it asks for."""
    from playwright.sync_api import sync_playwright

    asked, complaints = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": width, "height": 844})
        view.on("request", lambda request: asked.append(request.url))
        view.on("console", lambda message: complaints.append(message.text))
        view.goto(path.as_uri())
        view.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        view.wait_for_timeout(200)
        wide = view.evaluate("document.documentElement.scrollWidth")
        said = list(complaints)
        view.locator("a.play").first.click()
        heard = "[...document.querySelectorAll('audio')].some(sound => sound.currentTime > 0)"
        while not view.evaluate(heard):  # pytest's own limit ends it; the page forbids what waits by evaluating text
            view.wait_for_timeout(100)
        browser.close()
    return {"asked": asked, "complaints": said, "width": wide}


@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_it_without_asking_anybody_and_without_scrolling_sideways(written, width):
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium on this machine: install Debian's package 'chromium'")
    with ThreadPoolExecutor(1) as apart:  # the tests of the demo may still hold Playwright in this thread
        seen = apart.submit(seen_by_a_browser, program, written / "report.html", width).result()
    assert seen["width"] <= width
    assert [url for url in seen["asked"] if not url.startswith(("file:", "data:"))] == []
    assert seen["complaints"] == []
