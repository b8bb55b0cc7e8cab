"""Outputs in fewer bits on slow links: bfloat16, or 8-bit integers with one scale per sample. Lossy, and measured."""

from typing import final

import torch
from torch import Tensor

from localgrad.placement import Wire

LEVELS = 127


@final
class Codec:
    """Encodes what is sent in the number format of ``wire``, and measures what that costs.

    ``error`` is the root of the summed squared differences over that of the summed squares, of everything encoded since
    ``reset``: 0.004 means that a value is off by 0.4 % of the typical size. None when nothing was lost.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.reset()

    def reset(self) -> None:
        """Begin a new measurement."""
        self._lost: Tensor | None = None
        self._sent: Tensor | None = None

    @property
    def error(self) -> float | None:
        """Relative error since ``reset``."""
        if self._lost is None or self._sent is None:
            return None
        return float((self._lost / self._sent.clamp_min(1e-30)).sqrt())

    def encode(self, h: Tensor) -> dict[str, Tensor]:
        """The tensors to send for ``h``; what is no float32 goes as it is."""
        if self.wire is Wire.FLOAT32 or h.dtype is not torch.float32:
            return {"h": h}
        if self.wire is Wire.BFLOAT16:
            # The empty scale says that it was float32 before.
            tensors = {"h": h.to(torch.bfloat16), "scale": h.new_empty(0)}
        else:
            scale_B = h.abs().flatten(1).amax(1).clamp_min(1e-30) / LEVELS
            tensors = {"h": (h / along(scale_B, h)).round_().to(torch.int8), "scale": scale_B}
        difference = (decode(tensors) - h).double()
        lost, sent = difference.square().sum(), h.double().square().sum()
        self._lost = lost if self._lost is None else self._lost + lost
        self._sent = sent if self._sent is None else self._sent + sent
        return tensors


def along(scale_B: Tensor, h: Tensor) -> Tensor:
    """One number per sample, shaped to go with ``h``."""
    return scale_B.view(-1, *(1 for _ in h.shape[1:]))


def decode(tensors: dict[str, Tensor]) -> Tensor:
    """``h`` from what was sent: float32 again unless it was sent as it was."""
    h = tensors["h"]
    if "scale" not in tensors:
        return h
    scale_B = tensors["scale"]
    return h.float() if not scale_B.numel() else h.float() * along(scale_B, h)
