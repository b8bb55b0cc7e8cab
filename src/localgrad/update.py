"""How a unit's loss becomes new weights: precision, backward, optimiser. One Update per unit, or one for all."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Precision(StrEnum):
    """Number format of forward and backward; weights and optimiser states are always float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The autocast region of a step; nothing for float32."""
        if self is Precision.FLOAT32:
            return nullcontext()
        return torch.autocast(device.type, dtype=getattr(torch, self.value))


@dataclass(frozen=True)
class Part:
    """Which part of a mini-batch this is, when gradients are accumulated over several.

    ``weight`` is the part's share of the mini-batch, so that the accumulated gradient is that of the mean.
    """

    index: int = 0
    weight: float = 1.0
    last: bool = True


WHOLE = Part()


class Update(Protocol):
    """What ``Unit.step`` does with its loss."""

    @property
    def seed(self) -> int:
        """Seed of whatever is drawn inside a step."""
        ...

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The precision region of the forward pass."""
        ...

    def backward(self, loss: Tensor, wanted: Tensor | None = None, *, retain_graph: bool = False) -> Tensor | None:
        """Add the gradients of ``loss``; return the one with respect to the leaf ``wanted``, which it reaches."""
        ...

    def pull(self, h: Tensor, cotangent: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Add the gradients of ``parameters`` for a ``cotangent`` of ``h``, the output that they made."""
        ...

    def apply(self) -> None:
        """Step and free the gradients."""
        ...


@final
class OptimizerUpdate:
    """Backward and one optimiser step; gradients are freed at once.

    ``clip`` bounds the gradient norm of these parameters alone: a norm over units would differ between runtimes.
    float16 uses a GradScaler of its own. ``deferred`` leaves step and freeing to ``finish`` (one optimiser for all).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        seed: int = 0,
        precision: Precision = Precision.FLOAT32,
        device: torch.device | None = None,
        clip: float | None = None,
        deferred: bool = False,
    ) -> None:
        self.optimizer = optimizer
        self.seed = seed
        self.precision = precision
        self.clip = clip
        self.deferred = deferred
        self.scaler: torch.amp.GradScaler | None = None
        if precision is Precision.FLOAT16:
            self.scaler = torch.amp.GradScaler((device or torch.device("cpu")).type)

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The precision region of the forward pass."""
        return self.precision.autocast(device)

    def backward(self, loss: Tensor, wanted: Tensor | None = None, *, retain_graph: bool = False) -> Tensor | None:
        """Add the gradients of ``loss``, scaled under float16."""
        scaled: Tensor = loss if self.scaler is None else self.scaler.scale(loss)
        scaled.backward(retain_graph=retain_graph)  # type: ignore[no-untyped-call]
        return take_gradient(wanted)

    def pull(self, h: Tensor, cotangent: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Add the gradients of ``parameters`` alone: what is below them is not differentiated."""
        torch.autograd.backward(h, cotangent, inputs=parameters)

    def apply(self) -> None:
        """Step and free the gradients, unless deferred."""
        if not self.deferred:
            self.finish()

    def finish(self) -> None:
        """Clip, step, free the gradients."""
        if self.clip is not None:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters(), self.clip)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        free_gradients(self.optimizer)

    def parameters(self) -> Iterable[Tensor]:
        """All parameters that this update changes."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def scaler_state(self) -> Mapping[str, object]:
        """State of the GradScaler as plain numbers; empty without one."""
        state: Mapping[str, object] = {} if self.scaler is None else self.scaler.state_dict()
        return state


def free_gradients(optimizer: Optimizer) -> None:
    """``optimizer.zero_grad(set_to_none=True)``; PyTorch's own is a loop in a profiled region, which costs more.

    There is one call per unit and step. An optimiser with a ``zero_grad`` of its own keeps it.
    """
    if type(optimizer).zero_grad is not Optimizer.zero_grad:
        optimizer.zero_grad(set_to_none=True)
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def take_gradient(wanted: Tensor | None) -> Tensor | None:
    """The gradient that a backward pass left in the leaf ``wanted``, which has none afterwards."""
    if wanted is None:
        return None
    gradient, wanted.grad = wanted.grad, None
    return gradient
