"""One pass of real unit steps that asks autograd what every loss reaches, and changes no weight."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn

from localgrad.network import LocalNetwork
from localgrad.runtime.units import step_units
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

    def backward(self, loss: Tensor, wanted: Tensor | None = None, *, retain_graph: bool = False) -> Tensor | None:
        """Ask autograd."""
        self.losses.append(loss.detach())
        if not loss.requires_grad:
            return None
        return self.ask(loss, None, wanted)

    def pull(self, h: Tensor, cotangent: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Nothing: ``ask`` was told of every cotangent in the sum, and whose loss it is."""

    def ask(self, value: Tensor, cotangent: Tensor | None = None, wanted: Tensor | None = None) -> Tensor | None:
        """Note which parameters ``value`` has a gradient for; return the one of ``wanted``."""
        leaves = [*self.parameters] if wanted is None else [*self.parameters, wanted]
        # The graph is kept: if a border were not detached, the loss of the next unit would go through it.
        gradients = torch.autograd.grad(value, leaves, cotangent, retain_graph=True, allow_unused=True)
        self.reached.update(p for p, grad in zip(self.parameters, gradients, strict=False) if grad is not None)
        return None if wanted is None else gradients[-1]

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
    """Run the real step of every unit, in order, as the Sequential runtime does. Changes buffers of ``net``."""
    everything = list(dict.fromkeys([*trained(net), *trained(net.units)]))
    units = net.unit_list()
    asks = [Ask(everything, net.seed) for _ in units]

    def watch(origin: int, h: Tensor, cotangent: Tensor) -> None:
        if h.requires_grad:  # not that of a frozen body at the bottom
            asks[origin].ask(h, cotangent)

    outputs: dict[int, Tensor] = {}
    step_units(units, asks, batch, watch=watch, passed=outputs.__setitem__)
    return Trace(
        reached=tuple(frozenset(ask.reached) for ask in asks),
        losses=tuple(tuple(ask.losses) for ask in asks),
        outputs=tuple(output.detach() for output in outputs.values()),
        detached=tuple(not output.requires_grad for output in outputs.values()),
    )


def equal(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Whether two sequences of tensors are equal, bit for bit."""
    return len(some) == len(others) and all(torch.equal(a, b) for a, b in zip(some, others, strict=True))
