"""The data that everything else is made from: blocks, Backbone, Span, Partition, Batch.

All of it is frozen. A block is a description until ``build()``; so an auxiliary network can be made from later blocks
with other channels or strides, and costs can be computed without allocating a network.

Shape legend, used everywhere: B batch, C channels, H height, W width, K classes.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from localgrad.errors import LocalgradError, located

Shape = tuple[int, ...]
"""Shape of one sample, without the batch axis: (C, H, W) for feature maps, (C,) for vectors."""


@runtime_checkable
class Block(Protocol):
    """An indivisible layer of a network: what the papers count as one layer (a residual block, a conv+BN+ReLU)."""

    def build(self) -> nn.Module:
        """A new module with fresh weights (a wrapped foreign module: the module itself)."""
        ...

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "Block":
        """The same kind of block for another input, for use inside an auxiliary network."""
        ...

    def shape(self, shape: Shape) -> Shape:
        """Shape of the output of one sample, given the shape of its input."""
        ...


@runtime_checkable
class GroupableBlock(Block, Protocol):
    """A block whose output channels can be made by several neuron groups, each with weights of its own (GN-DGL)."""

    def group(self, in_channels: int, start: int, stop: int) -> Block:
        """The block of one group: it makes output channels ``start`` to ``stop`` (exclusive) only.

        It reads ``in_channels``: all that the block reads, or those that the group itself made in the block before.
        """
        ...


@runtime_checkable
class FusableBlock(Block, Protocol):
    """A block whose neuron groups, all of the same size, can run as one block of grouped convolutions."""

    def fused(self, groups: int, *, reads_all: bool) -> Block:
        """All groups of the block as one: ``reads_all`` says whether each reads the whole input or its own channels.

        Its parameters and buffers are those of the groups, concatenated along the first axis.
        """
        ...


@runtime_checkable
class AdaptableBlock(Block, Protocol):
    """A block of a foreign network: its features may have channels on any axis, and it can follow any other block."""

    @property
    def out_axis(self) -> int:
        """Axis of the channels in the output of one sample: 0 in (C, H, W), 1 in tokens (N, C), 2 in (H, W, C)."""
        ...

    def behind(self, shape: Shape, axis: int = 0) -> "AdaptableBlock":
        """The same kind of block, fresh weights, for features of ``shape`` with channels on ``axis``."""
        ...


Drawing = Callable[[], AbstractContextManager[object]]
"""A context in which random numbers are those of one unit's step."""


@runtime_checkable
class JoinableBlock(Block, Protocol):
    """A block whose neuron groups can run as one module, also when their sizes differ or each draws numbers."""

    def joined(self, sizes: tuple[int, ...], *, reads_all: bool) -> nn.Module:
        """All groups of the block, which make ``sizes`` channels: called with the input and a Drawing per group.

        ``reads_all`` says whether each group reads the whole input or, all of one size then, its own channels.
        Parameters and buffers are those of the groups, concatenated along the first axis.
        """
        ...


class AuxSpec(Protocol):
    """Description of an auxiliary network. Its module maps h_BCHW to logits_BK or to a dict of named tensors."""

    def build(self) -> nn.Module:
        """A new module with fresh weights."""
        ...


Initialiser = Callable[[nn.Module], None]
"""Draws all weights of a freshly built module, in place, from the global random state."""


