"""End-to-end backpropagation, the baseline: one unit, one loss; and the same with recomputed activations."""

from dataclasses import dataclass
from math import ceil, sqrt
from typing import final

from localgrad.errors import LocalgradError
from localgrad.method import supervised_units
from localgrad.objective import UnitSpec
from localgrad.partition import Cut, EqualBlocks
from localgrad.recompute import Recompute
from localgrad.spec import AuxSpec, Backbone, Partition, Shape


def _whole_network(who: str, modules: int | None) -> Cut:
    if modules not in (None, 1):
        raise LocalgradError(f"{who} trains the whole network as one unit: leave modules out or give 1, got {modules}.")
    return EqualBlocks(1)


def _no_auxnet(unit: int, shape: Shape) -> AuxSpec:
    raise LocalgradError(
        f"backpropagation needs a partition of one span, got one that ends unit {unit} inside the network."
    )


@final
@dataclass(frozen=True)
class Backprop:
    """Cross-entropy at the output, the gradient of the whole network: what every method is compared with."""

    @property
    def needs(self) -> frozenset[str]:
        """Labels."""
        return frozenset({"y"})

    @property
    def reach(self) -> int:
        """One unit: there is only one."""
        return 1

    def cut(self, backbone: Backbone, modules: int | None) -> Cut:
        """One span. Raises LocalgradError for modules other than 1."""
        return _whole_network("Backprop", modules)

    def units(self, backbone: Backbone, partition: Partition) -> tuple[UnitSpec, ...]:
        """One unit that ends in the backbone's head."""
        return supervised_units(backbone, partition, _no_auxnet)


@final
@dataclass(frozen=True)
class Checkpointing:
    """Backpropagation that keeps only the inputs of ``segments`` segments and recomputes the rest (Chen et al. 2016).

    ``segments`` defaults to the square root of the number of blocks. The gradients are those of Backprop; BatchNorm
    statistics are updated once per batch and dropout draws the same masks in the second forward pass.
    """

    segments: int | None = None

    def __post_init__(self) -> None:
        if self.segments is not None and (type(self.segments) is not int or self.segments < 1):
            raise LocalgradError(
                f"Checkpointing: segments must be a whole number of at least 1, got {self.segments!r}."
            )

    @property
    def needs(self) -> frozenset[str]:
        """Labels."""
        return frozenset({"y"})

    @property
    def reach(self) -> int:
        """One unit: there is only one."""
        return 1

    def cut(self, backbone: Backbone, modules: int | None) -> Cut:
        """One span. Raises LocalgradError for modules other than 1."""
        return _whole_network("Checkpointing", modules)

    def units(self, backbone: Backbone, partition: Partition) -> tuple[UnitSpec, ...]:
        """One unit that ends in the backbone's head."""
        segments = self.segments or ceil(sqrt(len(backbone.blocks)))
        return supervised_units(backbone, partition, _no_auxnet, recompute=Recompute(segments))
