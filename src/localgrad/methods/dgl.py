"""Decoupled Greedy Learning (Belilovsky, Eickenberg, Oyallon 2020, arXiv 1901.08164): a small classifier per unit."""

from dataclasses import dataclass, replace
from math import ceil
from typing import Literal, assert_never, final, get_args

from localgrad.auxnets import (
    CnnHead,
    ConvFC,
    MlpSR,
    PooledFirst,
    Truncated,
    VectorMLP,
    conv_stack,
    pooled_first,
    pooled_shape,
    widened,
)
from localgrad.blocks import PooledLinear
from localgrad.errors import LocalgradError, nearest
from localgrad.losses import BoundedCrossEntropy
from localgrad.method import Method, supervised_units
from localgrad.methods.heads import check_map, xcyf_head
from localgrad.methods.matching import Reference, enlarged, reference
from localgrad.methods.options import check_aux_pool, check_effect, check_match
from localgrad.objective import UnitSpec
from localgrad.partition import Cut, PaperTable
from localgrad.spec import AuxSpec, Backbone, Partition, Shape

Head = Literal[
    "mlp-sr", "mlp", "cnn", "auglocal", "0c1f", "0c2f", "1c1f", "1c2f", "1c3f", "2c2f",
    "gndgl-1c1f", "gndgl-1c2f", "gndgl-1c3f", "gndgl-2c2f", "3x3",
]  # fmt: skip
"""Auxiliary networks that papers call DGL:

``mlp-sr``, ``mlp``, ``cnn`` are those of DGL's own code; ``auglocal`` is MLP-SR as AugLocal re-implements it (two
hidden layers without bias); ``XcYf`` are the convolutional heads of InfoPro's code, ``gndgl-XcYf`` the same with
GN-DGL's widths. ``3x3`` is AugLocal's DGL of equal FLOPs (table 9): plain 3x3 convolutions, as many as the auxiliary
networks of ``match`` have layers, as wide as their multiply-accumulates allow.
"""

HEADS_WITH = {
    "mlp_hidden": ("mlp-sr", "mlp"),
    "max_hidden": ("mlp-sr", "mlp", "auglocal"),
    "widen": tuple(head for head in get_args(Head) if head.endswith("f") and head != "0c1f"),
    # The others average over large parts of the map before anything else.
    "aux_pool": tuple(head for head in get_args(Head) if head not in ("mlp", "0c1f", "0c2f")),
}
"""Options of single heads."""


