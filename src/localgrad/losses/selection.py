"""NT-Xent over easy pairs only (DGSSL-LLM, thesis section 4.2.2, algorithms 5 to 7; methods.md 8).

Which pairs are easy is one choice, the similarity that is compared with the thresholds another: both come as numbers,
so this file knows nothing of where they are from.

Legend: N images, V = 2N views, D features. Rows 2k and 2k+1 are the two views of image k, from 0.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor

from localgrad.errors import LocalgradError
from localgrad.losses.nt_xent import TEMPERATURE, cosines, directions, pair_similarities, partners
from localgrad.losses.precision import full, outside_autocast
from localgrad.losses.types import Outputs
from localgrad.spec import Batch

PairSimilarity = Literal["own", "teacher", "pretrained"]
"""Whose cosines are compared with the thresholds: those of the unit's own features (algorithm 5), of a moving average
of the unit, or of a pretrained network on the same views (``Batch.pair_similarity``)."""

EMPTY = "empty"
SELECTION_FIGURES = frozenset({"kept_positives", "kept_negatives", EMPTY})
"""What a selection tells of itself and nothing learns from: shares of the pairs in the loss, and whether none was."""

Threshold = float | Tensor

NEVER = 1e30
"""Taken off the logit of a pair that is left out: its exponential is 0, and so is its gradient."""


class Kept(NamedTuple):
    """The loss, the shares of positive and negative pairs that are in it, and 1 where there was no positive pair."""

    loss: Tensor
    positives: Tensor
    negatives: Tensor
    empty: Tensor


def selective_nt_xent(
    features_VD: Tensor,
    alpha: Threshold,
    beta: Threshold | None,
    temperature: float = TEMPERATURE,
    *,
    similarity_VV: Tensor | None = None,
    keep_positive: bool = True,
) -> Kept:
    """NT-Xent of the pairs whose similarity is at least ``alpha``, against negatives of at most ``beta`` (None: all).

    ``similarity_VV`` decides (None: the cosines of the features); the choice has no gradient. The mean is over the
    views of the chosen pairs; without one the loss is 0. ``keep_positive``: the positive stays in the denominator, so
    that the loss is not negative; else it leaves it above ``beta``, as algorithm 7 is printed, and a view whose
    denominator is empty then adds 0 to the mean. Raises LocalgradError for similarities of another shape.
    """
    with outside_autocast(features_VD):
        z_VD = directions(features_VD)
        views = len(z_VD)
        if similarity_VV is not None and similarity_VV.shape != (views, views):
            raise LocalgradError(
                f"pair selection: expected similarities of all {views} views with each other, ({views}, {views}), got "
                f"{tuple(similarity_VV.shape)}."
            )
        logits_VV = (z_VD / temperature) @ z_VD.T
        partner_V = partners(logits_VV)
        rows_V = partner_V ^ 1
        with torch.no_grad():
            if similarity_VV is None:
                pairs_N, compared_VV, scale = pair_similarities(z_VD), logits_VV.detach(), temperature
            else:
                pairs_N, compared_VV, scale = similarity_VV[rows_V[0::2], partner_V[0::2]], similarity_VV, 1.0
            chosen_N = pairs_N >= alpha
            # Numbers, and taken off: filling by a mask of pairs that follow no pattern takes ten times as long.
            dropped_VV = torch.zeros_like(logits_VV) if beta is None else torch.empty_like(logits_VV)
            if beta is not None:
                limit = beta / scale
                torch.gt(compared_VV, limit.to(compared_VV) if isinstance(limit, Tensor) else limit, out=dropped_VV)
            literal_V = dropped_VV[rows_V, partner_V]
            dropped_VV[rows_V, partner_V] = 0.0
            dropped_VV.fill_diagonal_(0.0)
            negatives = 1 - dropped_VV.sum() / max(views * (views - 2), 1)
            weight_V = chosen_N.repeat_interleave(2).to(z_VD.dtype)
            if not keep_positive:
                # A row without any term has no logarithm: such a view keeps its positive, and weighs nothing.
                full_V = dropped_VV.sum(1) < views - 2
                dropped_VV[rows_V, partner_V] = literal_V * full_V
                weight_V = weight_V * (full_V | (literal_V == 0))
            dropped_VV.fill_diagonal_(1.0)
            count = chosen_N.count_nonzero()
        logits_VV = logits_VV.sub_(dropped_VV, alpha=NEVER)
        if keep_positive:
            loss_V = F.cross_entropy(logits_VV, partner_V, reduction="none")
        else:
            # The logarithm of sums of a row is logit minus log-probability in any column that is left.
            left_V = logits_VV.detach().argmax(1)
            sums_V = (logits_VV - F.log_softmax(logits_VV, 1))[rows_V, left_V]
            loss_V = sums_V - pair_similarities(z_VD).repeat_interleave(2) / temperature
        return Kept(
            loss=(loss_V * weight_V).sum() / (2 * count).clamp(min=1),
            positives=count / len(chosen_N),
            negatives=negatives,
            empty=(count == 0).to(z_VD.dtype),
        )


@final
@dataclass(frozen=True)
class SelectiveNTXent:
    """``selective_nt_xent`` as the loss of a unit.

    Reads ``outputs["features"]`` (features_VD); for similarity "teacher" ``outputs["teacher"]`` (features_VD), for
    "pretrained" ``batch.pair_similarity`` (V, V). ``alpha`` and ``beta`` are the thresholds; None: they are
    ``outputs["alpha"]`` and ``outputs["beta"]``, scalars that the auxiliary network follows. ``negatives`` False: no
    negative is left out, whatever ``beta``.
    """

    alpha: float | None
    beta: float | None
    similarity: PairSimilarity = "own"
    negatives: bool = True
    keep_positive: bool = True
    temperature: float = TEMPERATURE

    def __call__(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """``{"nt_xent": loss}`` and the SELECTION_FIGURES."""
        similarity_VV = None
        if self.similarity == "teacher":
            similarity_VV = cosines(outputs["teacher"])
        elif self.similarity == "pretrained":
            assert batch.pair_similarity is not None  # declared by `needs`, checked where the batch enters
            similarity_VV = full(batch.pair_similarity)
        beta = outputs["beta"] if self.beta is None else self.beta
        kept = selective_nt_xent(
            outputs["features"],
            outputs["alpha"] if self.alpha is None else self.alpha,
            beta if self.negatives else None,
            self.temperature,
            similarity_VV=similarity_VV,
            keep_positive=self.keep_positive,
        )
        return {
            "nt_xent": kept.loss,
            "kept_positives": kept.positives,
            "kept_negatives": kept.negatives,
            EMPTY: kept.empty,
        }
