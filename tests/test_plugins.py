"""A plug-in is a file: found by listing, loaded by name, and by nothing that only looks like a name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ser_fewshot.learners
from ser_fewshot import plugins
from ser_fewshot.errors import SettingsError

PACKAGES = ("corpora", "frontends", "learners")


def test_the_names_are_the_files_of_the_folder_sorted_and_without_helpers():
    for package in PACKAGES:
        folder = Path(plugins.__file__).parent / package
        found = [*folder.glob("*.py"), *(path.parent for path in folder.glob("*/__init__.py"))]
        assert plugins.names(package) == sorted(path.stem for path in found if not path.name.startswith("_"))
        assert plugins.names(package)


def test_every_plug_in_loads_and_has_what_its_folder_asks():
    required = {"corpora": ["CARD"], "frontends": ["FRONTEND", "Settings"], "learners": ["LEARNER", "Settings"]}
    for package in PACKAGES:
        for name in plugins.names(package):
            module = plugins.load(package, name)
            assert module.__name__ == f"ser_fewshot.{package}.{name}"
            assert package != "corpora" or hasattr(module, "read") or hasattr(module, "NAMES"), name
            for attribute in required[package]:
                assert hasattr(module, attribute), name


def test_an_unknown_name_lists_the_known_ones_and_suggests_the_one_that_was_meant():
    for package, typed, meant in (
        ("learners", "protonett", "protonet"),
        ("learners", "ProtoNet", "protonet"),
        ("corpora", "RAVDESS", "ravdess"),
        ("corpora", "crema-d", "crema_d"),
        ("corpora", "emo-db", "emodb"),
        ("frontends", "log_mel", "logmel"),
    ):
        with pytest.raises(SettingsError, match=rf"Did you mean '{meant}'\?") as caught:
            plugins.load(package, typed)
        assert typed in caught.value.found
        assert caught.value.expected == " | ".join(plugins.names(package))


def test_what_only_looks_like_a_name_is_refused_in_a_short_line():
    for name in (
        "",
        " ",
        "../errors",
        "..errors",
        ".protonet",
        "_base",
        "__init__",
        "protonet.py",
        "protonet ",
        "protonet\n",
        "learners.protonet",
        "/etc/passwd",
        "os",
        "protonet\0",
        "x" * 100_000,
        None,
        5,
        ["protonet"],
        {"name": "protonet"},
    ):
        with pytest.raises(SettingsError, match="unknown name") as caught:
            plugins.load("learners", name)
        assert len(str(caught.value)) < 600


def test_a_folder_that_is_none_is_a_mistake_of_the_programmer():
    for package in ("errors", "nowhere"):
        with pytest.raises(ValueError, match="not a package"):
            plugins.names(package)


def test_adding_a_learner_is_adding_a_file(tmp_path, monkeypatch):
    (tmp_path / "brand_new.py").write_text("LEARNER = 'here'\n")
    (tmp_path / "_helper.py").write_text("")
    folders = [*ser_fewshot.learners.__path__, str(tmp_path)]
    monkeypatch.setattr(ser_fewshot.learners, "__path__", folders)
    monkeypatch.setattr(ser_fewshot.learners.__spec__, "submodule_search_locations", folders)
    assert "brand_new" in plugins.names("learners")
    assert "_helper" not in plugins.names("learners")
    assert plugins.load("learners", "brand_new").LEARNER == "here"
    sys.modules.pop("ser_fewshot.learners.brand_new")


def test_listing_imports_no_plug_in():
    code = (
        "import sys; from ser_fewshot import plugins; plugins.names('corpora');"
        "sys.exit(any(name.startswith('ser_fewshot.corpora.') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
