"""The neuron groups of a span as one grouped convolution per block, for groups that live on one device.

Parameters and buffers stay the groups' own: a block runs with their concatenation, which autograd takes apart again.
Fewer, larger kernels; results equal those of groups on their own to rounding. Where blocks drop parts of their input,
every group draws from the random stream of its own unit.
"""

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from localgrad.errors import LocalgradError
from localgrad.grouping import GroupedBlock, OneModule
from localgrad.network import LocalNetwork
from localgrad.unit import Terms, Work, spans


@final
class FusedSpan:
    """The blocks of a span for all of its groups at once: modules on the meta device, given weights with each call."""

    def __init__(self, blocks: Sequence[OneModule]) -> None:
        self.blocks = blocks

    def forward(self, works: Sequence[Work], h_in: Tensor) -> Tensor:
        """Run the bodies of all groups on the detached input, hand each its channels; returns all, with their graph."""
        h = h_in = h_in.detach()
        drawing = [work.drawing for work in works]
        with works[0].update.autocast(works[0].device):
            for index, block in enumerate(self.blocks):
                inputs = (h, drawing) if block.draws else (h,)
                h = call_joined(block.module, [work.unit.body[index] for work in works], inputs)
        for work, own in zip(works, torch.split(h, list(works[0].unit.span.groups), 1), strict=True):
            work.take(h_in, own)
        return h


def step_fused(span: FusedSpan, works: Sequence[Work], h_in: Tensor) -> tuple[Tensor, list[Terms]]:
    """One step of all groups of a span: the detached output of all, and the loss terms of each.

    One backward pass goes through the bodies, from the gradients that the losses of all groups have at their outputs.
    """
    h = span.forward(works, h_in)
    features = [work.h.detach() for work in works]
    logits = [work.look(features) for work in works]
    shared = [one for one in logits if one is not None]
    found = [work.learn_top(shared) for work in works]
    if parameters := [p for work in works for p in work.unit.body.parameters() if p.requires_grad]:
        works[0].update.pull(h, torch.cat([cotangent for cotangent, _ in found], 1), parameters)
    for work in works:
        work.apply()
    return h.detach(), [terms for _, terms in found]


def call_joined(block: nn.Module, parts: Sequence[nn.Module], inputs: tuple[Any, ...]) -> Tensor:
    """``block`` with the parameters and buffers of its groups' modules one after another; buffers are written back."""
    block.train(parts[0].training)
    named = [dict(part.named_parameters()) for part in parts]
    state = {name: torch.cat([own[name] for own in named]) for name in named[0]}
    buffers = [dict(part.named_buffers()) for part in parts]
    # A count of batches is a single number, the same for all groups.
    state |= {
        name: torch.cat([own[name] for own in buffers]) if value.ndim else value.clone()
        for name, value in buffers[0].items()
    }
    out: Tensor = functional_call(block, state, inputs, strict=True)
    for name, value in buffers[0].items():
        made = [state[name]] * len(parts)
        if value.ndim:
            made = list(torch.split(state[name], [len(own[name]) for own in buffers]))
        for own, new in zip(buffers, made, strict=True):
            own[name].copy_(new)
    return out


def fused_spans(net: LocalNetwork) -> dict[int, FusedSpan]:
    """The spans whose groups ask to run fused, by the place of their first unit.

    Raises LocalgradError for blocks that have no such form, or not for groups of different sizes, and for units that
    recompute activations.
    """
    found = {}
    for start, members in spans(net.unit_list()):
        spec = members[0].spec
        if len(members) == 1 or not spec.fused:
            continue
        for unit in members:
            if unit.spec.recompute:
                raise LocalgradError(
                    f"fuse_groups: unit {unit.name!r} recomputes activations, and groups that run as one keep them. "
                    "Leave one of the two out."
                )
        blocks = []
        for index in range(spec.span.start, spec.span.stop):
            block = net.backbone.blocks[index]
            with torch.device("meta"):
                one = block.one_module() if isinstance(block, GroupedBlock) else None
            if one is None:
                kind = type(block.block if isinstance(block, GroupedBlock) else block).__name__
                raise LocalgradError(
                    f"fuse_groups: layer {net.backbone.block_names[index]!r} ({kind}) cannot run as one grouped "
                    f"convolution with groups of {spec.span.groups} channels: groups must have the same size, and the "
                    "block a method fused(); groups of different sizes can in the first layer of a module, where the "
                    "block has a method joined(), as layers of a VGG do. Leave fuse_groups out."
                )
            blocks.append(one)
        found[start] = FusedSpan(blocks)
    return found
