"""How much faster networks of local units train and run than one network end to end, as GN-DGL's tables have it.

Everything counts, the stem among it: so the published cells come out. The counter in the released code leaves the stem
and most of one block out (methods.md 12, row 20).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from localgrad.cost.macs import macs
from localgrad.network import LocalNetwork


@final
@dataclass(frozen=True)
class Speedup:
    """One cell: a network in the column ``name`` and the row ``nodes`` (K * G), and the MACs of its largest node.

    ``training`` is the MACs of end to end training by those of the largest node, forward passes only; ``inference``
    the MACs of the network without neuron groups by those of the network.
    """

    name: str
    nodes: int
    max_node: int
    training: float
    inference: float


@final
@dataclass(frozen=True)
class Speedups:
    """Cells of two tables, in any order; ``str`` prints both, three decimals, "-" where there is no network."""

    cells: tuple[Speedup, ...]

    def table(self, title: str, values: dict[tuple[int, str], float]) -> str:
        """One table: a row per number of nodes, a column per name."""
        names = list(dict.fromkeys(cell.name for cell in self.cells))
        widths = [max(len(name), 7) for name in names]
        lines = [title, "nodes  " + "  ".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True))]
        for nodes in sorted({cell.nodes for cell in self.cells}):
            row = [
                f"{values[nodes, name]:>{width}.3f}" if (nodes, name) in values else f"{'-':>{width}}"
                for name, width in zip(names, widths, strict=True)
            ]
            lines.append(f"{nodes:>5}  " + "  ".join(row))
        return "\n".join(lines)

    def __str__(self) -> str:
        """Training and inference."""
        training = {(cell.nodes, cell.name): cell.training for cell in self.cells}
        inference = {(cell.nodes, cell.name): cell.inference for cell in self.cells}
        return "\n\n".join(
            (
                self.table("speed-up of training, one worker per node (forward MACs, papers' count)", training),
                self.table("speed-up of inference (forward MACs, papers' count)", inference),
            )
        )


def speedups(nets: Iterable[tuple[str, LocalNetwork]]) -> Speedups:
    """Cells of (column, network) pairs; networks may be on the meta device, nothing is computed."""
    cells = []
    for name, net in nets:
        counted = macs(net)
        nodes = len(counted.nodes)
        cells.append(Speedup(name, nodes, counted.max_node, counted.speedup, counted.inference_speedup))
    return Speedups(tuple(cells))
