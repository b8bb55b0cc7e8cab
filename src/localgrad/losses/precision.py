"""Where a loss is computed in float32 whatever the step's precision is.

Legend: any shape.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

_REDUCED = (torch.bfloat16, torch.float16)


def full(x: Tensor) -> Tensor:
    """``x`` in float32 when it is in a 16-bit format; float32 and float64 as they are."""
    return x.float() if x.dtype in _REDUCED else x


def outside_autocast(x: Tensor) -> AbstractContextManager[object]:
    """A region in which matrix products of ``x`` keep their precision; nothing where no autocast is active."""
    kind = x.device.type
    if kind not in ("cpu", "cuda") or not torch.is_autocast_enabled(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)
