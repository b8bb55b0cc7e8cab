"""MACs of real training steps, counted operator by operator by ``torch.utils.flop_counter``."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from localgrad.cost.fake import blank_batch, fake_tensors
from localgrad.count import weightless_copy
from localgrad.network import LocalNetwork, build_model
from localgrad.runtime.units import step_units
from localgrad.spec import Shape
from localgrad.update import take_gradient

# BatchNorm over vectors needs two samples.
_ROWS = 2


@final
@dataclass(frozen=True)
class _Backward:
    """An Update that only runs the backward pass."""

    seed: int = 0

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        return nullcontext()

    def backward(self, loss: Tensor, wanted: Tensor | None = None, *, retain_graph: bool = False) -> Tensor | None:
        loss.backward(retain_graph=retain_graph)  # type: ignore[no-untyped-call]
        return take_gradient(wanted)

    def pull(self, h: Tensor, cotangent: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        torch.autograd.backward(h, cotangent, inputs=parameters)

    def apply(self) -> None:
        pass


@final
@dataclass(frozen=True)
class StepMacs:
    """MACs per sample by operator: of every unit's step, of the plain network's forward pass and of both its passes.

    ``end_to_end`` is of the network before neuron groups or another head came into it.
    """

    units: tuple[Counter[str], ...]
    inference: Counter[str]
    end_to_end: Counter[str]


def step_macs(net: LocalNetwork, image: Shape) -> StepMacs:
    """Run the step of every unit, and the plain network, on a copy of ``net`` made of fake tensors.

    A product over pairs of samples (a similarity matrix) is counted in a batch of 2.
    """
    with fake_tensors():
        copied = weightless_copy(net, "cpu").train()
        batch = blank_batch(net, _ROWS, image)
        units = copied.unit_list()
        counted: list[Counter[str]] = [Counter() for _ in units]

        @contextmanager
        def around(place: int) -> Iterator[None]:
            with FlopCounterMode(display=False) as counter:
                yield
            counted[place].update(_per_sample(counter))

        step_units(units, [_Backward()] * len(units), batch, around=around)
        with FlopCounterMode(display=False) as counter:
            out = copied(batch.x)
            inference = _per_sample(counter)
            out.sum().backward()
        if net.backbone.changed_from is not None:
            model, _ = build_model(net.backbone.changed_from, seed=0)
            with FlopCounterMode(display=False) as counter:
                model(batch.x).sum().backward()
    return StepMacs(tuple(counted), inference, _per_sample(counter))


def _per_sample(counter: FlopCounterMode) -> Counter[str]:
    by_operator = counter.get_flop_counts().get("Global", {})
    return Counter({str(operator): flops // (2 * _ROWS) for operator, flops in by_operator.items()})
