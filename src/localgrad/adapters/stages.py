"""The feature maps of a trained network, stage by stage: what detectors and other models build on.

A *stage* is the run of blocks whose outputs have one size; its map is that of its last block. Legend: B batch,
C channels, H height, W width.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from localgrad.backbones.module import wrap
from localgrad.backbones.wrapped import WrappedBlock
from localgrad.errors import LocalgradError, located, there_are
from localgrad.network import LocalNetwork
from localgrad.spec import Backbone, Shape


@final
@dataclass(frozen=True)
class Stage:
    """``name`` is the path of its last block, ``block`` the place of that block, from 0, among all blocks.

    ``reduction`` is the height of the image over that of the map, rounded; ``channels_last`` says that the block gives
    (H, W, C), as Swin's do: its map is shown as (C, H, W) all the same.
    """

    name: str
    channels: int
    reduction: int
    block: int
    channels_last: bool = False


@final
class StageMaps(nn.Module):
    """A network's own modules up to its last stage; ``forward`` gives the maps_BCHW of the stages asked for, in order.

    ``stages`` are all that the network has, ``kept`` the places of those that are given. Keys of ``state_dict`` are the
    network's own behind ``model.``; layers with weights behind the last stage asked for are gone. Norms that are
    ``frozen`` keep their statistics in training mode.
    """

    model: nn.Module
    blocks: list[nn.Module]
    wrapped: list[WrappedBlock]

    def __init__(self, model: nn.Module, backbone: Backbone, stages: Sequence[Stage], kept: Sequence[int]) -> None:
        super().__init__()
        self.stages = tuple(stages)
        self.kept = tuple(kept)
        last = stages[kept[-1]].block
        self.model = model
        own = backbone.source is None
        blocks = [
            model.get_submodule(name) if own else block.build()
            for name, block in zip(backbone.block_names[: last + 1], backbone.blocks, strict=False)
        ]
        # Set past nn.Module's registration: the blocks are views of the model's modules.
        self.__dict__["blocks"] = blocks
        used = backbone.blocks[: last + 1]
        self.__dict__["wrapped"] = [block for block in used if isinstance(block, WrappedBlock)]
        self.overwritten = (*(isinstance(block, WrappedBlock) and block.writes for block in used[1:]), False)
        self.frozen: tuple[_BatchNorm, ...] = ()
        _drop_unused(model, blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        """maps_BCHW of the kept stages for images x_BCHW."""
        ends = {self.stages[index].block: self.stages[index] for index in self.kept}
        maps, h = [], x
        for place, block in enumerate(self.blocks):
            h = block(h)
            stage = ends.get(place)
            if stage is not None:
                shown = h.permute(0, 3, 1, 2) if stage.channels_last else h
                # The next block may write into its input.
                maps.append(shown.clone() if self.overwritten[place] else shown)
        return maps

    def freeze(self, trained: int | None, batchnorm: bool) -> None:
        """Train the last ``trained`` of the kept stages only (None: all), and freeze norms where ``batchnorm`` says."""
        starts = [0, *(self.stages[index].block + 1 for index in self.kept)]
        first = 0 if trained is None else starts[len(self.kept) - trained]
        for block in self.blocks[:first]:
            block.requires_grad_(False)
        still = self.blocks if batchnorm else self.blocks[:first]
        norms = {id(one): one for block in still for one in block.modules() if isinstance(one, _BatchNorm)}
        self.frozen = tuple(norms.values())
        for norm in self.frozen:
            norm.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "StageMaps":
        """Set the mode of all but the frozen norms."""
        super().train(mode)
        for block in self.blocks:
            block.train(mode)
        for norm in self.frozen:
            norm.eval()
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "StageMaps":
        """What ``to`` and its kin do; blocks follow where a foreign network's tensors were replaced."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for block in self.wrapped:
            block.relink(self.model)
        return self


def stage_maps(
    who: str,
    model: LocalNetwork | nn.Module,
    example: Tensor | None,
    choose: Callable[[Sequence[Stage]], Sequence[int]],
    *,
    cuts: Sequence[str],
    trained: int | None,
    freeze_batchnorm: bool,
) -> StageMaps:
    """StageMaps of a copy of ``model``: what localize gave, or any network with an ``example`` batch to be traced with.

    ``choose`` gives the places of the stages wanted, in order. ``cuts`` are submodules that a block ends behind in any
    case. Raises LocalgradError, which begins with ``who``, when
    the network cannot be looked into, has no feature maps, or has no such stages.
    """
    copied, backbone = _copied(who, model, example, cuts)
    stages = find_stages(who, backbone)
    kept = choose(stages)
    if trained is not None and not 0 <= trained <= len(kept):
        raise LocalgradError(f"{who}: trained must be from 0 to {len(kept)}, the number of stages, got {trained}.")
    made = StageMaps(copied, backbone, stages, kept)
    made.freeze(trained, freeze_batchnorm)
    return made


