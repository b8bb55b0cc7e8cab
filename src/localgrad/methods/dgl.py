"""Decoupled Greedy Learning (Belilovsky, Eickenberg, Oyallon 2020, arXiv 1901.08164): a small classifier per unit."""

from dataclasses import dataclass
from math import ceil
from typing import Literal, assert_never, final, get_args

from localgrad.auxnets import CnnHead, ConvFC, MlpSR
from localgrad.errors import LocalgradError, nearest
from localgrad.method import supervised_units
from localgrad.partition import Cut, PaperTable
from localgrad.spec import AuxSpec, Backbone, Partition, Shape
from localgrad.unit import UnitSpec

Head = Literal[
    "mlp-sr", "mlp", "cnn", "auglocal", "0c1f", "0c2f", "1c1f", "1c2f", "1c3f", "2c2f",
    "gndgl-1c1f", "gndgl-1c2f", "gndgl-1c3f", "gndgl-2c2f",
]  # fmt: skip
"""Auxiliary networks that papers call DGL:

``mlp-sr``, ``mlp``, ``cnn`` are those of DGL's own code; ``auglocal`` is MLP-SR as AugLocal re-implements it (two
hidden layers without bias); ``XcYf`` are the convolutional heads of InfoPro's code, ``gndgl-XcYf`` the same with
GN-DGL's widths.
"""


@final
@dataclass(frozen=True)
class DGL:
    """Each unit and its auxiliary classifier learn by cross-entropy on detached input (Algorithm 1).

    ``head`` is the auxiliary network, by default the MLP-SR of the official code. ``mlp_hidden`` is its number of
    hidden layers (official code 3; AugLocal's re-implementation, ``head="auglocal"``, has 2); ``max_hidden`` bounds
    their width, which the paper has at 4 times the channels. ``widen`` multiplies the widths of the XcYf heads.
    Raises LocalgradError for a head that is unknown.
    """

    head: Head = "mlp-sr"
    mlp_hidden: int = 3
    max_hidden: int | None = None
    widen: int = 1

    def __post_init__(self) -> None:
        if self.head not in get_args(Head):
            raise LocalgradError(f"DGL: head {self.head!r} is unknown. {nearest(str(self.head), get_args(Head))}")
        for name in ("mlp_hidden", "max_hidden", "widen"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise LocalgradError(f"DGL: {name} must be at least 1, got {value}.")

    @property
    def needs(self) -> frozenset[str]:
        """Labels."""
        return frozenset({"y"})

    @property
    def reach(self) -> int:
        """Each loss updates its own unit."""
        return 1

    def cut(self, backbone: Backbone, modules: int | None) -> Cut:
        """The papers' table for ``modules``; one unit per block by default."""
        return PaperTable(len(backbone.blocks) if modules is None else modules)

    def units(self, backbone: Backbone, partition: Partition) -> tuple[UnitSpec, ...]:
        """One unit per span; all but the last with an auxiliary classifier."""
        return supervised_units(backbone, partition, lambda _, shape: self.auxnet(backbone, shape))

    def auxnet(self, backbone: Backbone, shape: Shape) -> AuxSpec:
        """The auxiliary classifier of a unit whose output has ``shape`` (C, H, W)."""
        channels, size, classes = shape[0], (shape[1], shape[2]), backbone.num_classes
        match self.head:
            case "mlp-sr":
                return MlpSR(channels, size, classes, hidden=self.mlp_hidden, max_hidden=self.max_hidden)
            case "mlp":
                return MlpSR(channels, size, classes, convs=0, hidden=self.mlp_hidden, max_hidden=self.max_hidden)
            case "auglocal":
                pooled = (min(ceil(size[0] / 4), 2), min(ceil(size[1] / 4), 2))
                return MlpSR(
                    channels, size, classes, hidden=2, hidden_bias=False, pooled=pooled, max_hidden=self.max_hidden
                )
            case "cnn":
                return CnnHead(channels, classes)
            case "0c1f" | "0c2f" | "1c1f" | "1c2f" | "1c3f" | "2c2f":
                wider = [other[0] for other in backbone.shapes() if other[0] > channels]
                out, stride = (min(wider), 2) if wider else (channels, 1)
                return self._conv_fc(channels, classes, out * self.widen, stride, self.head)
            case "gndgl-1c1f" | "gndgl-1c2f" | "gndgl-1c3f" | "gndgl-2c2f":
                return self._conv_fc(channels, classes, 2 * channels, 2, self.head.removeprefix("gndgl-"))
            case _:
                assert_never(self.head)

    def _conv_fc(self, channels: int, classes: int, out: int, stride: int, family: str) -> ConvFC:
        return ConvFC(channels, classes, out, stride, int(family[0]), int(family[2]), 128 * self.widen)
