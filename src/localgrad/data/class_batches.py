"""Batches of few classes: an order of the samples in which most batches hold only so many classes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from localgrad.data.errors import DataError

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassesPerBatch:
    """Aim for ``classes`` different classes in every training batch of epochs 1 to ``until_epoch`` (None: all epochs).

    PredSim trains CIFAR-100 with ``ClassesPerBatch(20, until_epoch=200)``: similarity matching needs pairs of one class
    in a batch. Every sample still comes exactly once per epoch and batches keep their size. The classes of a batch are
    those of the next samples in the epoch's random order; the batch takes the first samples of these classes that are
    left. Towards the end of an epoch classes run out: **what is missing is then filled with the next samples of any
    class**, so the last batches hold more classes. (PredSim's released code takes the classes of the next 20 samples,
    which are sometimes fewer than 20 classes, and fills in the same way.)
    """

    classes: int
    until_epoch: int | None = None

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise DataError(f"ClassesPerBatch.classes: expected 1 or more, got {self.classes}")
        if self.until_epoch is not None and self.until_epoch < 1:
            raise DataError(f"ClassesPerBatch.until_epoch: expected 1 or more, or None, got {self.until_epoch}")

    def applies(self, epoch: int) -> bool:
        """Whether ``epoch``, counted from 0, is one of the first ``until_epoch``."""
        return self.until_epoch is None or epoch < self.until_epoch

    def problems(self, num_classes: int) -> list[str]:
        """Why this cannot be done with ``num_classes``."""
        if self.classes <= num_classes:
            return []
        return [f"classes_per_batch: expected at most the {num_classes} classes there are, got {self.classes}"]


def few_classes(order_N: Tensor, labels_N: Tensor, classes: int, batch_size: int) -> Tensor:
    """``order_N`` (a permutation, int64) rearranged so that batches of ``batch_size`` hold few ``classes``."""
    order = order_N.numpy()
    labels = labels_N.numpy()[order]
    # Places in the order that are left, by class.
    left = {int(k): np.flatnonzero(labels == k) for k in np.unique(labels)}
    places: list[Places] = []
    for done in range(0, len(order), batch_size):
        size = min(batch_size, len(order) - done)
        by_first = sorted((queue[0], k) for k, queue in left.items() if len(queue))
        chosen = [k for _, k in by_first[:classes]]
        places.append(_take_first(left, chosen, size))
        if len(places[-1]) < size:
            places.append(_take_first(left, list(left), size - len(places[-1])))
    return torch.from_numpy(order[np.concatenate(places)])


def _take_first(left: dict[int, Places], classes: list[int], count: int) -> Places:
    """Take the first ``count`` places of ``classes`` out of ``left``; all, where there are fewer."""
    places = np.sort(np.concatenate([left[k][:count] for k in classes]))[:count]
    for k in classes if len(places) else []:
        left[k] = left[k][np.searchsorted(left[k], places[-1], side="right") :]
    return places
