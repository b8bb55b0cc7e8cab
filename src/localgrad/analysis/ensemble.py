"""Ensembles of the units' own classifiers, as DGL's code evaluates them."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from localgrad.errors import LocalgradError, nearest

Of = Literal["logits", "softmax"]


def ensemble(logits: Sequence[Tensor], of: Of = "logits") -> Tensor:
    """Scores_BK of all classifiers together: the sum of their outputs, classifier i weighted 2^i / sum of all 2^i.

    ``logits`` are one tensor_BK per unit, the first unit's first. ``of="logits"`` adds the logits themselves (released
    code of asynchronous DGL), ``"softmax"`` their softmax (that of DGL on ImageNet): the scores are probabilities then.
    Raises LocalgradError without any logits, for other shapes than the first one's, and for an unknown word.
    """
    if of not in get_args(Of):
        raise LocalgradError(f"ensemble: of {str(of)!r} is unknown. {nearest(str(of), get_args(Of))}")
    if not logits:
        raise LocalgradError("ensemble: expected the logits of at least one unit, got none.")
    shapes = list(dict.fromkeys(tuple(one.shape) for one in logits))
    if len(shapes) > 1 or len(shapes[0]) != 2:
        raise LocalgradError(f"ensemble: expected logits of one shape (B, K) for all units, got {shapes}.")
    total = 2 ** len(logits) - 1
    scores_BK = torch.zeros_like(logits[0])
    for i, logits_BK in enumerate(logits):
        scores_BK = scores_BK + 2**i / total * (logits_BK.softmax(1) if of == "softmax" else logits_BK)
    return scores_BK
