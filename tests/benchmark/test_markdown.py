"""The page RESULTS.md: marks of the cells, what is left out, failed or missing, and names of any kind."""

from __future__ import annotations

import dataclasses

from ser_fewshot.benchmark import store
from ser_fewshot.benchmark.markdown import PAGE, as_markdown, write_page
from ser_fewshot.benchmark.results import results_of

from .records import record, unfinished

GOOD, BAD = (0.8, 0.9, 0.7) * 20, (0.3, 0.4, 0.2) * 20
COLUMN = (
    record("protonet", scores=GOOD),
    record("ridge", scores=(0.9, 0.8, 0.69) * 20),
    record("nearest", scores=BAD),
    record("linear-probe", kind="ceiling", scores=(0.9,) * 60),
    record("default-model", kind="model", heard=True, scores=(0.95,) * 60, notes=("trained on this",)),
)


def test_a_table_marks_the_best_what_is_like_it_and_what_was_trained_on_the_corpus():
    page = as_markdown(results_of(COLUMN)[0])
    rows = {
        line.split("|")[1].strip(): line.split("|")[2].strip() for line in page.splitlines() if line.startswith("|")
    }
    assert rows["protonet"] == "**80.0 ± 2.1**"
    assert rows["ridge"] == "79.7 ± 2.2 †"
    assert rows["nearest"] == "30.0 ± 2.1"
    assert rows["linear-probe"] == "90.0 ± 0.0"
    assert rows["default-model"] == "95.0 ± 0.0 ‡"
    assert rows["chance"] == "25.0"
    assert list(rows)[2:] == ["nearest", "protonet", "ridge", "default-model", "linear-probe", "chance"]
    assert "- trained on this: default-model on emodb" in page
    assert "`050505050505`" in page


def test_the_page_lists_what_is_left_out_failed_and_missing_and_the_cost(tmp_path):
    out = dataclasses.replace(
        unfinished("", status="left out", reason="too few speakers"), key="cross-corpus-5-shot/emodb"
    )
    for one in (*COLUMN, out, unfinished("maml", status="failed", reason="it diverged")):
        store.write_cell(tmp_path, one)
    _, missing = write_page(tmp_path, [COLUMN[0].key, "cross-corpus-5-shot/emodb/siamese"])
    assert missing == ["cross-corpus-5-shot/emodb/siamese"]
    page = (tmp_path / PAGE).read_text()
    assert "- cross-corpus-5-shot, emodb: too few speakers" in page
    assert "`cross-corpus-5-shot/emodb/maml`: it diverged" in page
    assert "- `cross-corpus-5-shot/emodb/siamese`" in page
    assert "5 cells: 8 minutes of one core to train and calibrate, 1 to score" in page


def test_a_name_with_lines_tags_and_bars_stays_in_its_cell(tmp_path):
    name = "a\nb <i>|\u2028c"
    store.write_cell(tmp_path, dataclasses.replace(COLUMN[0], corpus=name, key=f"{COLUMN[0].protocol}/{name}/protonet"))
    out = unfinished("", status="left out", reason=f"{name} is odd")
    store.write_cell(tmp_path, dataclasses.replace(out, key="cross-corpus-5-shot/emodb"))
    write_page(tmp_path, [])
    page = (tmp_path / PAGE).read_text()
    assert r"| method | a b &lt;i>\| c |" in page
    assert "a b &lt;i>| c is odd" in page
