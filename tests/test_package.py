"""The package: importing it is light, its public names are there, and its wheel holds all that it needs and no more."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import ser_fewshot

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "torchaudio", "transformers", "librosa", "numpy", "sklearn", "soundfile", "rich", "jinja2"}


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules that a new process has loaded after some code."""
    script = f"{code}\nimport sys\nprint('\\n', *{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy():
    code = "import ser_fewshot; dir(ser_fewshot); ser_fewshot.__version__; ser_fewshot.__all__\n"
    assert not loaded_after(code + "import ser_fewshot.errors, ser_fewshot.plugins, ser_fewshot.cli.main") & HEAVY


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("from ser_fewshot import Utterance, scan, load", {"torch", "librosa", "sklearn"}),
        ("from ser_fewshot.cli.main import main; main(['corpora', '--json'])", {"torch", "sklearn"}),
        (
            "import app.diagnostics, ser_fewshot.quickstart, ser_fewshot.training",
            {"librosa", "pandas", "scipy", "sklearn", "tensorboard", "torchaudio"},
        ),
    ],
)
def test_what_one_path_needs_is_not_loaded_on_another(code, heavy):
    assert not loaded_after(code) & heavy


def test_recognising_loads_torch_and_what_reads_sound_and_nothing_else(tmp_path):
    """By its package, in Python and through the command line, which prints a table with rich."""
    demo, file = Path(ser_fewshot.__file__).parent / "assets" / "demo", tmp_path / "mine"
    clips = {emotion: [str(demo / f"{emotion}_en-f1_1.ogg")] for emotion in ("anger", "fear")}
    enrol = f"""
from ser_fewshot import FewShotClassifier
from ser_fewshot.cli.main import main
classifier = FewShotClassifier.from_pretrained()
classifier.enroll({clips})
classifier.save({str(file)!r})
assert main(["enroll", "--to", {str(file)!r}, "--emotion", "awe", *{clips["fear"]}, "--out", {str(file)!r}]) == 0
"""
    recognise = f"""
from ser_fewshot import FewShotClassifier
from ser_fewshot.cli.main import main
FewShotClassifier.load({str(file)!r}).predict({clips["fear"]})
assert main(["predict", {str(file)!r}, *{clips["fear"]}]) == 0
"""
    packages = "numpy, platformdirs, rich.table, safetensors.torch, soundfile, soxr, threadpoolctl, torch"
    for code, more in ((enrol, ", torchaudio.functional"), (recognise, "")):
        may = loaded_after(f"import {packages}{more}")
        assert not loaded_after(code) - may - sys.stdlib_module_names - {"ser_fewshot"}


def test_every_public_name_is_there_and_no_other_is_promised():
    for name in ser_fewshot.__all__:
        value = getattr(ser_fewshot, name)
        assert getattr(value, "__module__", "").startswith("ser_fewshot."), name
        assert value.__doc__
    assert set(ser_fewshot.__all__) == {name for names in ser_fewshot._HOME.values() for name in names}
    assert set(ser_fewshot.__all__) <= set(dir(ser_fewshot))
    assert ser_fewshot.__version__ == version("ser-fewshot")
    assert (ROOT / "ser_fewshot/py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'FewShotClasifier'"):
        _ = ser_fewshot.FewShotClasifier
    with pytest.raises(ImportError):
        exec("from ser_fewshot import nothing")


def uv(*arguments: object) -> None:
    program = shutil.which("uv")
    if program is None:
        pytest.skip("uv is not installed")
    subprocess.run([program, *map(str, arguments)], check=True, timeout=280)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built; its tests are marked slow because the build backend comes from the network."""
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--wheel", "--out-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


def files_below(folder: Path, *, base: Path) -> set[str]:
    return {
        path.relative_to(base).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.slow
def test_the_wheel_holds_what_the_package_needs_and_no_more(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    page = {f"ser_fewshot/{name}" for name in files_below(ROOT / "app", base=ROOT)}
    here = files_below(ROOT / "ser_fewshot", base=ROOT) | page
    assert here <= names
    tops = {name.split("/")[0] for name in names - here}
    assert {top.endswith(".dist-info") for top in tops} == {True}
    for needed in (
        "assets/default/config.json",
        "assets/default/model.safetensors",
        "assets/default/README.md",
        "assets/demo/clips.csv",
        "assets/templates/report.html.j2",
        "py.typed",
    ):
        assert f"ser_fewshot/{needed}" in names
    # From the wheel alone, with nothing of the checkout in sight.
    code = (
        "import ser_fewshot, sys; assert '.whl' in ser_fewshot.__file__\n"
        "from ser_fewshot.cli.main import main; sys.exit(main(['corpora', 'emodb', '--json']))"
    )
    environment = {**os.environ, "PYTHONPATH": str(wheel), "PYTHONSAFEPATH": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, timeout=60)


@pytest.mark.slow
def test_the_page_of_an_installed_wheel_answers(wheel, tmp_path):
    """In an environment of its own, which borrows what the wheel depends on from that of the tests."""
    uv("venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    uv("pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, wheel)
    (own,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (own / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    assert not (own / "app").exists()
    command = [tmp_path / "venv" / "bin" / "ser-fewshot", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as program:
        try:
            address = program.stdout.readline().split()[4]
            with urllib.request.urlopen(address, timeout=60) as page:
                assert page.status == 200
        finally:
            program.terminate()
