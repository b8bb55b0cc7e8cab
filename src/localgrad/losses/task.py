"""The task loss of every supervised method.

Legend: B batch, K classes.
"""

from dataclasses import dataclass
from math import log
from typing import final

import torch.nn.functional as F
from torch import Tensor

from localgrad.losses.precision import full
from localgrad.losses.types import Outputs
from localgrad.spec import Batch


def cross_entropy(outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
    """Mean cross-entropy of ``outputs["logits"]`` (logits_BK) against ``batch.y`` (B), in nats.

    The mean over the batch is the one of every supervised paper (methods.md 0).
    """
    assert batch.y is not None  # declared by `needs`, checked where the batch enters
    return {"ce": F.cross_entropy(full(outputs["logits"]), batch.y)}


@final
@dataclass(frozen=True)
class BoundedCrossEntropy:
    """Cross-entropy that takes no probability of a true class to be below ``least`` (above 0).

    A sample's loss is at most -log(least) nats, and it gives no gradient there. The asynchronous experiments of DGL's
    released code have 1e-5 (methods.md 3).
    """

    least: float

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """The mean over the batch, as ``cross_entropy``."""
        assert batch.y is not None  # declared by `needs`, checked where the batch enters
        loss_B = F.cross_entropy(full(outputs["logits"]), batch.y, reduction="none")
        return {"ce": loss_B.clamp(max=-log(self.least)).mean()}
