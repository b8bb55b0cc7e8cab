"""AugLocal's tables of multiply-accumulates by depth and pyramid (tables 7 and 11)."""

from collections.abc import Sequence

from localgrad.cost import MacsGrid, macs_grid
from localgrad.errors import LocalgradError
from localgrad.methods import AugLocal
from localgrad.partition import EqualBlocks
from localgrad.spec import Backbone

DEPTHS = (2, 3, 4, 5, 6, 7, 8, 9)
TAUS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


def auglocal_flops(backbone: Backbone, depths: Sequence[int] = DEPTHS, taus: Sequence[float] = TAUS) -> MacsGrid:
    """MACs of the network and all auxiliary networks, one module per block, for every depth d (rows) and tau.

    Raises LocalgradError for a depth or tau that AugLocal refuses, and without any.
    """
    if not depths or not taus:
        raise LocalgradError("auglocal_flops: give at least one depth and one tau.")
    partition = EqualBlocks(len(backbone.blocks))(backbone)
    return macs_grid(backbone, lambda depth, tau: AugLocal(depth, tau).units(backbone, partition), depths, taus)
