"""Cheaper auxiliary networks: features averaged before an auxiliary network reads them. localgrad's own, of no paper.

Legend: B batch, C channels, H height, W width.
"""

from collections import OrderedDict
from dataclasses import dataclass
from math import ceil
from typing import final

from torch import nn

from localgrad.errors import LocalgradError
from localgrad.spec import AuxSpec, Shape

SMALL = 8
"""Maps of up to so many positions a side are left as they are."""

INNER = "aux"
"""The name of the auxiliary network inside a built PooledFirst."""


def pooled_shape(shape: Shape, pool: int) -> Shape:
    """Shape of features of ``shape`` (C, H, W) behind one average over ``pool`` x ``pool`` positions.

    Maps of at most 8x8 are not averaged, nor is anything with ``pool`` 1. What is left over at the edge of a size that
    ``pool`` does not divide is averaged too: 9 positions become 5. Raises LocalgradError for features that are no map.
    """
    if pool == 1:
        return shape
    if len(shape) != 3:
        raise LocalgradError(
            f"aux_pool={pool} averages neighbouring positions of feature maps (C, H, W), got features of shape "
            f"{tuple(shape)} per sample. Take aux_pool=1, or cut the network where it has maps."
        )
    channels, height, width = shape
    if max(height, width) <= SMALL:
        return shape
    return (channels, ceil(height / pool), ceil(width / pool))


def pooled_first(aux: AuxSpec, shape: Shape, pool: int) -> AuxSpec:
    """``aux``, which reads features of ``pooled_shape(shape, pool)``, behind the average that makes these."""
    return aux if pooled_shape(shape, pool) == shape else PooledFirst(aux, pool)


@final
@dataclass(frozen=True)
class PooledFirst:
    """An average over ``pool`` x ``pool`` positions, then ``aux``. Maps h_BCHW to what ``aux`` makes of it.

    Every operation of ``aux`` on positions then costs 1 / ``pool``^2. The average itself has no weights and counts no
    MACs in the papers' convention.
    """

    aux: AuxSpec
    pool: int

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of pool, aux."""
        average = nn.AvgPool2d(self.pool, ceil_mode=True)
        return nn.Sequential(OrderedDict[str, nn.Module]([("pool", average), (INNER, self.aux.build())]))
