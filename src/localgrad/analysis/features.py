"""Frozen features of every block: what probes, nearest neighbours and similarities of networks are computed on.

Legend: N samples, B batch, C channels, H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from localgrad.data import Batches
from localgrad.network import LocalNetwork
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
    """Features of one split: a tensor of N rows per block, by its name, in the order of the network; and labels_N."""

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
    device = next(net.parameters()).device
    training = net.training
    net.eval()
    modules = block_modules(net)
    axes = net.backbone.channel_axes()
    found: dict[str, list[Tensor]] = {name: [] for name, _ in modules}
    labels: list[Tensor] = []
    try:
        for batch in batches.epoch(0):
            before_batch()
            assert batch.y is not None  # every split has labels
            with precision.autocast(device):
                h = batch.x
                for (name, module), axis in zip(modules, axes, strict=True):
                    h = module(h)
                    found[name].append((pooled(h, axis) if describe is None else describe(h)).float())
            labels.append(batch.y)
    finally:
        net.train(training)
    return BlockFeatures({name: torch.cat(parts) for name, parts in found.items()}, torch.cat(labels))
