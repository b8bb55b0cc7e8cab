"""One table of what several networks cost, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

from localgrad.cost.macs import macs
from localgrad.cost.memory import memory
from localgrad.errors import LocalgradError
from localgrad.network import LocalNetwork
from localgrad.runtime.sequential import MakeOptimizer
from localgrad.update import Precision


@final
@dataclass(frozen=True)
class CostRow:
    """One network: units, parameters, forward MACs per sample (the papers' count), peak live bytes of a step.

    ``parameters`` are those of the plain network, ``aux_parameters`` those that only training needs. ``speedup`` is
    ``inference / max_node``. ``ratio`` is ``peak`` by the peak of the first row of the table.
    """

    name: str
    units: int
    parameters: int
    aux_parameters: int
    inference: int
    total: int
    max_node: int
    speedup: float
    peak: int
    ratio: float


def cost_table(
    nets: Mapping[str, LocalNetwork],
    batch_size: int,
    image: Sequence[int] | None = None,
    precision: Precision | str = "float32",
    channels_last: bool = False,
    optimizer: MakeOptimizer | None = None,
    update: Literal["unit", "fused"] = "unit",
) -> list[CostRow]:
    """A row per network, in the order given; the first is what the others' memory is compared with.

    The arguments are those of ``memory``. Raises LocalgradError as ``macs`` and ``memory`` do, and without networks.
    """
    if not nets:
        raise LocalgradError("cost_table: expected at least one network, got none.")
    rows: list[CostRow] = []
    for name, net in nets.items():
        counted = macs(net, image)
        peak = memory(net, batch_size, image, precision, channels_last, optimizer, update).peak
        rows.append(
            CostRow(
                name=name,
                units=len(net.units),
                parameters=sum(parameter.numel() for parameter in net.model.parameters()),
                aux_parameters=sum(part.aux_params for part in counted.parts.values()),
                inference=counted.inference,
                total=counted.total,
                max_node=counted.max_node,
                speedup=counted.speedup,
                peak=peak,
                ratio=peak / (rows[0].peak if rows else peak),
            )
        )
    return rows
