"""Thresholds that follow the quantiles of similarities while a unit trains: no pretrained network is needed.

Legend: N images, V = 2N views, D features.
"""

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from localgrad.losses.precision import full, outside_autocast

SHIFTS = 8
"""Negatives of a batch that are looked at, per view: those with the views a few rows before. Rows are images in random
order, so this is a sample; to sort all V * (V - 2) would take longer than the loss takes."""


@final
class RunningThresholds(nn.Module):
    """``alpha`` and ``beta`` as buffers: moving averages of the quantiles of every batch.

    A share ``positive`` of the positive pairs lies above ``alpha``, a share ``negative`` of the negative pairs below
    ``beta``. The first batch sets them; each later one moves them by 1 - ``momentum`` of the way. The state is in the
    ``state_dict``: a resumed run goes on bit for bit, and every process keeps that of its own units.
    """

    alpha: Tensor
    beta: Tensor
    batches: Tensor

    def __init__(self, positive: float, negative: float, momentum: float = 0.9) -> None:
        super().__init__()
        self.positive = positive
        self.negative = negative
        self.momentum = momentum
        self.register_buffer("alpha", torch.tensor(-1.0))
        self.register_buffer("beta", torch.tensor(1.0))
        self.register_buffer("batches", torch.tensor(0))

    @torch.no_grad()
    def follow_features(self, features_VD: Tensor) -> None:
        """Move towards the quantiles of the cosines of a batch's features."""
        with outside_autocast(features_VD):
            z_VD = F.normalize(full(features_VD), dim=1)
            views = len(z_VD)
            positives_N = (z_VD[0::2] * z_VD[1::2]).sum(1)
            # Shifts of 2 and more never lead to the partner, nor, below V - 1, to the view itself.
            shifts = range(2, min(views - 1, SHIFTS + 2))
            negatives = [(z_VD * z_VD.roll(shift, 0)).sum(1) for shift in shifts]
            self._move(positives_N, torch.cat(negatives) if negatives else None)

    @torch.no_grad()
    def follow_matrix(self, similarity_VV: Tensor) -> None:
        """The same for similarities that somebody else computed."""
        similarity_VV = full(similarity_VV)
        views = len(similarity_VV)
        rows_V = torch.arange(views, device=similarity_VV.device)
        shifts = range(2, min(views - 1, SHIFTS + 2))
        negatives = [similarity_VV[rows_V, (rows_V - shift) % views] for shift in shifts]
        self._move(similarity_VV[rows_V[0::2], rows_V[1::2]], torch.cat(negatives) if negatives else None)

    def _move(self, positives: Tensor, negatives: Tensor | None) -> None:
        found = [(self.alpha, positives, 1 - self.positive)]
        if negatives is not None:
            found.append((self.beta, negatives, self.negative))
        weight = torch.where(self.batches == 0, 1.0, 1 - self.momentum)
        for threshold, values, share in found:
            threshold.lerp_(torch.quantile(values.to(threshold.dtype), share), weight.to(threshold.dtype))
        self.batches += 1
