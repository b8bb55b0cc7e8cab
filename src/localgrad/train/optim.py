"""Optimisers as data: ``spec(parameters)`` makes one. The defaults are those of the papers (methods.md 0)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol, final

import torch
from torch import nn
from torch.optim import Optimizer


class OptimizerSpec(Protocol):
    """A description of an optimiser; ``lr`` is what the schedule starts from."""

    @property
    def lr(self) -> float:
        """Base learning rate."""
        ...

    def __call__(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """An optimiser for these parameters."""
        ...

    def problems(self) -> Iterator[str]:
        """What is wrong with the numbers."""
        ...


def _not_negative(who: str, **numbers: float) -> Iterator[str]:
    for name, value in numbers.items():
        if not 0 <= value < inf:
            yield f"{who}: {name} must be a number and not negative, got {value}."


def parameter_groups(
    parameters: Iterable[nn.Parameter], weight_decay: float, decay_norm_and_bias: bool
) -> list[dict[str, Any]]:
    """Groups for weight decay; norm weights and all biases (tensors of one axis) may go without."""
    everything = list(parameters)
    if decay_norm_and_bias:
        return [{"params": everything, "weight_decay": weight_decay}]
    groups = [
        {"params": [p for p in everything if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in everything if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


@final
@dataclass(frozen=True)
class SGD:
    """SGD with Nesterov momentum; weight decay on all parameters unless ``decay_norm_and_bias`` is False."""

    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4
    decay_norm_and_bias: bool = True

    def __call__(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """A ``torch.optim.SGD``, fused: one pass over each tensor."""
        groups = parameter_groups(parameters, self.weight_decay, self.decay_norm_and_bias)
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, fused=True)

    def problems(self) -> Iterator[str]:
        """What is wrong with the numbers."""
        yield from _not_negative("SGD", lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        if self.nesterov and not self.momentum > 0:
            yield f"SGD: nesterov=True needs a momentum above 0, got {self.momentum}."


@final
@dataclass(frozen=True)
class Adam:
    """Adam; weight decay is added to the gradient, as in ``torch.optim.Adam``."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decay_norm_and_bias: bool = True

    def __call__(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """A ``torch.optim.Adam``, fused."""
        groups = parameter_groups(parameters, self.weight_decay, self.decay_norm_and_bias)
        return torch.optim.Adam(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)

    def problems(self) -> Iterator[str]:
        """What is wrong with the numbers."""
        yield from _not_negative("Adam", lr=self.lr, eps=self.eps, weight_decay=self.weight_decay)
        if not all(0 <= beta < 1 for beta in self.betas):
            yield f"Adam: betas must be in [0, 1), got {self.betas}."
