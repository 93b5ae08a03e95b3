"""From clips to a saved model: what training is told depends on what the front-end hands over."""

from __future__ import annotations

import pytest
from synthetic import corpus
from tiny_encoders import tiny

from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.errors import SettingsError
from ser_fewshot.models import ModelConfig, build_model
from ser_fewshot.models import meta_train as pipeline
from ser_fewshot.training import TrainSettings
from ser_fewshot.training.augmentation import NO_AUGMENTATION

POOLED = {"frontend": "pretrained", "frontend_settings": {"architecture": tiny("whisper").architecture}}


class _Told(Exception):  # noqa: N818  # it stops the work where training would begin
    pass


@pytest.mark.parametrize(("config", "varied"), [({}, True), (POOLED, False)], ids=["log-mel", "pretrained"])
def test_only_a_spectrum_is_varied_in_training(config, varied, monkeypatch, tmp_path):
    def told(*_: object, settings: TrainSettings, **__: object) -> None:
        raise _Told(settings)

    monkeypatch.setattr(pipeline, "train", told)
    clips = corpus()
    settings = TrainSettings(tasks=(EpisodeSpec(n_way=3, k_shot=2, n_query=2, query_speaker="any"),))
    with pytest.raises(_Told) as caught:
        pipeline.meta_train(
            ModelConfig(learner="protonet", **config),
            lambda _, part: clips.subset(part),
            clips.utterances,
            settings=settings,
            run=tmp_path,
        )
    assert caught.value.args[0].augmentation == (settings.augmentation if varied else NO_AUGMENTATION)


def test_a_clip_that_is_one_frame_is_not_measured_against_itself():
    with pytest.raises(SettingsError, match=r"'clip' for a front-end that makes one frame.*pooling 'frames'"):
        build_model(ModelConfig(learner="ridge", normalization="clip", **POOLED))


def test_where_a_clip_is_one_frame_a_default_network_over_time_becomes_one_over_values_and_a_chosen_one_is_refused():
    for learner in ("protonet", "mtl", "siamese"):
        assert build_model(ModelConfig(learner=learner, **POOLED)).config.settings["encoder"]["name"] == "dense"
    with pytest.raises(SettingsError, match="one frame a clip"):
        build_model(ModelConfig(learner="protonet", settings={"encoder": {"name": "conv"}}, **POOLED))
