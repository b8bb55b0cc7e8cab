"""Checks of values that come from files or from the user. Each says what, where, expected and got."""

import math

import torch
from torch import Tensor

from localgrad.data.errors import DataError


def check_labels(labels_N: Tensor, num_classes: int, where: str, *, first: int = 0) -> None:
    """Raise ``DataError`` unless ``labels_N`` is one axis of integers in ``first .. first + num_classes - 1``.

    ``where`` names the file or split in the error, which gives the first wrong value, its index and their number.
    """
    if labels_N.ndim != 1 or labels_N.is_floating_point() or labels_N.is_complex() or labels_N.dtype == torch.bool:
        raise DataError(
            f"{where}: expected labels as one axis of integers, got shape {tuple(labels_N.shape)} of {labels_N.dtype}"
        )
    last = first + num_classes - 1
    wrong = torch.nonzero((labels_N < first) | (labels_N > last)).flatten()
    if len(wrong):
        index = int(wrong[0])
        raise DataError(
            f"{where}: label {int(labels_N[index])} at index {index} is out of range; allowed are {first} to {last} "
            f"({num_classes} classes); {len(wrong)} of {len(labels_N)} labels are out of range"
        )


def statistics_problems(mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> list[str]:
    """What is wrong with a normalisation for images in [0, 1]: lengths, finite means, positive deviations."""
    found = []
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels:
            found.append(f"{name}: expected {channels} numbers, one per channel, got {len(values)}: {values}")
        elif not all(math.isfinite(value) for value in values):
            found.append(f"{name}: expected finite numbers, got {values}")
    if len(std) == channels and any(value <= 0 for value in std):
        found.append(f"std: expected positive numbers, got {std}; a channel without variation can be given std 1")
    return found
