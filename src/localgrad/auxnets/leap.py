"""MLAAN's leap augmented module: copies of later blocks of the same network before the heads (methods.md 9.2)."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import final

from torch import Tensor, nn

from localgrad.errors import LocalgradError
from localgrad.spec import AuxSpec, Backbone, Block, Shape


@final
class LeapModule(nn.Module):
    """z <- trained_j(z) + averaged_j(z) for the first leaps, z <- trained_j(z) for the rest; then all heads on z."""

    def __init__(
        self, trained: Sequence[nn.Module], averaged: Sequence[nn.Module], heads: Mapping[str, nn.Module]
    ) -> None:
        super().__init__()
        self.trained = nn.ModuleList(trained)
        self.averaged = nn.ModuleList(averaged)
        self.heads = nn.ModuleDict(heads)

    def forward(self, h_BCHW: Tensor) -> dict[str, Tensor]:
        """Outputs of the heads by name."""
        z = h_BCHW
        for j, block in enumerate(self.trained):
            z = block(z) + self.averaged[j](z) if j < len(self.averaged) else block(z)
        return {name: head(z) for name, head in self.heads.items()}

    def stages(self) -> list[nn.Module]:
        """The same leap by leap, then the heads; for recomputation."""
        averaged = [*self.averaged, *[None] * (len(self.trained) - len(self.averaged))]
        return [*map(_LeapStage, self.trained, averaged), _Heads(self.heads)]


@final
class _LeapStage(nn.Module):
    """trained(z) + averaged(z), or trained(z) alone."""

    def __init__(self, trained: nn.Module, averaged: nn.Module | None) -> None:
        super().__init__()
        self.trained, self.averaged = trained, averaged

    def forward(self, z_BCHW: Tensor) -> Tensor:
        """One leap."""
        out: Tensor = self.trained(z_BCHW)
        return out if self.averaged is None else out + self.averaged(z_BCHW)


@final
class _Heads(nn.Module):
    """Every head on the same features."""

    def __init__(self, heads: nn.ModuleDict) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, z_BCHW: Tensor) -> dict[str, Tensor]:
        """Outputs of the heads by name."""
        return {name: head(z_BCHW) for name, head in self.heads.items()}


@final
@dataclass(frozen=True)
class Leap:
    """Copies of later ``blocks`` in sequence, then ``heads`` by name. Maps h_BCHW to a dict of the heads' outputs.

    Every block is there once as ``trained.j``. The first ``averaged`` of them are there a second time as
    ``averaged.j``, without a gradient of their own unless ``train_averaged``: what they follow, and that all copies
    start equal to the network's blocks, is said by ``objective.Follow``.
    """

    blocks: tuple[Block, ...]
    heads: tuple[tuple[str, AuxSpec], ...]
    averaged: int = 1
    train_averaged: bool = False

    def build(self) -> nn.Module:
        """A LeapModule."""
        # Copied, because a block of a foreign network builds the network's own module.
        trained = [copy.deepcopy(block.build()) for block in self.blocks]
        averaged = [copy.deepcopy(block.build()) for block in self.blocks[: self.averaged]]
        for part in averaged:
            part.requires_grad_(self.train_averaged)
        return LeapModule(trained, averaged, {name: head.build() for name, head in self.heads})


def leap_shape(backbone: Backbone, end: int, leaps: Sequence[int], who: str, read: Shape | None = None) -> Shape:
    """Shape (C, H, W) behind ``leaps`` (indices of blocks) when they follow block ``end`` directly.

    ``read`` is the shape of what they read, by default that of the block's output. Raises LocalgradError when a block
    does not fit the width or size that the one before it leaves.
    """
    names, shape = backbone.block_names, read or backbone.shapes()[end]
    before, axes = names[end], backbone.channel_axes()
    for leap in leaps:
        made, axis = (backbone.shapes()[leap - 1], axes[leap - 1]) if leap else (backbone.image, 0)
        if len(shape) != len(made) or shape[axis] != made[axis]:
            raise LocalgradError(
                f"{who}: a leap from {before!r} to {names[leap]!r} cannot be: {before!r} gives {tuple(shape)}, and "
                f"{names[leap]!r} reads {made[axis]} channels. Put the blocks between them that change the width into "
                "the list, or leap to blocks of the same width."
            )
        shape, before = backbone.blocks[leap].shape(shape), names[leap]
    return shape


def default_leaps(backbone: Backbone, end: int) -> tuple[int, ...]:
    """Early, middle and deep blocks behind block ``end`` that fit each other as they are; empty behind the last one.

    Only blocks that leave feature maps or tokens, up to the first that does not.
    All later blocks that change the shape, because what comes after needs them; of the blocks behind the last of these,
    the middle and the last one, and where there is none that changes the shape, the first one too. On ResNet-32 it
    gives the paper's lists in stages 1 and 3, but for a (3, 2) in place of a (3, 3).
    """
    shapes = backbone.shapes()
    later = list(takewhile(lambda index: len(shapes[index]) > 1, range(end + 1, len(shapes))))
    changing = [index for index in later if shapes[index] != shapes[index - 1]]
    deep = [index for index in later if index > max(changing, default=end)]
    if not deep:
        return tuple(changing)
    chosen = {deep[(len(deep) - 1) // 2], deep[-1]} | (set() if changing else {deep[0]})
    return (*changing, *sorted(chosen))
