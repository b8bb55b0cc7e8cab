"""GN-DGL's diversity penalty (Patel et al. 2023, arXiv 2301.07635, section 3.4, equation 1; methods.md 7.2).

Neuron groups of one module shall err in different ways: the probabilities that they give to the wrong classes are
compared.

Legend: G groups, B batch, K classes.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from localgrad.losses.precision import full, outside_autocast
from localgrad.losses.types import Outputs
from localgrad.spec import Batch

TEMPERATURE = 3.0
"""That of the released code; the paper names none."""

_EPS = 1e-8


def wrong_classes(logits: Tensor, y_B: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """The softmax at ``temperature`` with the true class at zero, scaled to sum 1, then to length 1; shaped as given.

    ``logits`` is (..., B, K). 1e-8 is added to the sum, and under the root of the length (released code).
    """
    p = (logits / temperature).softmax(-1)
    classes_K = torch.arange(p.shape[-1], device=p.device)
    p = p.masked_fill(y_B[:, None] == classes_K, 0.0)
    p = p / (p.sum(-1, keepdim=True) + _EPS)
    return p / (p.square().sum(-1, keepdim=True) + _EPS).sqrt()


def diversity(logits_GBK: Tensor, y_B: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Mean cosine of ``wrong_classes`` over the batch and all ordered pairs of different groups.

    Nothing is detached: this is the released code's value and, differentiated, its gradient.
    """
    groups, rows = logits_GBK.shape[:2]
    directions_GBK = wrong_classes(logits_GBK, y_B, temperature)
    same_GB = directions_GBK.square().sum(-1)
    pairs = directions_GBK.sum(0).square().sum() - same_GB.sum()
    return pairs / (rows * groups * (groups - 1))


@final
@dataclass(frozen=True)
class Diversity:
    """One group's part of ``diversity``: its cosines with all others, whose logits are detached.

    Reads ``outputs["logits"]`` (logits_BK) and ``outputs["others"]``, (G - 1, B, K). The parts of all groups add up to
    ``diversity``. Cosine is symmetric, so the gradients of the parts are exactly half of those of ``diversity``.
    Computed in float32 at least.
    """

    temperature: float = TEMPERATURE

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """``{"diversity": part}``."""
        assert batch.y is not None  # declared by `needs`, checked where the batch enters
        with outside_autocast(outputs["logits"]):
            own_BK = wrong_classes(full(outputs["logits"]), batch.y, self.temperature)
            others_GBK = wrong_classes(full(outputs["others"]), batch.y, self.temperature)
            groups = len(others_GBK) + 1
            cosines_GB = (own_BK * others_GBK).sum(-1)
            return {"diversity": cosines_GB.mean(1).sum() / (groups * (groups - 1))}
