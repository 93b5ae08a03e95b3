"""Small speech encoders of every family, as transformers writes them, with random weights in every place."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ser_fewshot.frontends.pretrained.frontend import Pretrained, Settings

_WAVEFORM = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": [16, 16, 16],
    "conv_kernel": [10, 8, 5],
    "conv_stride": [5, 8, 8],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
_LAYER = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
_BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_depthwise_kernel_size": 5,
}
_WHISPER = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 48}

CONFIGS: dict[str, Any] = {
    "wav2vec2, group norm": transformers.Wav2Vec2Config(**_WAVEFORM),
    "wav2vec2, layer norm": transformers.Wav2Vec2Config(**_WAVEFORM, **_LAYER),
    "hubert": transformers.HubertConfig(**_WAVEFORM),
    "hubert, batch norm": transformers.HubertConfig(**_WAVEFORM, conv_pos_batch_norm=True),
    "wavlm": transformers.WavLMConfig(**_WAVEFORM),
    "wavlm, layer norm": transformers.WavLMConfig(**_WAVEFORM, **_LAYER),
    "unispeech-sat": transformers.UniSpeechSatConfig(**_WAVEFORM),
    "data2vec-audio": transformers.Data2VecAudioConfig(**_WAVEFORM, conv_pos_kernel_size=5),
    "sew": transformers.SEWConfig(**_WAVEFORM),
    "wav2vec2-bert": transformers.Wav2Vec2BertConfig(**_BERT),
    "wav2vec2-bert, rotary": transformers.Wav2Vec2BertConfig(**_BERT, position_embeddings_type="rotary"),
    "whisper": transformers.WhisperConfig(**_WHISPER),
}
WAVEFORM = [name for name in CONFIGS if name not in ("wav2vec2-bert", "wav2vec2-bert, rotary", "whisper")]


@dataclass(frozen=True, eq=False)
class Tiny:
    """An encoder of transformers and what its config.json would say."""

    encoder: Any
    architecture: dict[str, Any]

    def frontend(self, **settings: Any) -> Pretrained:
        """The front-end on this encoder, with its weights."""
        frontend = Pretrained(Settings(architecture=self.architecture, **settings))
        weights = self.encoder.state_dict()
        frontend.network.load_state_dict({name: weights[name] for name in frontend.network.state_dict()})
        return frontend


@functools.cache
def tiny(name: str, **changes: Any) -> Tiny:
    """The encoder of a name in CONFIGS, the same at every call; `changes` are to its configuration."""
    kind = type(CONFIGS[name])
    config = kind(**{**CONFIGS[name].to_dict(), **changes})
    model = WhisperEncoder if kind is transformers.WhisperConfig else transformers.AutoModel.from_config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = model(config).eval()
        for parameter in encoder.parameters():  # no norm may have weight 1 and bias 0, nor a bias be missed
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return Tiny(encoder, {**config.to_dict(), "model_type": config.model_type})


def noise(*lengths: int) -> list[Tensor]:
    """Clips of so many samples each."""
    generator = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(length, generator=generator) for length in lengths]
