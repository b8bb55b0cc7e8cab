"""AugLocal (Ma, Wu, Si, Tan 2024, "Scaling supervised local learning with augmented auxiliary networks", ICLR).

The auxiliary network of a unit has the architecture of a few later layers, chosen uniformly, and a classifier like the
network's own; its depth shrinks along the network (pyramid).
"""

from dataclasses import dataclass
from typing import Literal, assert_never, final, get_args

import torch

from localgrad.auxnets import Truncated, closest_width, pyramid_depths, resample, sequential, uniform
from localgrad.blocks import ConvBNReLU, PooledLinear
from localgrad.count import count_macs
from localgrad.errors import LocalgradError, nearest
from localgrad.method import supervised_units
from localgrad.partition import Cut, PaperTable
from localgrad.spec import AuxSpec, Backbone, Block, Partition, Shape, Span
from localgrad.unit import UnitSpec

Selection = Literal["uniform", "sequential", "repetitive", "conv1x1", "conv3x3"]
"""Where the layers of an auxiliary network come from (table 5): spread over the later layers, the next ones, copies of
the unit's own last layer, or plain convolutions as wide as uniform's multiply-accumulates allow."""

Tail = Literal["joint", "strict"]
"""Whether the last ``depth`` modules train jointly with the classifier, as the CIFAR code does and the reported FLOPs
require, or every module is local, as the paper's text and the ImageNet code have it."""


@final
@dataclass(frozen=True)
class AugLocal:
    """Cross-entropy through ``depth - 1`` copied later layers and a classifier, per unit.

    ``depth`` is the paper's d: it counts the classifier (released code: aux_net_depth + 1). ``tau`` is the pyramid's
    slope; 0 switches it off. ``head_bn`` puts a BatchNorm before the classifier: "auto" where one layer is copied, as
    the CIFAR code does; False never, True always. With ``tail="joint"`` K modules become K - depth + 1 units. Raises
    LocalgradError for a depth below 2, tau outside [0, 1] and unknown words.
    """

    depth: int = 6
    tau: float = 0.5
    selection: Selection = "uniform"
    tail: Tail = "joint"
    head_bn: bool | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        if type(self.depth) is not int or self.depth < 2:
            raise LocalgradError(
                f"AugLocal: depth counts the classifier and must be a whole number of at least 2 (one layer and it), "
                f"got {self.depth!r}."
            )
        if not 0 <= self.tau <= 1:
            raise LocalgradError(f"AugLocal: tau must be between 0 (no pyramid) and 1, got {self.tau}.")
        for name, choices in (("selection", get_args(Selection)), ("tail", get_args(Tail))):
            word = getattr(self, name)
            if word not in choices:
                raise LocalgradError(f"AugLocal: {name} {word!r} is unknown. {nearest(str(word), choices)}")
        if self.head_bn not in (True, False, "auto"):
            raise LocalgradError(f"AugLocal: head_bn must be True, False or 'auto', got {self.head_bn!r}.")

    @property
    def needs(self) -> frozenset[str]:
        """Labels."""
        return frozenset({"y"})

    @property
    def reach(self) -> int:
        """Each loss updates its own unit."""
        return 1

    def cut(self, backbone: Backbone, modules: int | None) -> Cut:
        """The papers' table for ``modules``; one module per block by default."""
        return PaperTable(len(backbone.blocks) if modules is None else modules)

    def units(self, backbone: Backbone, partition: Partition) -> tuple[UnitSpec, ...]:
        """One unit per span, the joint tail merged. Raises LocalgradError when the tail swallows every span."""
        if backbone.source is not None and len(partition) > 1:
            raise LocalgradError(
                f"AugLocal makes its auxiliary networks from later blocks, and {backbone.name} is a foreign network "
                "whose blocks are used in place and cannot be rebuilt. Take DGL(max_hidden=1024), or a backbone of "
                "localgrad.backbones."
            )
        partition = self.join_tail(partition)
        depths = pyramid_depths(len(partition), self.depth - 1, self.tau)

        def aux_for(unit: int, shape: Shape) -> AuxSpec:
            return self.auxnet(backbone, partition.spans[unit].stop - 1, shape, depths[unit])

        return supervised_units(backbone, partition, aux_for)

    def join_tail(self, partition: Partition) -> Partition:
        """The partition with its last ``depth`` spans merged, if the tail is joint."""
        modules = len(partition)
        if self.tail == "strict" or modules == 1:
            return partition
        if self.depth >= modules:
            raise LocalgradError(
                f"AugLocal(depth={self.depth}, tail='joint') trains the last {self.depth} modules jointly, so "
                f"modules={modules} leaves no local unit. Take depth below {modules}, more modules, tail='strict', or "
                "modules=1 for backpropagation."
            )
        *local, first = partition.spans[: modules - self.depth + 1]
        tail = Span(first.start, partition.spans[-1].stop, first.groups)
        return Partition((*local, tail), f"{partition.origin}, joint tail of {self.depth}")

    def auxnet(self, backbone: Backbone, layer: int, shape: Shape, depth: int) -> AuxSpec:
        """The auxiliary network of ``depth`` layers after block ``layer``, whose output has ``shape`` (C, H, W)."""
        blocks = self._blocks(backbone, layer, shape, depth)
        for block in blocks:
            shape = block.shape(shape)
        head_bn = depth <= 1 if self.head_bn == "auto" else self.head_bn
        return Truncated(blocks, PooledLinear(shape[0], backbone.num_classes, head_bn))

    def _blocks(self, backbone: Backbone, layer: int, shape: Shape, depth: int) -> tuple[Block, ...]:
        match self.selection:
            case "uniform":
                return self._copies(backbone, uniform(layer, len(backbone.blocks), depth), shape)
            case "sequential":
                return self._copies(backbone, sequential(layer, len(backbone.blocks), depth), shape)
            case "repetitive":
                own = backbone.blocks[layer].rebuild(in_channels=shape[0], stride=1)
                return (own,) * depth
            case "conv1x1":
                return self._convolutions(backbone, layer, shape, depth, kernel=1)
            case "conv3x3":
                return self._convolutions(backbone, layer, shape, depth, kernel=3)
            case _:
                assert_never(self.selection)

    @staticmethod
    def _copies(backbone: Backbone, layers: tuple[int, ...], shape: Shape) -> tuple[Block, ...]:
        shapes = backbone.shapes()
        return resample([backbone.blocks[i] for i in layers], [shapes[i][0] for i in layers], shape)

    def _convolutions(self, backbone: Backbone, layer: int, shape: Shape, depth: int, kernel: int) -> tuple[Block, ...]:
        """A stack as deep as uniform's auxiliary network and as wide as its convolution MACs allow.

        The paper says that channels are enlarged to match and gives no factor (methods.md 13): it is solved for here.
        """
        with torch.device("meta"):
            copies = self._copies(backbone, uniform(layer, len(backbone.blocks), depth), shape)
            uniform_net = Truncated(copies, PooledLinear(backbone.shapes()[-1][0], backbone.num_classes)).build()
        counts, _ = count_macs(uniform_net, shape)
        channels, positions = shape[0], shape[1] * shape[2]
        depth = len(copies)
        if depth == 0:
            return ()

        def macs(width: int) -> int:
            return positions * kernel**2 * (channels * width + (depth - 1) * width**2) + width * backbone.num_classes

        width = closest_width(macs, counts["conv"] + counts["linear"])
        return (ConvBNReLU(channels, width, kernel), *(ConvBNReLU(width, width, kernel),) * (depth - 1))
