"""What the runtimes share in which units do not step on the same mini-batch one after the other (queued, greedy)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from localgrad.errors import LocalgradError
from localgrad.network import LocalNetwork
from localgrad.runtime.checks import check_batch, check_optimizer, check_settings, check_single_row, check_trainable
from localgrad.runtime.sequential import MakeOptimizer
from localgrad.runtime.units import largest_reach
from localgrad.spec import Batch, Shape
from localgrad.unit import Unit, spans
from localgrad.update import OptimizerUpdate, Precision


def alone_problem(units: Sequence[Unit]) -> str | None:
    """Why these units cannot train apart from each other, in words that follow "the units"; None if they can."""
    if largest_reach(units) > 1:
        return "are joined by cascades: one loss updates several of them"
    if len(spans(units)) < len(units):
        return "are neuron groups: those of one span work on the same mini-batch together"
    return None


def make_updates(
    net: LocalNetwork,
    optimizer: MakeOptimizer,
    *,
    precision: Precision | str,
    clip: float | None,
    seed: int | None,
    who: str,
) -> list[OptimizerUpdate]:
    """An optimiser for every unit. Raises LocalgradError for what the runtime ``who`` cannot train."""
    check_settings(net, optimizer, "unit", precision, 1, clip, 1, who=who)
    units = net.unit_list()
    problem = alone_problem(units)
    if problem is not None:
        raise LocalgradError(f"{who}: the units of this network {problem}. Use Sequential.")
    device = next(net.parameters()).device
    updates = []
    for unit in units:
        parameters = unit.trained_parameters()
        if not parameters:
            raise LocalgradError(
                f"{who}: unit {unit.name!r} has no parameter that requires a gradient. Freeze single blocks, or merge "
                "the unit with the next one."
            )
        made = optimizer(parameters)
        check_optimizer(made, parameters, who=who)
        updates.append(
            OptimizerUpdate(
                made,
                seed=net.seed if seed is None else seed,
                precision=Precision(precision),
                device=device,
                clip=clip,
            )
        )
    return updates


def check_input(net: LocalNetwork, batch: Batch, precision: Precision, fitting: set[Shape], call: str) -> None:
    """Raise LocalgradError when a batch does not fit. ``fitting`` remembers shapes of which one image is enough."""
    check_batch(net, batch, precision)
    check_trainable(batch, 1, call=call)
    shape = tuple(batch.x.shape[1:])
    if len(batch.x) < 2 and shape not in fitting:
        check_single_row(net, shape)
        fitting.add(shape)


def set_mode(unit: Unit, training: bool) -> None:
    """Training or evaluation mode of one unit, where it is not so already."""
    if unit.training != training:
        unit.train(training)


def forward_frozen(unit: Unit, h_in: Tensor, update: OptimizerUpdate) -> Tensor:
    """Output of a unit that does not learn any more: evaluation mode, BatchNorm statistics as they are."""
    set_mode(unit, False)
    with torch.no_grad(), update.autocast(h_in.device):
        h: Tensor = unit(h_in)
    return h
