"""Stratified division of a split: every class in the same proportion."""

import hashlib
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from localgrad.data.checks import check_labels
from localgrad.data.errors import DataError


class Labelled(Protocol):
    """What is divided: a split in memory or on disk."""

    @property
    def labels_N(self) -> Tensor:
        """Classes, int64."""
        ...

    def __len__(self) -> int: ...

    def take(self, index_M: Tensor) -> Self:
        """The samples ``index_M``, in that order."""
        ...


AnySplit = TypeVar("AnySplit", bound=Labelled)


def split_validation(split: AnySplit, fraction: float, seed: int, num_classes: int) -> tuple[AnySplit, AnySplit]:
    """Divide a training split into (train, validation), the same for the same ``seed`` on every machine and version.

    ``fraction`` of the samples, rounded, go to validation; each class gives its share to within one sample. Samples
    keep their order. Raises ``DataError`` for a fraction outside (0, 1), one that leaves a class without a sample on
    either side, and labels outside ``0 .. num_classes - 1``.
    """
    if not 0 < fraction < 1:
        raise DataError(f"split_validation: expected a fraction between 0 and 1, both excluded, got {fraction}")
    check_labels(split.labels_N, num_classes, "split_validation")
    held_N = held_out(split.labels_N.cpu(), round(len(split) * fraction), seed, num_classes)
    sizes_K = torch.bincount(split.labels_N.cpu(), minlength=num_classes)
    held_K = torch.bincount(split.labels_N.cpu()[held_N], minlength=num_classes)
    bare = [k for k in range(num_classes) if held_K[k] == 0 or held_K[k] == sizes_K[k]]
    if bare:
        facts = ", ".join(f"class {k}: {int(sizes_K[k] - held_K[k])} train, {int(held_K[k])} val" for k in bare[:10])
        raise DataError(
            f"split_validation: fraction {fraction} leaves {len(bare)} of {num_classes} classes without a sample on "
            f"one side ({facts}); choose another fraction, or give these classes more samples"
        )
    held_N = held_N.to(split.labels_N.device)
    return split.take(torch.nonzero(~held_N).flatten()), split.take(torch.nonzero(held_N).flatten())


def held_out(labels_N: Tensor, count: int, seed: int, num_classes: int) -> Tensor:
    """Mask (bool, N) of ``count`` samples, each class within one of its exact share (largest remainders)."""
    total = max(len(labels_N), 1)
    sizes = [int(size) for size in torch.bincount(labels_N, minlength=num_classes)]
    shares = [size * count // total for size in sizes]
    by_remainder = sorted(range(num_classes), key=lambda k: (-(sizes[k] * count % total), k))
    for k in by_remainder[: count - sum(shares)]:
        shares[k] += 1
    mask_N = torch.zeros(len(labels_N), dtype=torch.bool)
    for k, share in enumerate(shares):
        members = torch.nonzero(labels_N == k).flatten().tolist()
        mask_N[sorted(members, key=lambda i: _rank(seed, i))[:share]] = True
    return mask_N


def _rank(seed: int, index: int) -> bytes:
    """A hash instead of a generator's draw: generators may change between library versions, a fixed split may not."""
    return hashlib.blake2b(f"held-out:{seed}:{index}".encode(), digest_size=8).digest()
