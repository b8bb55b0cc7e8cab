"""One pass of real unit steps that asks autograd what every loss reaches, and changes no weight."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn

from localgrad.network import LocalNetwork
from localgrad.spec import Batch


@final
@dataclass
class Ask:
    """An Update whose ``backward`` finds which of ``parameters`` a loss has a gradient for; ``apply`` does nothing."""

    parameters: Sequence[nn.Parameter]
    seed: int
    reached: set[nn.Parameter] = field(default_factory=set)
    losses: list[Tensor] = field(default_factory=list)

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """float32: what a loss reaches does not depend on the precision."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Ask autograd."""
        self.losses.append(loss.detach())
        if not loss.requires_grad:
            return
        # The graph is kept: if a border were not detached, the loss of the next unit would go through it.
        gradients = torch.autograd.grad(loss, list(self.parameters), retain_graph=True, allow_unused=True)
        self.reached.update(p for p, grad in zip(self.parameters, gradients, strict=True) if grad is not None)

    def apply(self) -> None:
        """Nothing."""


@final
@dataclass(frozen=True)
class Trace:
    """What one pass over the units found, per unit: parameters reached, loss values, whether the output is detached."""

    reached: tuple[frozenset[nn.Parameter], ...]
    losses: tuple[tuple[Tensor, ...], ...]
    outputs: tuple[Tensor, ...]
    detached: tuple[bool, ...]


def trained(module: nn.Module) -> list[nn.Parameter]:
    """Parameters of a module that require a gradient."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def trace(net: LocalNetwork, batch: Batch) -> Trace:
    """Run ``Unit.step`` of every unit, in order, as the Sequential runtime does. Changes buffers of ``net``."""
    everything = list(dict.fromkeys([*trained(net), *trained(net.units)]))
    h, asks, outputs = batch.x, [], []
    for unit in net.unit_list():
        ask = Ask(everything, net.seed)
        h, _ = unit.step(h, batch, ask)
        asks.append(ask)
        outputs.append(h)
    return Trace(
        reached=tuple(frozenset(ask.reached) for ask in asks),
        losses=tuple(tuple(ask.losses) for ask in asks),
        outputs=tuple(output.detach() for output in outputs),
        detached=tuple(not output.requires_grad for output in outputs),
    )


def equal(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Whether two sequences of tensors are equal, bit for bit."""
    return len(some) == len(others) and all(torch.equal(a, b) for a, b in zip(some, others, strict=True))
