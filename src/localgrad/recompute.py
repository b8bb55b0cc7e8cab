"""Recomputation of activations in the backward pass (Chen et al. 2016), with BatchNorm statistics updated once."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


@contextmanager
def frozen_statistics(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Normalise by batch statistics without updating the running ones: for the second forward of the same batch."""
    norms = [part for module in modules for part in module.modules() if isinstance(part, _BatchNorm)]
    before = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, tracked in zip(norms, before, strict=True):
            norm.track_running_stats = tracked


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
            return nullcontext(), frozen_statistics(part)

        result: Tensor = checkpoint(run, h, use_reentrant=False, context_fn=contexts)
        h, start = result, stop
    return h
