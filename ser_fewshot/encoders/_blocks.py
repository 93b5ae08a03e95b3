"""Fine-tuning of the last blocks of a pretrained encoder, whose other blocks are the frozen, cached front-end.

Either all their weights are trained or low-rank adapters (Hu et al., "LoRA", 2022, https://arxiv.org/abs/2106.09685).
The later blocks of speech encoders change most in fine-tuning: Pasad et al., "Layer-wise analysis of a self-supervised
speech representation model", 2021, https://arxiv.org/abs/2107.04734.
"""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from ser_fewshot.encoders._base import Encoder, EncoderSettings
from ser_fewshot.encoders._fixed import PooledFeatures
from ser_fewshot.encoders._statistics import moments
from ser_fewshot.frontends import Features
from ser_fewshot.frontends.pretrained.architectures import blocks_key, build
from ser_fewshot.frontends.pretrained.frontend import Settings, family_of
from ser_fewshot.optional import not_installed
from ser_fewshot.settings import fill, require

_BATCH_CLIPS = 32
_ADAPTED = ".base_layer."  # in the names of layers that have an adapter
_ADAPTER = ".lora_"
_FIRST_ONLY = ".rel_attn_embed."  # WavLM keeps the positions for all blocks in the first, wherever that is


class Blocks(Encoder):
    """Standardised mean and standard deviation over time of the output of the last of some transformer blocks.

    Before training it is what the front-end pools at that layer; adapters begin at the identity.

    Attributes:
        network: the blocks, and the norm after them if the architecture ends there; random until weights are loaded.

    Raises:
        SettingsError: the front-end does not output frames of one layer of a pretrained encoder, or has too few blocks
            left; or there are adapters and peft is not installed.
    """

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__()
        frontend, self._final = _continued(settings)
        self._family = family_of(frontend.architecture, frontend.preprocessor)
        self._first, self.lora = frontend.n_blocks, settings.lora
        self.width = 2 * self._family.width
        model = build(frontend.architecture, blocks=settings.blocks)
        model.set_attn_implementation("eager")  # the only one that can be differentiated twice
        self.network = self._family.top(model, final=self._final)
        if self.lora:
            _add_adapters(self.network, rank=self.lora, to=self._family.projections)
        self.requires_grad_()
        self.scaled = PooledFeatures(self.width, whitening=settings.whitening)

    def requires_grad_(self, requires_grad: bool = True) -> Blocks:
        """Switch gradients on or off; adapted weights never have any."""
        super().requires_grad_(requires_grad)
        if self.lora:
            for name, parameter in self.network.named_parameters():
                parameter.requires_grad = requires_grad and _ADAPTER in name
        return self

    def pretrained_names(self) -> dict[str, str]:
        """Return, for each weight of `network` that a checkpoint has, its name in the whole transformers encoder."""
        names = [name for name in self.network.state_dict() if _ADAPTER not in name]
        return {name: self._name_there(name) for name in names}

    def fit_scale(self, features: Features, y: Tensor | None = None) -> None:
        """Fit the normalisation of the pooled output to clips (batch, frames, dim)."""
        with torch.no_grad():
            parts = torch.split(torch.arange(len(features)), _BATCH_CLIPS)
            z = torch.cat([self.pool(features.select(rows)) for rows in parts])
            self.scaled.fit_scale(_one_frame(z), y)

    def forward(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> (batch, 2 * dim)."""
        z: Tensor = self.scaled(_one_frame(self.pool(features)))
        return z

    def pool(self, features: Features) -> Tensor:
        """(batch, frames, dim) -> mean and standard deviation over time, (batch, 2 * dim), in the encoder's units."""
        x, mask = features.x, features.mask
        padded = not torch.compiler.is_exporting() and not bool(mask.all())
        for state in self._family.blocks(self.network, x, mask if padded else None):
            x = state
        if self._final:
            x = self._family.last(self.network, x)
        return torch.cat(moments(x, mask), dim=1)

    def _name_there(self, name: str) -> str:
        name = name.replace(_ADAPTED, ".")
        if _FIRST_ONLY in name:
            return name
        return re.sub(r"\blayers\.(\d+)\.", lambda found: f"layers.{int(found[1]) + self._first}.", name, count=1)


def _one_frame(z: Tensor) -> Features:
    """(batch, width) -> features of a front-end that pools."""
    return Features(z[:, None], torch.ones(len(z), dtype=torch.int64, device=z.device))


def _continued(settings: EncoderSettings) -> tuple[Settings, bool]:
    """Return the settings of the front-end, and whether the last block here is the last of the architecture."""
    remedy = "Make the model with 'ser-fewshot import SOURCE --tune N'."
    require(
        "architecture" in settings.continues,
        "encoder",
        found="'blocks' on a front-end of another kind",
        expected="a pretrained encoder",
        remedy=remedy,
    )
    frontend = fill(Settings, settings.continues, where="encoder.continues")
    total = frontend.architecture[blocks_key(frontend.architecture)]
    last = math.inf if frontend.layer == "weighted" else frontend.layer + settings.blocks
    require(
        frontend.pooling == "frames" and last <= total,
        "encoder",
        found=f"{settings.blocks} blocks on layer {frontend.layer} of {total}, pooling {frontend.pooling!r}",
        expected=f"a number as the layer, at most {total} with the blocks, and pooling 'frames'",
        remedy=remedy,
    )
    return frontend, last == total


def _add_adapters(network: nn.Module, *, rank: int, to: tuple[str, ...]) -> None:
    """Add low-rank adapters to linear layers, in place.

    Raises:
        SettingsError: peft is not installed.
    """
    try:
        import peft  # noqa: PLC0415 - it may not be installed
    except ImportError as error:
        raise not_installed(error, extra="finetune", subject="encoder.lora") from error
    # This alpha makes the scale of the adapters 1.
    config: Any = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=list(to))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about models of other kinds
        peft.inject_adapter_in_model(config, network)
