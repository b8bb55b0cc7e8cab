"""scikit-learn's digits and their fixed division."""

import numpy as np
import pytest
import sklearn.datasets
import torch

from localgrad.data import Augment, DataError, Digits
from localgrad.data.folder import pixel_statistics

PINNED_LABELS = [4, 1, 5, 5, 9, 6, 4, 6, 4, 1, 0, 7, 3, 1, 9, 6, 6, 5, 2, 4]
PINNED_SUM = 318279567


def test_all_digits_are_there_once():
    images = Digits().load()
    held = sklearn.datasets.load_digits()
    both = torch.cat((images.train.images_NCHW, images.test.images_NCHW)).flatten(1)
    labels = torch.cat((images.train.labels_N, images.test.labels_N))
    got = sorted(
        (*row, label) for row, label in zip((both / (255 / 16)).round().int().tolist(), labels.tolist(), strict=True)
    )
    expected = sorted(
        (*row, label) for row, label in zip(held.data.astype(int).tolist(), held.target.tolist(), strict=True)
    )
    assert got == expected
    assert (images.image, images.classes) == ((1, 8, 8), tuple("0123456789"))
    assert both.max() == 255 and both.min() == 0


def test_division_is_stratified_and_fixed():
    images = Digits().load()
    assert (len(images.train), len(images.test)) == (1437, 360)
    assert torch.bincount(images.test.labels_N).tolist() == [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
    # Pinned: every published number on the digits depends on this division.
    assert images.test.labels_N[:20].tolist() == PINNED_LABELS
    assert int((images.test.images_NCHW.long() * torch.arange(1, 361).view(-1, 1, 1, 1)).sum()) == PINNED_SUM


def test_default_normalisation_is_the_training_splits_own():
    data = Digits()
    mean, std = pixel_statistics(data.load().train.images_NCHW)
    assert np.allclose(data.mean + data.std, mean + std, atol=5e-4)
    assert data.augment == Augment(pad=1, pad_mode="zero", flip=False)


def test_wrong_fields():
    with pytest.raises(DataError, match=r"digits: mean: expected 1 numbers, one per channel, got 3"):
        Digits(mean=(0.0, 0.0, 0.0)).load()
    assert Digits().problems() == []
