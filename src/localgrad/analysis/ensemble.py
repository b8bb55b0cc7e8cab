"""The ensemble of units' classifiers that asynchronous DGL evaluates; for the one over softmax see ``ensemble.py``."""

from collections.abc import Sequence

import torch
from torch import Tensor

from localgrad.ensemble import layer_weights
from localgrad.errors import LocalgradError


def logits_ensemble(logits: Sequence[Tensor]) -> Tensor:
    """Scores_BK: the logits of all units' classifiers added up, unit i (from 0) weighted 2^i over the sum of all 2^i.

    ``logits`` are one tensor_BK per unit, the first unit's first (released code of DGL's buffer experiments;
    ``LocalNetwork.ensemble`` weighs probabilities instead, as the ImageNet code does: a classifier that is very sure
    of itself weighs more here). Raises LocalgradError without any logits, and for different shapes.
    """
    if not logits:
        raise LocalgradError("logits_ensemble: expected the logits of at least one unit, got none.")
    shapes = list(dict.fromkeys(tuple(one.shape) for one in logits))
    if len(shapes) > 1 or len(shapes[0]) != 2:
        raise LocalgradError(f"logits_ensemble: expected logits of one shape (B, K) for all units, got {shapes}.")
    weights = layer_weights(len(logits))
    return torch.stack([weight * logits_BK for weight, logits_BK in zip(weights, logits, strict=True)]).sum(0)