@dataclass(frozen=True)
class Source:
    """The foreign network whose modules the blocks of a Backbone use in place.

    ``crossings`` say where no border can be, and which values cross there.
    """

    module: nn.Module
    crossings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Backbone:
    """A network as an ordered list of named blocks and a head.

    ``constructor`` (a function of ``localgrad.backbones``) and ``arguments`` are enough to make the same network again.
    ``block_names`` are dotted paths; the built network is a nested ``nn.Sequential`` under these names. With a
    ``source`` the network is that module itself: it keeps its weights and names, and only auxnets are initialised.
    ``halve_on`` is for auxiliary networks made from later blocks: these halve their maps as often as the blocks they
    copy lie behind halvings of the network's own ("size"), or wherever the width changes ("width", VGGs).
    ``head_widths`` are what heads of convolutions take for the widths of the stages, from the largest map on, in
    networks whose layers widen inside a stage (DenseNets); () where a stage's layers have one width.
    ``initialise_aux`` draws the weights of auxiliary networks where that differs from ``initialise``.
    ``changed_from`` is the Backbone that this one was made from, when a method gave it another head or had spans of it
    made by neuron groups; ``grouped_spans`` are then those with groups.
    """

    name: str
    arguments: tuple[tuple[str, object], ...]
    blocks: tuple[Block, ...]
    block_names: tuple[str, ...]
    head: Block
    head_name: str
    num_classes: int
    image: Shape
    initialise: Initialiser
    source: Source | None = None
    constructor: str | None = None
    halve_on: Literal["size", "width"] = "size"
    head_widths: tuple[int, ...] = ()
    initialise_aux: Initialiser | None = None
    changed_from: "Backbone | None" = None
    grouped_spans: tuple["Span", ...] = ()

    def shapes(self, image: Shape | None = None) -> tuple[Shape, ...]:
        """Shape of one sample after every block."""
        shape, shapes = image or self.image, []
        for name, block in zip(self.block_names, self.blocks, strict=True):
            shape = shape_behind(block, shape, f"{self.name}: block {name!r}")
            shapes.append(shape)
        return tuple(shapes)

    def channel_axes(self) -> tuple[int, ...]:
        """Which axis of one sample holds the channels after every block: 0, but for some blocks of foreign networks."""
        return tuple(block.out_axis if isinstance(block, AdaptableBlock) else 0 for block in self.blocks)

    def facts(self) -> dict[str, object]:
        """Constructor facts as plain data, and what was changed since: the groups, the head."""
        facts: dict[str, object] = {"name": self.name, "constructor": self.constructor, **dict(self.arguments)}
        if self.grouped_spans:
            facts["grouped_spans"] = [[span.start, span.stop, list(span.groups)] for span in self.grouped_spans]
        if self.changed_from is not None and self.head != self.changed_from.head:
            facts["changed_head"] = self.head
        return facts


@dataclass(frozen=True)
class Span:
    """Blocks ``start`` to ``stop`` (exclusive) of a backbone; may be empty.

    ``groups`` are the channel counts, at the end of the span, of the neuron groups that it is cut into; the widths
    inside the span are cut in the same proportion. ``()`` is one group of all channels.
    """

    start: int
    stop: int
    groups: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Partition:
    """Where a backbone is cut: consecutive spans that cover all of its blocks. ``origin`` says how it was made."""

    spans: tuple[Span, ...]
    origin: str = "explicit"

    def __len__(self) -> int:
        return len(self.spans)


@dataclass(frozen=True)
class Batch:
    """One mini-batch and where it stands in the run.

    ``x`` is what the network reads. ``y`` are class indices (int64, B) or None. ``image`` is x in [0, 1] before
    normalisation, for decoders. ``views`` are 2B rows, the two views of a sample adjacent. ``pair_similarity`` is given
    by methods that select pairs. ``step`` counts mini-batches from 0 over the whole run; None: the runtime counts.
    """

    x: Tensor
    y: Tensor | None = None
    image: Tensor | None = None
    views: Tensor | None = None
    pair_similarity: Tensor | None = None
    step: int | None = None
    epoch: int = 0


def shape_behind(block: Block, shape: Shape, where: str) -> Shape:
    """The block's output shape; an error, such as for an image too small, begins with ``where``: network and block."""
    with located(where):
        return block.shape(shape)


def chain(paths: Sequence[str], modules: Sequence[nn.Module]) -> nn.Sequential:
    """Modules under dotted paths as nested ``nn.Sequential``s, applied in the order given."""
    root = nn.Sequential()
    for path, module in zip(paths, modules, strict=True):
        *parents, leaf = path.split(".")
        node = root
        for parent in parents:
            if parent not in node._modules:
                node.add_module(parent, nn.Sequential())
            elif parent != next(reversed(node._modules)):
                raise LocalgradError(f"block names: {path!r} comes after {parent!r} was left; keep it together.")
            child = node._modules[parent]
            assert isinstance(child, nn.Sequential)
            node = child
        node.add_module(leaf, module)
    return root
