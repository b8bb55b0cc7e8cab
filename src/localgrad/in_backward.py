"""Optimiser in backward: every parameter is updated as soon as its gradient is there, which is freed at once."""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import final

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle


@final
@dataclass(frozen=True)
class InBackward:
    """Makes the ``optimizer`` of a unit one that steps inside the backward pass, parameter by parameter.

    ``Sequential(net, optimizer=InBackward(make))``: same results as ``make`` for optimisers that treat every parameter
    by itself (SGD, Adam), with the gradients of two neighbouring layers alive at most. What backpropagation can do to
    save gradients, as a baseline; units free theirs as soon as they have learnt anyway. Not with anything that looks at
    all gradients of a unit, or at the sum of several backward passes: clipping, float16, accumulation, one optimiser
    for all units, cascades, auxiliary networks that follow their own unit.
    """

    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]

    def __call__(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """The optimiser of these parameters, which they call when their gradient has come."""
        made = self.optimizer(parameters)
        for place, group in enumerate(made.param_groups):
            for parameter in group["params"]:
                _Step(made, place, parameter)
        return made


@final
class _Step:
    """What one parameter does with its gradient. It takes itself away when its optimiser is gone."""

    def __init__(self, optimizer: Optimizer, place: int, parameter: nn.Parameter) -> None:
        self.optimizer, self.place = weakref.ref(optimizer), place
        self.handle: RemovableHandle = parameter.register_post_accumulate_grad_hook(self)  # type: ignore[no-untyped-call]

    def __call__(self, parameter: Tensor) -> None:
        optimizer = self.optimizer()
        if optimizer is None:
            self.handle.remove()
            return
        # A step over this parameter alone, with the state and settings that the optimiser has for it.
        groups = optimizer.param_groups
        optimizer.param_groups = [{**groups[self.place], "params": [parameter]}]
        try:
            optimizer.step()
        finally:
            optimizer.param_groups = groups
        parameter.grad = None
