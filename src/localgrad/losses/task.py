"""The task loss of every supervised method.

Legend: B batch, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from localgrad.losses.types import Outputs
from localgrad.spec import Batch


def cross_entropy(outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
    """Mean cross-entropy of ``outputs["logits"]`` (logits_BK) against ``batch.y`` (B), in nats.

    The mean over the batch is the one of every supervised paper (methods.md 0).
    """
    assert batch.y is not None  # declared by `needs`, checked where the batch enters
    logits_BK = outputs["logits"]
    if logits_BK.dtype in (torch.bfloat16, torch.float16):
        logits_BK = logits_BK.float()
    return {"ce": F.cross_entropy(logits_BK, batch.y)}
