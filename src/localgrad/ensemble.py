"""Ensembles of the heads of a network (GN-DGL, arXiv 2301.07635, section 3.4; methods.md 7.3).

Legend: B batch, K classes.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

EnsembleMode = Literal["layerwise", "last"]
"""``layerwise``: all heads, those of module j (from 0) weigh 2^j, the network's classifier last; ``last``: the mean
over the heads of the last module that has layers (a classifier of its own is none)."""


def layer_weights(modules: int) -> list[float]:
    """2^j over their sum, as in Belilovsky et al. 2019; released code."""
    return [2.0**j / (2.0**modules - 1) for j in range(modules)]


def mean_probabilities(logits_BK: Sequence[Tensor]) -> Tensor:
    """Mean softmax, probabilities_BK, of the heads of one module, in float32 at least."""
    return torch.stack([one.float() if one.itemsize < 4 else one for one in logits_BK]).softmax(-1).mean(0)


def layerwise_ensemble(logits: Sequence[Sequence[Tensor]]) -> Tensor:
    """Probabilities_BK of all modules' heads, ``logits[module][group]`` being logits_BK; rows sum to 1."""
    weights = layer_weights(len(logits))
    weighted = [weight * mean_probabilities(heads) for weight, heads in zip(weights, logits, strict=True)]
    return torch.stack(weighted).sum(0)
