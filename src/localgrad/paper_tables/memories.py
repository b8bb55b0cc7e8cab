"""Live memory of every method, as it is, recomputed, in bfloat16, and both: one table, row by row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from localgrad.cost import CostRow, cost_table, memory
from localgrad.cost.memory import sgd_nesterov
from localgrad.errors import LocalgradError, nearest
from localgrad.in_backward import InBackward
from localgrad.paper_tables.every_method import BASELINES, METHODS, network_for
from localgrad.spec import Backbone

IN_BACKWARD = "optimiser in backward"
"""Backpropagation that updates every parameter as soon as its gradient is there."""
MEMORY_ROWS = (*BASELINES, IN_BACKWARD, *METHODS)
OWN_RECOMPUTATION = ("checkpointing",)
"""What recomputes in a way of its own."""


@final
@dataclass(frozen=True)
class Memories:
    """One row: ``plain`` in float32, its ratio to backpropagation; the other ratios to the same, None: not possible."""

    plain: CostRow
    recomputed: float | None
    bfloat16: float
    both: float | None


def memories(
    backbone: Backbone, modules: int, batch_size: int, names: Sequence[str] = MEMORY_ROWS
) -> Iterator[Memories]:
    """The rows ``names``. Four counts each, of about a second. Raises LocalgradError for an unknown name."""
    for name in names:
        if name not in MEMORY_ROWS:
            raise LocalgradError(f"memory of every method: there is no row {name!r}. {nearest(name, MEMORY_ROWS)}")
    whole = memory(network_for(backbone, "backprop", modules), batch_size).peak
    for name in names:
        make = InBackward(sgd_nesterov) if name == IN_BACKWARD else None
        method = "backprop" if name == IN_BACKWARD else name
        net = network_for(backbone, method, modules)
        (plain,) = cost_table({name: net}, batch_size, optimizer=make)
        half = memory(net, batch_size, precision="bfloat16", optimizer=make).peak
        recomputed, both = None, None
        if name not in OWN_RECOMPUTATION:
            again = network_for(backbone, method, modules, recompute=True)
            recomputed = memory(again, batch_size, optimizer=make).peak / whole
            both = memory(again, batch_size, precision="bfloat16", optimizer=make).peak / whole
        yield Memories(CostRow(**{**vars(plain), "ratio": plain.peak / whole}), recomputed, half / whole, both)