def _copied(who: str, model: object, example: Tensor | None, cuts: Sequence[str]) -> tuple[nn.Module, Backbone]:
    if isinstance(model, LocalNetwork):
        if example is not None:
            raise LocalgradError(f"{who}: {model.backbone.name} knows its images: leave example out.")
        if model.backbone.source is None:
            if cuts:
                raise LocalgradError(f"{who}: {model.backbone.name} is made of blocks already: leave cuts out.")
            return model.export(), model.backbone
        example = torch.zeros(1, *model.backbone.image)
        model = model.model
    if not isinstance(model, nn.Module):
        raise LocalgradError(
            f"{who}: model must be a network, such as what localize or localgrad.load gives, got "
            f"{type(model).__name__}."
        )
    if example is None:
        raise LocalgradError(
            f"{who}: {type(model).__name__} is an nn.Module, so it needs an example batch to be traced with: "
            "example=torch.zeros(1, 3, 224, 224)."
        )
    copied = copy.deepcopy(model)
    with located(who):
        return copied, wrap(copied, example, cuts)


def find_stages(who: str, backbone: Backbone) -> tuple[Stage, ...]:
    """The stages of a network. Raises LocalgradError for networks of tokens and of vectors."""
    shapes, names = list(backbone.shapes()), backbone.block_names
    while shapes and len(shapes[-1]) == 1:
        shapes.pop()  # layers behind the flattening, as VGGs have
    odd = next((place for place, shape in enumerate(shapes) if len(shape) != 3), None)
    if not shapes or odd is not None:
        place = 0 if odd is None else odd
        told = f"the output of {names[place]!r} has the shape {backbone.shapes()[place]} per image"
        raise LocalgradError(
            f"{who}: {backbone.name} has no feature maps (C, H, W): {told}. "
            "Take a convolutional network, such as a ResNet."
        )
    stages: list[Stage] = []
    axes = backbone.channel_axes()
    for place, shape in enumerate(shapes):
        last_axis = axes[place] == 2
        height = shape[0] if last_axis else shape[1]
        reduction = max(1, round(backbone.image[1] / height))
        if stages and stages[-1].reduction > reduction:
            raise LocalgradError(
                f"{who}: the maps of {backbone.name} grow again behind {stages[-1].name!r}, from reduction "
                f"{stages[-1].reduction} to {reduction} at {names[place]!r}: stages must get smaller."
            )
        if stages and stages[-1].reduction == reduction:
            stages.pop()
        stages.append(Stage(names[place], _channels(shape, last_axis), reduction, place, last_axis))
    return tuple(stages)


def named_stages(who: str, stages: Sequence[Stage], wanted: Sequence[str]) -> list[int]:
    """Places of stages by name, which may be a part of the path (``layer2`` for ``layer2.3``), in their order."""
    found = []
    for name in wanted:
        fitting = [i for i, one in enumerate(stages) if one.name == name or one.name.startswith(f"{name}.")]
        if len(fitting) != 1:
            raise LocalgradError(
                f"{who}: {name!r} names {len(fitting)} stages. {there_are(one.name for one in stages)}"
            )
        found += fitting
    if not found or found != sorted(set(found)):
        raise LocalgradError(
            f"{who}: expected one or more different stages in their order, got {list(wanted)}. "
            f"{there_are(one.name for one in stages)}"
        )
    return found


def _channels(shape: Shape, last_axis: bool) -> int:
    return shape[2] if last_axis else shape[0]


def _drop_unused(model: nn.Module, blocks: Sequence[nn.Module]) -> None:
    """Put an Identity in the place of every layer with weights that no block uses."""
    used = {id(tensor) for block in blocks for tensor in (*block.parameters(), *block.buffers())}
    for path, layer in list(model.named_modules()):
        own = [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
        if path and own and not any(id(tensor) in used for tensor in own):
            parent, _, name = path.rpartition(".")
            model.get_submodule(parent)._modules[name] = nn.Identity()
