"""More clips than memory: they stream into the cache, stay there, and are the same clips when they are read."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest
import soundfile as sf
import torch
from conftest import tone

from ser_fewshot.corpora import Utterance
from ser_fewshot.encoders import Encoder
from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.errors import SettingsError
from ser_fewshot.evaluation import evaluate
from ser_fewshot.frontends import FeatureCache, FeatureSet, StoredClips, _extract, clear, extract, fill, size
from ser_fewshot.frontends.logmel import LogMel, Settings
from ser_fewshot.learners import build_learner
from ser_fewshot.training import TrainSettings, train

EMOTIONS = ("anger", "fear", "joy")


@pytest.fixture(scope="module")
def frontend() -> LogMel:
    return LogMel(Settings(n_mels=20))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """Eighteen clips: three emotions by three speakers, twice."""
    folder, found = tmp_path_factory.mktemp("clips"), []
    for number in range(18):
        emotion, speaker = number % 3, number // 3 % 3
        path = folder / f"{number}.wav"
        sf.write(path, tone(0.3 + 0.02 * number, hertz=150 + 60 * emotion + 17 * number), 16_000)
        found.append(Utterance(f"c/{number:02}", path, "c", EMOTIONS[emotion], speaker="abc"[speaker]))
    return found


@pytest.fixture
def cache(frontend: LogMel, tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path, frontend.identity)


def same(one: FeatureSet, other: FeatureSet) -> bool:
    pairs = zip(one.clips, other.clips, strict=True)
    return one.utterances == other.utterances and all(torch.equal(*pair) for pair in pairs)


def test_clips_that_stay_on_disk_are_those_in_memory_bit_for_bit(frontend, clips, cache):
    for normalization in ("none", "clip", "speaker"):
        held = extract(frontend, clips, normalization=normalization)
        stored = extract(frontend, clips, cache=cache, normalization=normalization, hold=0)
        assert isinstance(held.clips, tuple)
        assert isinstance(stored.clips, StoredClips)
        assert same(stored, held)
        some = clips[3:9:2]
        assert isinstance(stored.subset(some).clips, StoredClips)
        assert same(stored.subset(some), held.subset(some))
        assert torch.equal(stored.clips[2:5][1], held.clips[3])
        assert torch.equal(stored.batch([5, 1]).x, held.batch([5, 1]).x)


def test_the_limit_decides_and_without_a_cache_everything_is_held(frontend, clips, cache):
    n_bytes = sum(clip.nbytes for clip in extract(frontend, clips).clips)
    for limit, kind in ((n_bytes, tuple), (n_bytes - 1, StoredClips)):
        assert isinstance(extract(frontend, clips, cache=cache, hold=limit).clips, kind)
    assert isinstance(extract(frontend, clips, hold=0).clips, tuple)


def test_filling_the_cache_holds_a_few_clips_at_a_time(frontend, clips, cache, monkeypatch):
    monkeypatch.setattr(_extract, "_WAITING_SAMPLES", 16_000)
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = 0
    analyse = frontend.analyse

    def seen(waveforms: list[torch.Tensor]) -> list[torch.Tensor]:
        nonlocal most
        found = analyse(waveforms)
        alive.update([*waveforms, *found])
        most = max(most, len(alive))
        return found

    monkeypatch.setattr(frontend, "analyse", seen)
    assert fill(frontend, clips, cache=cache) == (18, [])
    assert size(cache.root)[0] == 18
    assert most <= 16, "of eighteen clips with waveform and features, eight at the most"


def test_what_cannot_be_read_is_skipped_with_its_reason(frontend, clips, cache, tmp_path):
    broken = Utterance("c/broken", tmp_path / "none.wav", "c", "anger")
    n_clips, skipped = fill(frontend, [broken, *clips[:2]], cache=cache)
    assert n_clips == 2
    assert [item.path for item in skipped] == [broken.path]


def test_a_cache_that_was_cleared_meanwhile_is_an_error_that_says_so(frontend, clips, cache):
    stored = extract(frontend, clips, cache=cache, hold=0)
    clear(cache.root)
    with pytest.raises(SettingsError, match="no more entry of clip 4, which was there before"):
        stored.clips[4]


def test_training_and_evaluation_from_disk_are_those_from_memory(frontend, clips, cache, tmp_path):
    spec = EpisodeSpec(n_way=3, k_shot=1, n_query=1)
    settings = TrainSettings(tasks=(spec,), epochs=1, steps=2, validation_episodes=3)
    found = []
    for hold in (0, 10**9):
        features = extract(frontend, clips, cache=cache, normalization="clip", hold=hold)
        encoder = {"name": "conv", "channels": 8, "blocks": 1, "width": 4}
        learner = build_learner("protonet", frontend.dim, {"encoder": encoder}, seed=1)
        history = train(learner, features, features, settings=settings, run=tmp_path / f"{hold}")
        episodes = EpisodeSampler(clips, spec).draw_many(5)
        found.append((history, evaluate(learner, features, episodes, spec=spec).uar.tolist(), learner.state_dict()))
    assert found[0][:2] == found[1][:2]
    assert all(torch.equal(value, found[1][2][name]) for name, value in found[0][2].items())
    assert isinstance(learner.encoder, Encoder)
