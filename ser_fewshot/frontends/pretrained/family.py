"""The computation of a family of encoders in parts: preprocessor, convolutions, transformer blocks.

A clip must have the same features alone and in any batch. So convolutions over samples or frames, and normalisation
over time (the group norm of wav2vec2 base), run on each clip by itself at its own length; only the transformer blocks
run on padded batches, where attention is masked and nothing else mixes frames. A clip then gives what the plain library
call on it alone gives, and padding cannot leak in at its end.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


class Family:
    """What differs between encoders; the encoder's own modules are handed in as `parts`.

    Attributes:
        width: values in a frame.
        shortest: samples that give one frame; a shorter clip is padded with zeros.
        rate: steps of the signal in a second.
        stride: steps from one frame to the next.
        receptive: steps in the receptive field of a frame.
        positions: the most frames that it has positions for; None where there is no limit.
        keeps: the modules of the transformers encoder that are used, where it has them.
        above: those that `blocks` and `last` use.
        projections: the linear layers of a block that low-rank adapters go to, by the ends of their names.
    """

    width: int
    shortest: int
    rate: float
    stride: int
    receptive: int
    positions: int | None = None
    keeps: tuple[str, ...]
    above: tuple[str, ...]
    projections: tuple[str, ...] = ("q_proj", "v_proj")

    def parts(self, model: Any, *, final: bool) -> dict[str, nn.Module]:
        """Return the modules of a transformers encoder that are used, by their names there.

        Args:
            model: the encoder.
            final: whether its last block is the last of its architecture, after which some have a norm.
        """
        return {name: getattr(model, name) for name in self.keeps if hasattr(model, name)}

    def top(self, model: Any, *, final: bool) -> nn.Module:
        """Return only the modules that `blocks` and `last` use, under their names in the encoder; see `parts`."""
        self.parts(model, final=final)
        top = nn.Module()
        for path in self.above:
            outer, _, name = path.rpartition(".")
            if outer and not hasattr(top, outer):
                top.add_module(outer, nn.Module())
            setattr(top.get_submodule(outer), name, operator.attrgetter(path)(model))
        return top

    def signal(self, waveform: Tensor) -> Tensor:
        """(samples,) -> the preprocessor's output, (steps,) or (steps, bands), at least enough for a frame."""
        raise NotImplementedError

    def n_frames(self, steps: int) -> int:
        """Return how many frames a signal gives."""
        return (steps - self.receptive) // self.stride + 1

    def stem(self, parts: Any, signal: Tensor) -> Tensor:
        """One signal (steps, ...) -> input of the first block, (frames, width)."""
        raise NotImplementedError

    def blocks(self, parts: Any, x: Tensor, mask: Tensor | None) -> Iterator[Tensor]:
        """Run the blocks on a batch and yield the output of each.

        Args:
            parts: the modules.
            x: (batch, frames, width) from `stem`, zero beyond each clip's end.
            mask: (batch, frames) True where a frame belongs to its clip; None where all do.
        """
        bias = None if mask is None else bias_of(mask, x.dtype)
        for block in self._stack(parts):
            x = tensor_of(block(x, attention_mask=bias))
            yield x

    def last(self, parts: Any, x: Tensor) -> Tensor:
        """(batch, frames, width) from the last block -> the encoder's own output."""
        return x

    def _stack(self, parts: Any) -> Any:
        return parts.encoder.layers

    def _filled(self, waveform: Tensor) -> Tensor:
        """Return a clip that is too short for one frame with zeros at its end."""
        return nn.functional.pad(waveform, (0, max(0, self.shortest - waveform.shape[0])))


def bias_of(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """(batch, frames) -> bias of the attention scores, (batch, 1, 1, frames)."""
    lowest = torch.finfo(dtype).min
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, lowest)[:, None, None]


def tensor_of(output: Any) -> Tensor:
    """Return a module's output, which in some versions and families is the first of a tuple."""
    tensor: Tensor = output[0] if isinstance(output, tuple) else output
    return tensor
