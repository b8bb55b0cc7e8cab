"""NT-Xent, the contrastive loss of SimCLR (Chen et al. 2020) that DGSSL puts behind every module (thesis, algorithm 3).

Legend: N images, V = 2N views, D features. Rows 2k and 2k+1 are the two views of image k, from 0.
"""

from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from localgrad.errors import LocalgradError
from localgrad.losses.precision import full, outside_autocast
from localgrad.losses.types import Outputs
from localgrad.spec import Batch

TEMPERATURE = 0.5
"""The thesis names none; that of the code that its augmentation, optimiser and rates are taken from (methods.md 8)."""


def directions(features_VD: Tensor) -> Tensor:
    """The views' features at length 1, in float32 at least. Raises LocalgradError unless they are pairs of rows."""
    if features_VD.ndim != 2 or len(features_VD) < 2 or len(features_VD) % 2:
        raise LocalgradError(
            "NT-Xent compares two views of every image in rows that follow each other: expected features of shape "
            f"(2N, D), got {tuple(features_VD.shape)}. Give Batch.views, two rows per image."
        )
    return F.normalize(full(features_VD), dim=1)


def partners(S_VV: Tensor) -> Tensor:
    """The row of every view's partner, int64, for a tensor with a row per view."""
    return torch.arange(len(S_VV), device=S_VV.device) ^ 1


def pair_similarities(z_VD: Tensor) -> Tensor:
    """The N cosines of the positive pairs, for rows of length 1."""
    return (z_VD[0::2] * z_VD[1::2]).sum(1)


def nt_xent_loss(features_VD: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Mean over all views a, with partner b, of -log(exp(S(a,b)/T) / sum over k != a of exp(S(a,k)/T)); S are cosines.

    The cross-entropy of the partner among all other views. Raises LocalgradError unless the features are pairs of rows.
    """
    with outside_autocast(features_VD):
        z_VD = directions(features_VD)
        logits_VV = (z_VD / temperature) @ z_VD.T
        logits_VV.fill_diagonal_(float("-inf"))
        return F.cross_entropy(logits_VV, partners(logits_VV))


@final
@dataclass(frozen=True)
class NTXent:
    """``nt_xent_loss`` of ``outputs["features"]`` (features_VD); reads no field of the batch.

    Under gradient accumulation the views of a part are compared with each other only.
    """

    temperature: float = TEMPERATURE

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """``{"nt_xent": loss}``."""
        return {"nt_xent": nt_xent_loss(outputs["features"], self.temperature)}


_ROWS = 512


def cosines(features_VD: Tensor) -> Tensor:
    """S_VV of all views, in float32 at least and without a gradient.

    On the CPU only what lies on and above the diagonal is computed: a tenth less time (2048 views, 128 features).
    """
    with torch.no_grad(), outside_autocast(features_VD):
        z_VD = directions(features_VD)
        if z_VD.device.type != "cpu" or len(z_VD) <= _ROWS:
            S_VV: Tensor = z_VD @ z_VD.T
            return S_VV
        S_VV = z_VD.new_empty(len(z_VD), len(z_VD))
        for start in range(0, len(z_VD), _ROWS):
            stop = start + _ROWS
            torch.mm(z_VD[start:stop], z_VD[start:].T, out=S_VV[start:stop, start:])
            S_VV[stop:, start:stop] = S_VV[start:stop, stop:].T
        return S_VV
