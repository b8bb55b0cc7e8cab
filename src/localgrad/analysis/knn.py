"""Weighted nearest neighbours: how well frozen features tell classes apart when nothing is trained on them.

Legend: N training samples, M test samples, B of them at a time, D features, K classes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from localgrad.analysis.features import BlockFeatures
from localgrad.errors import LocalgradError

NEIGHBOURS = 200
TEMPERATURE = 0.07
"""As Wu, Xiong, Yu and Lin (2018) have it, and most of self-supervised learning since; some take 20 neighbours. The
code that the thesis built on votes with temperature 0.5 (methods.md 8); the thesis itself names neither."""
_CHUNK = 2**25
"""Cosines held at a time, 128 MiB."""


def neighbours_of(samples: int, asked: int | None = None) -> int:
    """How many neighbours vote: as many as were ``asked`` for, else ``NEIGHBOURS``, or all where there are fewer."""
    return min(NEIGHBOURS, samples) if asked is None else asked


@torch.no_grad()
def knn_scores(
    train_ND: Tensor,
    labels_N: Tensor,
    test_MD: Tensor,
    *,
    classes: int,
    neighbours: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> Tensor:
    """scores_MK: every class adds up exp((s - s_1) / temperature) over those of the nearest that belong to it.

    Nearest is by cosine s; s_1 is that of the nearest one: the difference keeps the numbers in range at any temperature
    and changes no order. A row of zeros has cosine 0 with everything. Raises LocalgradError for more neighbours than
    training samples and for numbers out of range.
    """
    if not 0 < temperature < math.inf:
        raise LocalgradError(f"kNN: the temperature must be above 0 and finite, got {temperature}.")
    if not 1 <= neighbours <= len(train_ND):
        raise LocalgradError(
            f"kNN: expected 1 to {len(train_ND)} neighbours (the training samples), got {neighbours}. Take fewer, such "
            "as 20."
        )
    if not (train_ND.isfinite().all() and test_MD.isfinite().all()):
        raise LocalgradError("kNN: features must be finite, got NaN or infinite ones: has the network diverged?")
    units_DN = F.normalize(train_ND, dim=1).T
    found = []
    for rows_BD in torch.split(test_MD, max(1, _CHUNK // len(train_ND))):
        cosine, place = (F.normalize(rows_BD, dim=1) @ units_DN).topk(neighbours, dim=1)
        scores_BK = torch.zeros(len(rows_BD), classes, device=test_MD.device)
        found.append(scores_BK.scatter_add_(1, labels_N[place], ((cosine - cosine[:, :1]) / temperature).exp()))
    return torch.cat(found)


def knn_top1(
    train: BlockFeatures,
    test: BlockFeatures,
    *,
    classes: int,
    neighbours: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> dict[str, float]:
    """Top-1 in percent on the test features of every block; errors as for ``knn_scores``."""
    right = {}
    for name, test_MD in test.blocks.items():
        scores_MK = knn_scores(
            train.blocks[name],
            train.labels_N,
            test_MD,
            classes=classes,
            neighbours=neighbours,
            temperature=temperature,
        )
        right[name] = 100.0 * float((scores_MK.argmax(1) == test.labels_N).double().mean())
    return right
