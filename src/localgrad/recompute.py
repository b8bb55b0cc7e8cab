"""Recomputation of activations in the backward pass (Chen et al. 2016), with BatchNorm statistics updated once."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@final
@dataclass(frozen=True)
class Recompute:
    """How a unit recomputes activations in its backward pass instead of keeping them.

    ``segments`` cuts the body into so many runs of blocks of nearly equal length, all recomputed, and leaves the
    auxiliary networks alone. None takes the runs that give the least live memory, of body and auxiliary networks, and
    recomputes no more than that needs (``segments.plan_segments``).
    """

    segments: int | None = None


@final
@dataclass(frozen=True)
class Segment:
    """Layers one after another; with ``recomputed`` only what enters them is kept for the backward pass.

    ``copies``: the first layer changes its input in place, so it gets a copy.
    """

    layers: tuple[nn.Module, ...]
    recomputed: bool = True
    copies: bool = False

    def __call__(self, *h: Tensor) -> Any:
        """Apply the layers."""
        out: Any = tuple(tensor.clone() for tensor in h) if self.copies else h
        for layer in self.layers:
            out = apply_layer(layer, out)
        return out

    def contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """What surrounds the first and the second forward pass."""
        return nullcontext(), _Again(self.layers)


@runtime_checkable
class Staged(Protocol):
    """A module whose forward pass is that of its ``stages``, one after another, so that it can be cut between them."""

    def stages(self) -> list[nn.Module]:
        """New modules that hold the same submodules. The next one takes as arguments what one returns in a tuple."""
        ...


def apply_layer(layer: nn.Module, h: Any) -> Any:
    """A layer's output for a tensor, or for several in a tuple."""
    return layer(*h) if isinstance(h, tuple) else layer(h)


@contextmanager
def kept_buffers(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Let the modules work on copies of their buffers: a second forward of the same batch updates no statistics.

    Copies, not switched-off statistics: autograd must save the same tensors as in the first forward.
    """
    parts = [part for module in modules for part in module.modules() if part._buffers]
    before = [dict(part._buffers) for part in parts]
    for part in parts:
        part._buffers.update({name: None if b is None else b.clone() for name, b in part._buffers.items()})
    try:
        yield
    finally:
        for part, buffers in zip(parts, before, strict=True):
            part._buffers.update(buffers)


@final
class _Again:
    """``kept_buffers`` for every time that a segment is recomputed: cascades come down through it several times."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.modules = modules
        self.entered: list[AbstractContextManager[None]] = []

    def __enter__(self) -> None:
        self.entered.append(kept_buffers(self.modules))
        self.entered[-1].__enter__()

    def __exit__(self, *error: Any) -> None:
        self.entered.pop().__exit__(*error)


def equal_segments(layers: Sequence[nn.Module], count: int) -> tuple[Segment, ...]:
    """``layers`` in ``count`` runs whose lengths differ by at most one, the longer first; all recomputed."""
    count = max(1, min(count, len(layers)))
    size, longer = divmod(len(layers), count)
    stops = [size * (index + 1) + min(index + 1, longer) for index in range(count)]
    return tuple(Segment(tuple(layers[start:stop])) for start, stop in zip([0, *stops], stops, strict=False))


def forward_segments(segments: Sequence[Segment], h: Tensor) -> Any:
    """Apply the segments in order. What is drawn in them is drawn again, the same, when they are recomputed."""
    out: Any = h
    for segment in segments:
        inputs = out if isinstance(out, tuple) else (out,)
        if segment.recomputed and torch.is_grad_enabled():
            out = checkpoint(segment, *inputs, use_reentrant=False, context_fn=segment.contexts)
        else:
            out = segment(*inputs)
    return out
