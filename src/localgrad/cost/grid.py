"""MACs of training one network for a grid of choices, such as depth and pyramid of AugLocal (its table 11)."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar, final

import torch

from localgrad.count import forward_macs
from localgrad.errors import LocalgradError
from localgrad.objective import UnitSpec
from localgrad.spec import AuxSpec, Backbone, Block, Shape

R = TypeVar("R")
C = TypeVar("C")


@final
@dataclass(frozen=True)
class MacsGrid:
    """Forward MACs per image of a network and its auxiliary networks: ``macs[i][j]`` for row i and column j."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    macs: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        """A table in units of 1e9."""
        width = max(map(len, self.rows))
        cells = [[f"{value / 1e9:.3f}" for value in row] for row in self.macs]
        column = max(len(text) for text in (*self.columns, *(cell for row in cells for cell in row)))
        head = f"{'':{width}}  " + "  ".join(f"{name:>{column}}" for name in self.columns)
        body = (
            f"{name:{width}}  " + "  ".join(f"{cell:>{column}}" for cell in row)
            for name, row in zip(self.rows, cells, strict=True)
        )
        return "\n".join((head, *body))


def macs_grid(
    backbone: Backbone,
    units: Callable[[R, C], Sequence[UnitSpec]],
    rows: Sequence[R],
    columns: Sequence[C],
    *,
    objectives: Collection[str] | None = None,
) -> MacsGrid:
    """MACs of ``units(row, column)`` on ``backbone`` for all rows and columns. Nothing is computed or allocated.

    Counted are convolutions, linear layers, BatchNorm (2 per element) and adaptive pooling of one image's forward pass,
    the convention of AugLocal's tables 7 and 11 (methods.md 11.5). These leave out decoders, which do not run in
    evaluation mode: ``objectives=("task",)`` does so too, None counts the auxiliary networks of all objectives.
    Raises LocalgradError for units with neuron groups, whose bodies are not the backbone's.
    """
    known: dict[tuple[AuxSpec | Block, Shape], int] = {}

    def macs(spec: AuxSpec | Block, shape: Shape) -> int:
        if (spec, shape) not in known:
            with torch.device("meta"):
                module = spec.build()
            counts, _ = forward_macs(module, shape)
            known[spec, shape] = sum(counts[kind] for kind in ("conv", "linear", "norm", "pool"))
        return known[spec, shape]

    shapes = backbone.shapes()
    blocks = (*backbone.blocks, backbone.head)
    network = sum(macs(block, shape) for block, shape in zip(blocks, (backbone.image, *shapes), strict=True))

    def total(specs: Sequence[UnitSpec]) -> int:
        if any(unit.span.groups for unit in specs):
            raise LocalgradError("macs_grid: units with neuron groups are counted by cost.macs(net).")
        sums = network
        for unit in specs:
            used = [part for part in unit.objectives if objectives is None or part.name in objectives]
            # Objectives that hold the same object share one module; the backbone's head is counted with the network.
            auxnets = {id(part.aux): part.aux for part in used if part.aux is not backbone.head}
            sums += sum(macs(aux, shapes[unit.span.stop - 1]) for aux in auxnets.values())
        return sums

    values = tuple(tuple(total(units(row, column)) for column in columns) for row in rows)
    return MacsGrid(tuple(map(str, rows)), tuple(map(str, columns)), values)
