"""Frozen features of every block or unit: what probes, nearest neighbours and similarities of networks are computed on.

Legend: N samples, B batch, C channels, H height, W width.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from localgrad.data import Batches
from localgrad.network import LocalNetwork
from localgrad.unit import Unit, forward_units
from localgrad.update import Precision

Describe = Callable[[Tensor], Tensor]
"""Makes features of a block's output h of B rows: a tensor of B rows."""


def pooled(h: Tensor, axis: int = 0) -> Tensor:
    """features_BC: the mean over all positions of a map h_BCHW; vectors as they are.

    ``axis`` is that of the channels in one sample: 0 in (C, H, W), 1 in tokens (N, C).
    """
    positions = tuple(one for one in range(1, h.ndim) if one != axis + 1)
    return h.mean(dim=positions) if positions else h


@final
@dataclass(frozen=True)
class BlockFeatures:
    """Features of one split: a tensor of N rows per block, by its name, in the order of the network; and labels_N.

    Of units (``unit_features``) the names are their places, "0", "1" and so on.
    """

    blocks: dict[str, Tensor]
    labels_N: Tensor


def block_modules(net: LocalNetwork) -> list[tuple[str, nn.Module]]:
    """The blocks of the plain network with their names, in order, whatever units they belong to."""
    names = net.backbone.block_names
    if net.backbone.source is None:
        return [(name, net.model.get_submodule(name)) for name in names]
    return list(zip(names, [block for unit in net.unit_list() for block in unit.body], strict=True))


@torch.no_grad()
def block_features(
    net: LocalNetwork,
    batches: Batches,
    *,
    describe: Describe | None = None,
    precision: Precision = Precision.FLOAT32,
    before_batch: Callable[[], None] = lambda: None,
) -> BlockFeatures:
    """One pass over the images of a split in evaluation mode; features are float32, on the network's device.

    Without ``describe`` features are ``pooled``: the mean over all positions, of tokens too.
    BatchNorm is frozen and no weight changes; the mode found is restored. ``before_batch`` is called before every
    batch; what it raises ends the pass.
    """
    modules, axes = block_modules(net), net.backbone.channel_axes()

    def described(x: Tensor) -> Iterator[tuple[str, Tensor]]:
        h = x
        for (name, module), axis in zip(modules, axes, strict=True):
            h = module(h)
            yield name, (pooled(h, axis) if describe is None else describe(h))

    return _gathered(net, batches, described, precision, before_batch)


@torch.no_grad()
def unit_features(
    net: LocalNetwork,
    batches: Batches,
    *,
    units: int | None = None,
    precision: Precision = Precision.FLOAT32,
    before_batch: Callable[[], None] = lambda: None,
) -> BlockFeatures:
    """The same of every unit's output, by its place; ``units`` is how many of them, from the first (None: all).

    A unit without blocks (GN-DGL's classifier) has the features that it reads.
    """
    asked = net.unit_list()[:units]

    def described(x: Tensor) -> Iterator[tuple[str, Tensor]]:
        for place, (unit, h, _) in enumerate(forward_units(asked, x)):
            yield str(place), pooled(h, unit_axis(net, unit))

    return _gathered(net, batches, described, precision, before_batch)


def unit_axis(net: LocalNetwork, unit: Unit) -> int:
    """The axis of the channels in one sample of a unit's output."""
    return net.backbone.channel_axes()[max(unit.span.stop, 1) - 1]


def _gathered(
    net: LocalNetwork,
    batches: Batches,
    described: Callable[[Tensor], Iterator[tuple[str, Tensor]]],
    precision: Precision,
    before_batch: Callable[[], None],
) -> BlockFeatures:
    device = next(net.parameters()).device
    training = net.training
    net.eval()
    found: dict[str, list[Tensor]] = {}
    labels: list[Tensor] = []
    try:
        for batch in batches.epoch(0):
            before_batch()
            assert batch.y is not None  # every split has labels
            with precision.autocast(device):
                for name, features in described(batch.x):
                    found.setdefault(name, []).append(features.float())
            labels.append(batch.y)
    finally:
        net.train(training)
    return BlockFeatures({name: torch.cat(parts) for name, parts in found.items()}, torch.cat(labels))
