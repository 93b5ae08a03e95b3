"""The encoders of transformers that can be a front-end: their configurations, checked before any is built.

A configuration comes from whoever made the checkpoint, so only what shapes an encoder is taken from it, and each value
has a range. Dropout, layer drop and masking are for training: without them an encoder is deterministic.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn

from ser_fewshot.audio import SAMPLE_RATE
from ser_fewshot.errors import SettingsError
from ser_fewshot.optional import unpaired

try:
    import transformers
    from transformers.models.whisper.modeling_whisper import WhisperEncoder
except OSError as error:
    raise unpaired(error) from error

MOST_PARAMETERS = 2_500_000_000  # XLS-R 2B, the largest that is published, has 2.2 billion
_LARGEST = 16_384  # of a width; published ones stay below 8,192
_MOST_BLOCKS = 128
_MOST_CONVOLUTIONS = 32

_OFF: dict[str, Any] = {
    "mask_time_prob": 0.0,  # without masking there is no mask embedding, which would be unused
    "mask_feature_prob": 0.0,
    "layerdrop": 0.0,
    "encoder_layerdrop": 0.0,
    "dropout": 0.0,
    "hidden_dropout": 0.0,
    "activation_dropout": 0.0,
    "attention_dropout": 0.0,
    "feat_proj_dropout": 0.0,
    "conformer_conv_dropout": 0.0,
    "add_adapter": False,
    "use_intermediate_ffn_before_adapter": False,
}


@dataclass(frozen=True)
class _Legal:
    """The legal values of a setting, in words and as a test."""

    words: str
    test: Callable[[Any], bool]

    def check(self, key: str, value: object, remedy: str = "Correct the config.") -> None:
        """Refuse a value that is not legal."""
        if not self.test(value):
            raise SettingsError(key, found=f"{value!r:.80}", expected=self.words, remedy=remedy)


def _whole(most: int, *, least: int = 1) -> _Legal:
    return _Legal(f"a whole number from {least} to {most}", lambda x: type(x) is int and least <= x <= most)


def _wholes(most: int) -> _Legal:
    return _Legal(
        f"1 to {_MOST_CONVOLUTIONS} whole numbers from 1 to {most}",
        lambda x: (
            isinstance(x, list)
            and 1 <= len(x) <= _MOST_CONVOLUTIONS
            and all(type(item) is int and 1 <= item <= most for item in x)
        ),
    )


def _one_of(*values: Any) -> _Legal:
    return _Legal(" | ".join(map(repr, values)), lambda x: any(x is value or x == value for value in values))


_SIZE = _whole(_LARGEST)
_FLAG = _Legal("true or false", lambda x: isinstance(x, bool))
_ACTIVATION = _one_of("gelu", "gelu_new", "relu", "selu", "silu", "swish", "tanh")
_NORM_EPS = _Legal("a number between 0 and 1", lambda x: isinstance(x, float) and 0 < x < 1)

_KEYS: dict[str, _Legal] = {
    "hidden_size": _SIZE,
    "num_hidden_layers": _whole(_MOST_BLOCKS),
    "num_attention_heads": _SIZE,
    "intermediate_size": _SIZE,
    "hidden_act": _ACTIVATION,
    "layer_norm_eps": _NORM_EPS,
    "feat_extract_norm": _one_of("group", "layer"),
    "feat_extract_activation": _ACTIVATION,
    "feat_proj_layer_norm": _FLAG,
    "conv_dim": _wholes(_LARGEST),
    "conv_stride": _wholes(1_024),
    "conv_kernel": _wholes(1_024),
    "conv_bias": _FLAG,
    "num_conv_pos_embeddings": _whole(1_024),
    "num_conv_pos_embedding_groups": _SIZE,
    "conv_pos_batch_norm": _FLAG,
    "conv_pos_kernel_size": _whole(1_024),
    "do_stable_layer_norm": _FLAG,
    "num_buckets": _SIZE,
    "max_bucket_distance": _SIZE,
    "squeeze_factor": _whole(16),
    "adapter_attn_dim": _Legal(f"null, or {_SIZE.words}", lambda x: x is None or _SIZE.test(x)),
    "feature_projection_input_dim": _SIZE,
    "position_embeddings_type": _one_of("rotary", "relative", "relative_key", None),
    "rotary_embedding_base": _whole(10**9),
    "left_max_position_embeddings": _whole(_LARGEST, least=0),
    "right_max_position_embeddings": _whole(_LARGEST, least=0),
    "conv_depthwise_kernel_size": _whole(1_024),
    "num_mel_bins": _whole(1_024),
    "d_model": _SIZE,
    "encoder_layers": _whole(_MOST_BLOCKS),
    "encoder_attention_heads": _SIZE,
    "encoder_ffn_dim": _SIZE,
    "activation_function": _ACTIVATION,
    "scale_embedding": _FLAG,
    "max_source_positions": _SIZE,
}

_OF_WAVES: dict[str, Any] = {"feature_size": 1, "sampling_rate": SAMPLE_RATE, "do_normalize": True}
_PREPROCESSORS: dict[str, dict[str, Any]] = {
    "wav2vec2-bert": {"num_mel_bins": 80, "stride": 2, "sampling_rate": SAMPLE_RATE},
    "whisper": {"feature_size": 80, "hop_length": 160, "n_fft": 400, "sampling_rate": SAMPLE_RATE},
}
"""The defaults of the feature extractors of transformers 5; all other families take waves."""
_PREPROCESSOR_KEYS = {
    "feature_size": _whole(1_024),
    "num_mel_bins": _whole(1_024),
    "sampling_rate": _Legal(
        f"{SAMPLE_RATE} Hz, at which every clip is read", lambda x: type(x) is int and x == SAMPLE_RATE
    ),
    "n_fft": _whole(2_048),
    "hop_length": _whole(2_048),
    "stride": _whole(16),
    "do_normalize": _FLAG,
}
_OTHER_ENCODER = "Take an encoder that was made for such input."

_CLASSES = {
    "wav2vec2": ("Wav2Vec2Config", "Wav2Vec2Model"),
    "hubert": ("HubertConfig", "HubertModel"),
    "wavlm": ("WavLMConfig", "WavLMModel"),
    "unispeech-sat": ("UniSpeechSatConfig", "UniSpeechSatModel"),
    "data2vec-audio": ("Data2VecAudioConfig", "Data2VecAudioModel"),
    "sew": ("SEWConfig", "SEWModel"),
    "wav2vec2-bert": ("Wav2Vec2BertConfig", "Wav2Vec2BertModel"),
    "whisper": ("WhisperConfig", "WhisperEncoder"),
}

KNOWN = tuple(_CLASSES)
"""The values of `model_type` that can be a front-end."""


def checked(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a `config.json` that shape the encoder, completed by the library's defaults.

    Raises:
        SettingsError: the model type is unknown, or a value is not legal or does not fit another.
    """
    model_type = architecture.get("model_type")
    if not isinstance(model_type, str) or model_type not in _CLASSES:
        found, remedy = f"the model_type {model_type!r:.80}", "Take the encoder of one of these families."
        raise SettingsError("architecture", found=found, expected=" | ".join(KNOWN), remedy=remedy)
    defaults = _defaults(model_type)
    full: dict[str, Any] = {"model_type": model_type}
    for key, legal in _KEYS.items():
        if key in defaults:
            value = architecture.get(key, defaults[key])
            value = list(value) if isinstance(value, list | tuple) else value
            legal.check(f"architecture.{key}", value)
            full[key] = value
    counts = {key: len(full[key]) for key in ("conv_dim", "conv_kernel", "conv_stride") if key in full}
    if len(set(counts.values())) > 1:
        raise SettingsError(
            "architecture",
            found=", ".join(f"{key} of {count}" for key, count in counts.items()),
            expected="one value for each convolution in all of them",
            remedy="Correct the config.",
        )
    return full


