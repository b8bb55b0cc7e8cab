"""Supervised contrastive loss (Khosla et al. 2020) as InfoPro uses it (methods.md 5): one view per image.

Legend: B batch, D features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from localgrad.errors import LocalgradError
from localgrad.losses.precision import full, outside_autocast
from localgrad.losses.types import Outputs
from localgrad.spec import Batch

TEMPERATURE = 0.07
"""InfoPro's temperature; its code divides by a base temperature of the same value, a factor of 1."""


def supcon_loss(features_BD: Tensor, y_B: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Mean over anchors i of -1/|P_i| sum over p in P_i of log(exp(z_i.z_p / T) / sum over a != i of exp(z_i.z_a / T)).

    z are the L2-normalised rows of ``features_BD``, P_i the other samples of the class of i (``y_B``). An anchor
    without a positive contributes 0 and counts in the mean (released code). Raises LocalgradError for fewer than two
    rows: nothing can be compared.
    """
    if len(features_BD) < 2:
        raise LocalgradError(
            "supervised contrast compares the samples of a batch and needs at least 2, got "
            f"{len(features_BD)}. Give larger batches (or parts, under accumulate), or drop the last short one."
        )
    with outside_autocast(features_BD):
        z_BD = F.normalize(features_BD, dim=1)
        same_BB = torch.eye(len(z_BD), dtype=torch.bool, device=z_BD.device)
        logits_BB = (z_BD @ z_BD.T / temperature).masked_fill(same_BB, float("-inf"))
        log_p_BB = F.log_softmax(logits_BB, dim=1)
        positive_BB = (y_B[:, None] == y_B[None, :]) & ~same_BB
        # Not a product with the mask: the diagonal is -inf, and 0 * -inf is no number.
        sums_B = log_p_BB.masked_fill(~positive_BB, 0.0).sum(1)
        return -(sums_B / positive_BB.sum(1).clamp(min=1)).mean()


def supervised_contrast(outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
    """``supcon_loss`` of ``outputs["features"]`` (features_BD) and ``batch.y`` (B) at T = 0.07, in float32 at least.

    Under gradient accumulation the samples of a part are compared with each other only.
    """
    assert batch.y is not None  # declared by `needs`, checked where the batch enters
    return {"supcon": supcon_loss(full(outputs["features"]), batch.y)}
