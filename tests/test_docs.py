"""What the pages promise: each block of code runs, the figures are as drawn, the reference is whole."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import plot_concepts
import pytest
import soundfile
from doc_blocks import Block, blocks_of, commands_of, faults_of, run_page
from importers.layouts import encoder, write_huggingface

import ser_fewshot
from ser_fewshot.assets import DEFAULT_MODEL
from ser_fewshot.benchmark.store import read_results
from ser_fewshot.cli import main as cli
from ser_fewshot.corpora import Utterance, read_manifest, write_manifest
from ser_fewshot.models import load_model
from ser_fewshot.quickstart import DEMO_MANIFEST

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PLUGINS = ("corpora", "frontends", "learners")
EMODB = {"anger": "W", "boredom": "L", "fear": "A", "happiness": "F", "sadness": "T"}
EMOVO = {"anger": "rab", "boredom": "neu", "fear": "pau", "happiness": "gio", "sadness": "tri"}
LAB = {"anger": "ang", "fear": "fea", "sadness": "sad", "boredom": "neu"}
NAMED = {"anger": "anger", "sadness": "sadness", "awe": "fear", "joy": "happiness"}
"""What pages call the classes that they enrol, and which of the synthetic clips these are."""


def page(name: str) -> list[Block]:
    return blocks_of((ROOT / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def speech(tmp_path_factory) -> dict[str, list[Utterance]]:
    """0.8 s of each synthetic clip, by emotion: the pages have them recognised thousands of times."""
    folder = tmp_path_factory.mktemp("speech")
    clips: dict[str, list[Utterance]] = {}
    for clip in read_manifest(DEMO_MANIFEST).utterances:
        path = folder / f"{clip.path.stem}.wav"
        samples, rate = soundfile.read(clip.path)
        soundfile.write(path, samples[rate // 4 :][: round(0.8 * rate)], rate)
        clips.setdefault(clip.emotion, []).append(replace(clip, path=path))
    return clips


def place(source: Utterance, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(source.path, path))


def renamed(clip: Utterance, corpus: str, speaker: str, take: int = 0) -> Utterance:
    return Utterance(f"{corpus}/{speaker}/{clip.id}/{take}", clip.path, corpus, clip.emotion, speaker=speaker)


def larger(corpus: str, speech: dict[str, list[Utterance]]) -> list[Utterance]:
    """Four emotions by ten speakers, five times each, as training wants them; some clips go by several names."""
    return [
        renamed(clips[(speaker + take) % len(clips)], corpus, f"{speaker + 1:02}", take)
        for clips in list(speech.values())[:4]
        for speaker in range(10)
        for take in range(5)
    ]


@pytest.fixture(scope="session")
def stage(speech, tmp_path_factory):
    """What the pages take for granted: clips, corpora under their own file names, manifests, an encoder."""
    folder = tmp_path_factory.mktemp("reader")
    for emotion, clips in speech.items():
        speakers = sorted({clip.speaker for clip in clips})
        for number, clip in enumerate(clips):
            voice, text = speakers.index(clip.speaker), number % 2
            place(clip, folder / f"path/to/emodb/wav/{voice + 9:02}a0{text + 1}{EMODB[emotion]}a.wav")
            for take in range(2) if voice < 6 else ():  # EMOVO has six speakers
                actor = f"{'fm'[voice // 3]}{voice % 3 + 1}"
                place(clip, folder / f"path/to/emovo/{actor}/{EMOVO[emotion]}-{actor}-b{2 * text + take + 1}.wav")
            if emotion in LAB:
                place(clip, folder / f"path/to/lab_voices/spk{voice:02}_{LAB[emotion]}_{text:02}.wav")
            if number < 4:
                word = {"anger": "angry", "sadness": "sad"}.get(emotion, emotion)
                place(clip, folder / f"my_corpus/{word}/{'maria' if number < 2 else 'jan'}/{number}.wav")
    for label, emotion in NAMED.items():
        for number, clip in enumerate(speech[emotion][:3], start=1):
            place(clip, folder / f"{label}_{number}.wav")
            place(clip, folder / f"recordings/{label}/{number}.wav")
    place(speech["fear"][-1], folder / "new.wav")
    for number in (1, 2):
        place(speech["anger"][number], folder / f"recording_{number}.wav")
    everything = [clip for clips in speech.values() for clip in clips]
    for corpus in ("emodb", "emovo"):
        write_manifest(folder / f"{corpus}.csv", [renamed(clip, corpus, clip.speaker) for clip in everything])
    for corpus in ("ravdess", "ased"):
        write_manifest(folder / f"{corpus}.csv", larger(corpus, speech))
    write_huggingface(encoder(), folder / "path/to/wav2vec2-base")
    return folder


@pytest.fixture(scope="session")
def features(tmp_path_factory):
    """One cache of features for all pages: they hear the same clips."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def reader(stage, features, tmp_path, monkeypatch):
    """The folder that a reader works in, where files that he adds to the package's folders of plug-ins are found."""
    folder = tmp_path / "reader"
    shutil.copytree(stage, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SER_FEWSHOT_CACHE", str(features))
    before = set(sys.modules)
    for name in PLUGINS:
        package = importlib.import_module(f"ser_fewshot.{name}")
        folders = [*package.__path__, str(folder / "ser_fewshot" / name)]
        monkeypatch.setattr(package, "__path__", folders)
        monkeypatch.setattr(package.__spec__, "submodule_search_locations", folders)
    yield folder
    added = [
        name for name in set(sys.modules) - before if str(folder) in str(getattr(sys.modules[name], "__file__", ""))
    ]
    for name in added:
        del sys.modules[name]


@pytest.mark.parametrize("name", PAGES)
def test_every_block_of_a_page_runs_in_its_order(name, reader):
    blocks = page(name)
    expected = [
        block.line for block in blocks if block.title or (block.language in ("bash", "python") and not block.excuse)
    ]
    assert run_page(name, blocks, reader) == expected


def test_every_block_is_run_or_data_or_says_why_not():
    assert {name: faults for name in PAGES if (faults := faults_of(page(name)))} == {}
    told = [f"{name}:{block.line}: {block.excuse}" for name in PAGES for block in page(name) if block.excuse]
    assert 0 < len(told) <= 24, "\n".join(told)
    assert all(len(line.split(": ", 1)[1]) > 20 for line in told)


def test_a_command_that_is_not_run_is_legal_all_the_same():
    for block in (block for name in PAGES for block in page(name)):
        if block.language == "bash" and block.excuse:
            for program, *arguments in commands_of(block.code):
                if program == "ser-fewshot":
                    assert cli._parser().parse_args(arguments).command


def test_no_page_scores_a_model_on_a_corpus_of_its_training_set():
    for name in PAGES:
        check_no_page_scores_a_model_on_a_corpus_of_its_training_set(name)


def check_no_page_scores_a_model_on_a_corpus_of_its_training_set(name):
    trained = {None: set(load_model(DEFAULT_MODEL).training_set.corpora)}
    for block in page(name):
        commands = commands_of(block.code) if block.language == "bash" else ()
        for told in (cli._parser().parse_args(words) for program, *words in commands if program == "ser-fewshot"):
            if told.command == "train":
                names = {path.stem for path in told.manifest}
                trained[str(told.out / "model")] = names - set(told.hold_out_corpus or ())
            asked = {path.stem for path in told.manifest} if told.command == "evaluate" else set()
            asked |= {told.corpus} if told.command == "quickstart" else set()
            model = getattr(told, "model", None)
            assert not asked & trained.get(model and str(model), set()), f"{name}:{block.line}"
        scores = block.language == "python" and re.search(r"from_pretrained\(.*evaluate\(", block.code, re.DOTALL)
        read = set(re.findall(r'read_manifest\("(\w+)\.csv"\)', block.code)) if scores else set()
        assert not read & trained[None], f"{name}:{block.line}"


def test_a_block_of_no_known_kind_is_a_fault():
    for text, fault in {
        "```\nx\n```\n": "(none)",
        "```js\nx\n```\n": "js",
        "<!-- not run: no reason is needed -->\n```csv\na,b\n```\n": "needs no reason",
    }.items():
        (found,) = faults_of(blocks_of(text))
        assert fault in found


def test_a_block_that_fails_fails_its_page(reader):
    for text, error in {
        "```bash\nrm -r /\n```\n": "rm is not run by tests",
        "```bash\nser-fewshot predict nothing.safetensors new.wav\n```\n": "ser-fewshot predict",
        "```python\nassert False, 'as it should'\n```\n": "as it should",
        "<!-- not run: -->\n```python\nassert False, 'no reason'\n```\n": "no reason",
    }.items():
        with pytest.raises(AssertionError, match=re.escape(error)):
            run_page("page", blocks_of(text), reader)


def test_every_figure_is_what_the_code_draws_shown_and_described():
    for name in plot_concepts.FIGURES:
        assert (plot_concepts.FOLDER / f"{name}.svg").read_text(encoding="utf-8") == plot_concepts.drawn(name)
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in PAGES)
    shown = {Path(path).stem: words for words, path in re.findall(r"!\[([^\]]*)\]\(([^)]*figures/[^)]*)\)", text)}
    assert set(shown) == set(plot_concepts.FIGURES)
    assert all(len(words) > 40 for words in shown.values())


def test_every_file_that_a_page_names_is_there():
    for name in (*PAGES, "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        written = {block.title for block in blocks_of(text)}  # the page itself makes these
        paths = re.findall(r"(?<![\w/.])(?:ser_fewshot|recipes|tests|app)/[\w./-]*\w(?![\w*{])", text)
        missing = {path for path in paths if path not in written and not (ROOT / path).exists()}
        assert not missing, name


def test_the_reference_holds_every_public_name():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: ser_fewshot\.(\w+)$", text, re.MULTILINE)) == sorted(ser_fewshot.__all__)


def test_result_files_hold_the_command_that_wrote_them():
    records = read_results(ROOT / "recipes/results/benchmark")
    assert records
    assert all(
        one.origin.command
        == f"ser-fewshot benchmark --corpora CORPORA --out OUT --episodes 600 --seed 0 --only {one.key}"
        for one in records
        if one.done
    )
    results = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "recipes/results").glob("*.json")]
    assert len(results) > 10
    assert all(re.match(r"uv run (--with \w+ )?python recipes/\w+\.py", result["command"]) for result in results)