@final
@dataclass(frozen=True)
class DGL:
    """Each unit and its auxiliary classifier learn by cross-entropy on detached input (Algorithm 1).

    ``head`` is the auxiliary network, by default the MLP-SR of the official code. ``mlp_hidden`` is the number of
    hidden layers of "mlp-sr" and "mlp" (None: the official code's 3; "auglocal" has 2), ``max_hidden`` bounds their
    width, which the paper has at 4 times the channels. ``widen`` multiplies the widths of the XcYf heads.
    ``match`` is a method whose auxiliary networks the heads shall cost as much as, on its units:
    ``DGL(head="3x3", match=AugLocal(depth=6))``; it widens "3x3" and XcYf heads with convolutions.
    ``least_probability`` is what the loss takes a true class's probability to be at least: a sample below gives no
    gradient (0: plain cross-entropy; the asynchronous experiments of the released code have 1e-5, methods.md 3).
    ``aux_pool`` averages p x p features before the head where the map is larger than 8x8 (``auxnets.PooledFirst``).
    Raises LocalgradError for a head that is unknown or cannot be widened, for "3x3" without ``match``, and for options
    that the head does not have.
    """

    head: Head = "mlp-sr"
    mlp_hidden: int | None = None
    max_hidden: int | None = None
    widen: int = 1
    match: Method | None = None
    least_probability: float = 0.0
    aux_pool: int = 1

    def __post_init__(self) -> None:
        if self.head not in get_args(Head):
            raise LocalgradError(f"DGL: head {self.head!r} is unknown. {nearest(str(self.head), get_args(Head))}")
        for name in ("mlp_hidden", "max_hidden", "widen"):
            value = getattr(self, name)
            if (type(value) is not int or value < 1) and not (name != "widen" and value is None):
                raise LocalgradError(f"DGL: {name} must be a whole number of at least 1, got {value!r}.")
        check_match("DGL", self.match)
        check_aux_pool(self)
        least = self.least_probability
        if type(least) not in (int, float) or not 0 <= least < 1:
            raise LocalgradError(f"DGL: least_probability must be a number of at least 0 and below 1, got {least!r}.")
        unused = [name for name, heads in HEADS_WITH.items() if self.head not in heads]
        check_effect(self, unused, f"with head={self.head!r}")
        if self.match is not None:
            check_effect(self, ["widen"], "with match, which decides the width")
        if self.head == "3x3" and self.match is None:
            raise LocalgradError(
                "DGL: head '3x3' is as deep and as expensive as the auxiliary networks of another method. Say of "
                "which: match=AugLocal(depth=6)."
            )
        if self.match is not None and self.head != "3x3" and self.head.removeprefix("gndgl-")[:2] not in ("1c", "2c"):
            raise LocalgradError(
                f"DGL: match widens '3x3' and heads with convolutions such as '1c2f', got head={self.head!r}."
            )

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
        units = self._units(backbone, partition)
        if not self.least_probability:
            return units
        loss = BoundedCrossEntropy(self.least_probability)
        return tuple(replace(unit, objectives=(replace(unit.objectives[0], loss=loss),)) for unit in units)

    def _units(self, backbone: Backbone, partition: Partition) -> tuple[UnitSpec, ...]:
        if self.match is None or len(partition) == 1:
            return supervised_units(backbone, partition, lambda _, shape: self.auxnet(backbone, shape))
        compared = reference(self.match, backbone, partition)
        heads = self._matched(backbone, compared)
        return supervised_units(backbone, compared.partition, lambda unit, _: heads[unit])

    def _matched(self, backbone: Backbone, compared: Reference) -> tuple[AuxSpec, ...]:
        """Auxiliary networks that cost what those of ``match`` cost."""
        if self.head != "3x3":
            plain = replace(self, match=None, aux_pool=1)

            def make(shape: Shape, width: int) -> AuxSpec:
                head = plain.auxnet(backbone, shape)
                assert isinstance(head, ConvFC)  # the only heads that `match` is taken for
                return pooled_first(widened(head, width), shape, self.aux_pool)

            return enlarged(compared, make)
        stacks = []
        for theirs, shape, macs in zip(compared.auxnets, compared.shapes, compared.macs, strict=True):
            aux = theirs.aux if isinstance(theirs, PooledFirst) else theirs
            if not (isinstance(aux, Truncated) and isinstance(aux.head, PooledLinear)):
                raise LocalgradError(
                    "DGL: head '3x3' has as many layers as the auxiliary networks of match=AugLocal(depth=...), got "
                    f"match={self.match!r}."
                )
            small, norm = pooled_shape(shape, self.aux_pool), aux.head.batch_norm
            stack = conv_stack(small, backbone.num_classes, len(aux.blocks), 3, macs, batch_norm=norm)
            stacks.append(pooled_first(stack, shape, self.aux_pool))
        return tuple(stacks)

    def auxnet(self, backbone: Backbone, shape: Shape) -> AuxSpec:
        """The auxiliary classifier of a unit whose output has ``shape`` (C, H, W).

        A foreign network's tokens and vectors, seen as (C,), get the MLP alone (``auxnets.VectorMLP``).
        """
        if len(shape) == 1 and backbone.source is not None and self.head in HEADS_WITH["max_hidden"]:
            plain = self.head == "auglocal"
            hidden = 2 if plain else self.mlp_hidden or 3
            head = VectorMLP(shape[0], backbone.num_classes, hidden, self.max_hidden, hidden_bias=not plain)
            return pooled_first(head, shape, self.aux_pool)
        check_map(shape, "DGL", backbone)
        return pooled_first(self._classifier(backbone, shape), shape, self.aux_pool)

    def _classifier(self, backbone: Backbone, shape: Shape) -> AuxSpec:
        """The same without the average before it. XcYf heads are those of the stage, whatever they read."""
        channels, height, width = pooled_shape(shape, self.aux_pool)
        size, classes = (height, width), backbone.num_classes
        match self.head:
            case "mlp-sr":
                return MlpSR(channels, size, classes, hidden=self.mlp_hidden or 3, max_hidden=self.max_hidden)
            case "mlp":
                return MlpSR(channels, size, classes, convs=0, hidden=self.mlp_hidden or 3, max_hidden=self.max_hidden)
            case "auglocal":
                # The map's true size: AugLocal's code takes 28 for all layers of 512 channels (methods.md 12, row 39).
                pooled = (min(ceil(size[0] / 4), 2), min(ceil(size[1] / 4), 2))
                return MlpSR(
                    channels, size, classes, hidden=2, hidden_bias=False, pooled=pooled, max_hidden=self.max_hidden
                )
            case "cnn":
                return CnnHead(channels, classes)
            case "0c1f" | "0c2f" | "1c1f" | "1c2f" | "1c3f" | "2c2f":
                return xcyf_head(backbone, shape, classes, self.head, self.widen)
            case "gndgl-1c1f" | "gndgl-1c2f" | "gndgl-1c3f" | "gndgl-2c2f":
                convs, fcs = int(self.head[6]), int(self.head[8])
                return ConvFC(channels, classes, 2 * channels, 2, convs, fcs, 128 * self.widen)
            case "3x3":
                raise LocalgradError("DGL: head '3x3' is made for all units at once, by units().")
            case _:
                assert_never(self.head)
