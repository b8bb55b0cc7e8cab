"""Stratified validation splits."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from localgrad.data import DataError, Split, split_validation
from localgrad.data.stratify import held_out


def split(labels: list[int]) -> Split:
    images = torch.arange(len(labels)).to(torch.uint8).view(-1, 1, 1, 1)
    return Split(images, torch.tensor(labels, dtype=torch.int64))


def test_divides_every_class_and_keeps_every_sample():
    whole = split([i % 3 for i in range(90)] + [3] * 10)
    train, val = split_validation(whole, 0.2, seed=0, num_classes=4)
    assert torch.bincount(val.labels_N).tolist() == [6, 6, 6, 2]
    assert torch.bincount(train.labels_N).tolist() == [24, 24, 24, 8]
    ids = train.images_NCHW.flatten().tolist() + val.images_NCHW.flatten().tolist()
    assert sorted(ids) == list(range(100))
    assert train.images_NCHW.flatten().tolist() == sorted(train.images_NCHW.flatten().tolist())


def test_same_seed_same_split_other_seed_another():
    whole = split([i % 2 for i in range(100)])
    first, again, other = (split_validation(whole, 0.3, seed, 2)[1].images_NCHW for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.data())
def test_every_class_is_within_one_of_its_share(labels: list[int], data: st.DataObject):
    count = data.draw(st.integers(0, len(labels)))
    tensor = torch.tensor(labels)
    mask = held_out(tensor, count, seed=3, num_classes=5)
    assert int(mask.sum()) == count
    for k in range(5):
        share = labels.count(k) * count / len(labels)
        assert abs(int(mask[tensor == k].sum()) - share) < 1


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_fraction_outside(fraction: float):
    with pytest.raises(DataError, match=rf"between 0 and 1, both excluded, got {re.escape(str(fraction))}"):
        split_validation(split([0, 1] * 10), fraction, 0, 2)


@pytest.mark.parametrize(("fraction", "facts"), [(0.01, "2 train, 0 val"), (0.99, "0 train, 2 val")])
def test_fraction_that_empties_a_class(fraction: float, facts: str):
    whole = split([0] * 100 + [1] * 2)
    match = rf"fraction {fraction} leaves 1 of 2 classes without a sample on one side \(class 1: {facts}\)"
    with pytest.raises(DataError, match=match):
        split_validation(whole, fraction, 0, 2)


def test_missing_class_and_wrong_label():
    with pytest.raises(DataError, match=r"leaves 1 of 3 classes .* \(class 2: 0 train, 0 val\)"):
        split_validation(split([0, 1] * 10), 0.5, 0, 3)
    with pytest.raises(DataError, match=r"split_validation: label 1 at index 1 is out of range; allowed are 0 to 0"):
        split_validation(split([0, 1]), 0.5, 0, 1)
