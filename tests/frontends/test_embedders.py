"""Front-ends of other packages: one frame a clip, the same in any company, and a plain word where they are missing."""

from __future__ import annotations

import sys

import pytest
import torch
from conftest import tone
from tolerance import assert_near

from ser_fewshot import plugins
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import analyse

DIMS = {"opensmile": 88, "resemblyzer": 256}
# The last is as short as a clip may be.
WAVES = [torch.from_numpy(tone(seconds, hertz=hertz)) for seconds, hertz in ((0.7, 150.0), (2.1, 260.0), (0.1, 90.0))]


@pytest.mark.parametrize("name", DIMS)
def test_a_clip_is_one_frame_of_known_width_whatever_stands_beside_it(name):
    pytest.importorskip(name)
    frontend = plugins.load("frontends", name).FRONTEND()
    found = analyse(frontend, WAVES)
    assert [tuple(clip.shape) for clip in found] == [(1, DIMS[name])] * len(WAVES)
    assert frontend.dim == DIMS[name]
    assert all(clip.dtype == torch.float32 and bool(clip.isfinite().all()) for clip in found)
    for alone, together in zip(analyse(frontend, WAVES[1:]), found[1:], strict=True):
        assert_near(alone, together)
    assert not torch.equal(found[0], found[1])
    assert frontend.identity["frontend"] == name


def test_resemblyzer_gives_vectors_of_unit_length_even_where_it_hears_no_voice():
    pytest.importorskip("resemblyzer")
    frontend = plugins.load("frontends", "resemblyzer").FRONTEND()
    for clip in analyse(frontend, [WAVES[0], 1e-3 * WAVES[0]]):
        assert float(clip.norm()) == pytest.approx(1, rel=1e-4)


def test_compare_has_its_6373_functionals_and_a_key_of_its_own():
    pytest.importorskip("opensmile")
    module = plugins.load("frontends", "opensmile")
    small, large = module.FRONTEND(), module.FRONTEND(module.Settings(features="ComParE_2016"))
    assert large.dim == 6373
    assert small.identity != large.identity


def test_a_missing_package_is_said_with_the_extra_that_brings_it(monkeypatch):
    for name in DIMS:
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(SettingsError, match=r"pip install 'ser-fewshot\[bench\]'"):
            plugins.load("frontends", name).FRONTEND()
