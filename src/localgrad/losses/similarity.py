"""Similarity matching (Nokland & Eidnes 2019): images of one class shall look alike, those of two classes unlike.

Legend: B batch, C channels, H height, W width, F features, K classes.
"""

from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from localgrad.losses.types import Outputs
from localgrad.spec import Batch


def similarity_matrix(features: Tensor) -> Tensor:
    """Adjusted cosine similarities R_BB of the samples, in [-1, 1]; released code (methods.md 4).

    A feature map_BCHW with more than 3 channels and more than one row is described by the standard deviation of every
    channel over its positions (unbiased), anything else is flattened. Each sample's mean is taken off, and it is
    divided by 1e-8 + its norm. A sample of equal features has similarity 0 to all.
    """
    if features.dtype in (torch.bfloat16, torch.float16):
        features = features.float()
    std = features.ndim == 4 and features.shape[1] > 3 and features.shape[2] > 1
    x_BF = features.std((2, 3)) if std else features.flatten(1)
    x_BF = x_BF - x_BF.mean(1, keepdim=True)
    x_BF = x_BF / (1e-8 + torch.linalg.vector_norm(x_BF, dim=1, keepdim=True))
    R_BB: Tensor = x_BF @ x_BF.T
    return R_BB.clamp(-1, 1)


@final
@dataclass(frozen=True)
class SimilarityMatching:
    """Mean squared difference, over all B*B pairs, of the similarities of ``outputs["features"]`` and of the labels.

    The labels' are those of one-hot vectors of ``num_classes``: 1 within a class, -1/(K-1) between two. Always computed
    in float32 or more: a product in bfloat16 has 8 bits, and cosines near 1 need more.
    """

    num_classes: int

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """``{"similarity": loss}``."""
        assert batch.y is not None  # declared by `needs`, checked where the batch enters
        features = outputs["features"]
        with torch.autocast(features.device.type, enabled=False):
            R_BB = similarity_matrix(features)
            classes_K = torch.arange(self.num_classes, device=batch.y.device)
            one_hot_BK = (batch.y[:, None] == classes_K).to(R_BB.dtype)
            return {"similarity": F.mse_loss(R_BB, similarity_matrix(one_hot_BK))}
