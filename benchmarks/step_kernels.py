"""What the convolutions and BatchNorms of a step take alone: no engine on these kernels makes faster steps.

A step is run once while every convolution and BatchNorm that reaches PyTorch's kernels, forward and backward, is
written down with its shapes, formats and arguments. Each different call is then repeated on tensors of its own, whose
pages are there and which the caches hold as far as they can; its median is counted as often as the step makes it. What
is left out (ReLUs, additions, pooling, losses, optimisers, Python) would only add to it.
"""

import time
from collections import Counter
from collections.abc import Callable, Hashable
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

import localgrad as lg

COUNTED = ("convolution", "batch_norm")
REPEATS = 15


class _Calls(TorchDispatchMode):
    """Writes down the counted calls: what to repeat, and how often each is made."""

    def __init__(self) -> None:
        super().__init__()
        self.repeats: dict[Hashable, Callable[[], Any]] = {}
        self.counts: Counter[Hashable] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(name in func.__name__ for name in COUNTED):
            key = (func.__name__, str(tree_map(_described, args)), str(tree_map(_described, kwargs or {})))
            self.counts[key] += 1
            if key not in self.repeats:
                own, named = tree_map(_like, args), tree_map(_like, kwargs or {})
                self.repeats[key] = lambda: func(*own, **named)
        return func(*args, **(kwargs or {}))


def _described(value: Any) -> Any:
    return (tuple(value.shape), value.stride(), value.dtype) if isinstance(value, Tensor) else value


def _like(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    # Variances must be positive, and nothing else is asked of the numbers.
    return torch.rand_like(value).add_(0.5)


def kernel_seconds(loop: lg.Sequential, batch: lg.Batch) -> float:
    """Seconds of the convolutions and BatchNorms of one step of ``loop``, alone."""
    calls = _Calls()
    with calls:
        loop.step(batch)
    return sum(calls.counts[key] * _seconds(repeat) for key, repeat in calls.repeats.items())


def _seconds(repeat: Callable[[], Any]) -> float:
    found = []
    for turn in range(REPEATS + 3):
        start = time.perf_counter()
        repeat()
        if turn >= 3:
            found.append(time.perf_counter() - start)
    return median(found)
