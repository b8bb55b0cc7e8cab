"""What every unit of a network costs: MACs counted, memory counted on fake tensors, seconds measured or assumed."""

from dataclasses import dataclass
from typing import final

import torch

from localgrad import cost
from localgrad.errors import LocalgradError
from localgrad.network import LocalNetwork, build_model
from localgrad.planning.memory import unit_memory
from localgrad.planning.plan import UnitCost
from localgrad.planning.seconds import StepSeconds, unit_seconds
from localgrad.runtime.sequential import MakeOptimizer
from localgrad.update import Precision

MACS_PER_SECOND = 25e9
"""What a device of speed 1 computes where nothing is measured: about one core of a present CPU."""


@final
@dataclass(frozen=True)
class Costs:
    """Those of all units, and of a step of the same network trained end to end; ``measured``: seconds are measured."""

    units: tuple[UnitCost, ...]
    measured: bool
    backprop_seconds: float
    backprop_macs: int
    backprop_parameters: int


@final
@dataclass(frozen=True)
class UnitMacs:
    """MACs per sample of a unit's step, and of its body's forward pass."""

    step: int
    forward: int


def unit_macs(net: LocalNetwork) -> tuple[list[UnitMacs], int]:
    """MACs per sample of every unit's step, and of a step of the network end to end; ``net`` may be on meta."""
    steps, forwards = cost.macs(net, count="torch"), cost.macs(net)
    counted = [
        UnitMacs(steps.parts[key].total, part.conv_linear - (part.aux_conv_linear or 0))
        for key, part in forwards.parts.items()
    ]
    return counted, steps.end_to_end


def unit_costs(
    net: LocalNetwork,
    batch_size: int,
    *,
    replicas: int = 1,
    precision: Precision = Precision.FLOAT32,
    channels_last: bool = False,
    optimizer: MakeOptimizer | None = None,
    macs_per_second: float = MACS_PER_SECOND,
    measure: bool = False,
) -> Costs:
    """Costs of every unit of ``net`` on mini-batches of ``batch_size``.

    Without ``measure`` nothing is computed, ``net`` may be on the meta device, and seconds are MACs by
    ``macs_per_second``. With it they are medians of real steps on one thread of the network's device. Memory is that of
    the rows that one of ``replicas`` gets. Raises LocalgradError for a batch that the replicas cannot share.
    """
    if not 1 <= replicas <= batch_size:
        raise LocalgradError(
            f"plan: replicas must be between 1 and the batch size, {batch_size}, which they share, got {replicas}."
        )
    macs, backprop = unit_macs(net)
    settings = (precision, channels_last, optimizer)
    memory = unit_memory(net, -(-batch_size // replicas), *settings)
    seconds = unit_seconds(net, batch_size, *settings) if measure else None
    units = []
    for place, unit in enumerate(net.unit_list()):
        taken, forward = _seconds(place, macs[place], batch_size, macs_per_second, seconds)
        units.append(
            UnitCost(
                name=unit.name,
                span=unit.spec.index,
                group=unit.spec.group,
                macs=macs[place].step * batch_size,
                seconds=taken,
                memory=memory[place].peak,
                parameters=sum(parameter.numel() for parameter in unit.trained_parameters()),
                reaches=tuple(sorted({objective.reach for objective in unit.spec.objectives})),
                forward=forward,
                resident=memory[place].resident,
                kept=memory[place].kept,
            )
        )
    whole = backprop * batch_size
    return Costs(
        units=tuple(units),
        measured=measure,
        backprop_seconds=whole / macs_per_second if seconds is None else seconds.backprop,
        backprop_macs=whole,
        backprop_parameters=_plain_parameters(net),
    )


def _seconds(
    place: int, macs: UnitMacs, rows: int, macs_per_second: float, measured: StepSeconds | None
) -> tuple[float, float]:
    """Seconds of a unit's step, and the share of them after which its output is handed on."""
    if measured is None:
        return rows * macs.step / macs_per_second, min(1.0, macs.forward / max(1, macs.step))
    own = measured.units[place]
    return own.step, own.forward / own.step


def _plain_parameters(net: LocalNetwork) -> int:
    """Parameters of the network before neuron groups or another head came into it."""
    dense = net.backbone.changed_from
    if dense is None:
        return sum(parameter.numel() for parameter in net.model.parameters())
    with torch.device("meta"):
        model, _ = build_model(dense, seed=0)
    return sum(parameter.numel() for parameter in model.parameters())
