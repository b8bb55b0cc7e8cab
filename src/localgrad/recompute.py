"""Recomputation of activations in the backward pass (Chen et al. 2016), with BatchNorm statistics updated once."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


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


def forward_recomputed(layers: Sequence[nn.Module], h: Tensor, segments: int) -> Tensor:
    """Apply ``layers`` in ``segments`` runs of nearly equal length; only the runs' inputs are kept for the backward."""
    segments = max(1, min(segments, len(layers)))
    size, larger = divmod(len(layers), segments)
    start = 0
    for index in range(segments):
        stop = start + size + (index < larger)
        part = list(layers[start:stop])

        def run(x: Tensor, part: Sequence[nn.Module] = part) -> Tensor:
            for layer in part:
                x = layer(x)
            return x

        def contexts(
            part: Sequence[nn.Module] = part,
        ) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), kept_buffers(part)

        result: Tensor = checkpoint(run, h, use_reentrant=False, context_fn=contexts)
        h, start = result, stop
    return h