def checked_preprocessor(model_type: str, preprocessor: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a `preprocessor_config.json`, with the library's defaults for what it leaves out.

    Raises:
        SettingsError: its sample rate is not 16 kHz, or a value is not legal.
    """
    full = {key: preprocessor.get(key, value) for key, value in _PREPROCESSORS.get(model_type, _OF_WAVES).items()}
    legal = {key: _PREPROCESSOR_KEYS[key] for key in full}
    if model_type not in _PREPROCESSORS:
        legal["feature_size"] = _Legal("1, a waveform of one channel", lambda x: type(x) is int and x == 1)
    for key, value in full.items():
        legal[key].check(f"preprocessor.{key}", value, _OTHER_ENCODER)
    if "n_fft" in full:
        hop = _Legal(f"at most n_fft, {full['n_fft']}", lambda x: bool(x <= full["n_fft"]))
        hop.check("preprocessor.hop_length", full["hop_length"], _OTHER_ENCODER)
    return full


def blocks_key(architecture: Mapping[str, Any]) -> str:
    """Return the name under which a configuration keeps how many transformer blocks there are."""
    return "encoder_layers" if architecture["model_type"] == "whisper" else "num_hidden_layers"


def build(architecture: Mapping[str, Any], *, blocks: int) -> Any:
    """Return the transformers encoder of a checked architecture, with random weights and its first blocks only.

    Raises:
        SettingsError: the library refuses the configuration, or it has more than MOST_PARAMETERS.
    """
    try:
        with torch.device("meta"):  # shapes without memory
            n_parameters = sum(parameter.numel() for parameter in _encoder(architecture, blocks).parameters())
    except (StrictDataclassError, ValueError, TypeError, ArithmeticError, LookupError, RuntimeError) as error:
        raise SettingsError(
            "architecture",
            found=f"a configuration that makes no encoder: {type(error).__name__}: {error!s:.200}",
            expected=f"one of a {architecture['model_type']} encoder",
            remedy="Correct the config.",
        ) from error
    if n_parameters > MOST_PARAMETERS:
        found, remedy = f"{n_parameters} parameters", "Choose a smaller encoder, or an earlier layer."
        raise SettingsError("architecture", found=found, expected=f"at most {MOST_PARAMETERS}", remedy=remedy)
    return _encoder(architecture, blocks)


def _encoder(architecture: Mapping[str, Any], blocks: int) -> nn.Module:
    kind = _config_class(architecture["model_type"])
    off = {key: value for key, value in _OFF.items() if key in _defaults(architecture["model_type"])}
    config = kind(**{**architecture, blocks_key(architecture): blocks, **off})
    name = _CLASSES[architecture["model_type"]][1]
    encoder: nn.Module = WhisperEncoder(config) if name == "WhisperEncoder" else getattr(transformers, name)(config)
    return encoder


@functools.cache
def _defaults(model_type: str) -> Mapping[str, Any]:
    """Return the defaults of the library's configuration of a family."""
    values: dict[str, Any] = _config_class(model_type)().to_dict()
    return values


def _config_class(model_type: str) -> Any:
    return getattr(transformers, _CLASSES[model_type][0])
