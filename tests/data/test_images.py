"""Splits, sets, augmentations and label checks refuse what does not fit."""

import re
from dataclasses import fields

import pytest
import torch

from localgrad.data import (
    CIFAR10,
    CIFAR100,
    KMNIST,
    MNIST,
    STL10,
    SVHN,
    Augment,
    Data,
    DataError,
    Digits,
    FashionMNIST,
    ImageFolder,
    ImageNet,
    ImageNet32,
    ImageSet,
    Split,
    StreamedFolder,
    check_labels,
)

SPECS = (
    *(data() for data in (CIFAR10, CIFAR100, SVHN, STL10, Digits, MNIST, FashionMNIST, KMNIST, ImageNet32)),
    *(data("x") for data in (ImageFolder, StreamedFolder, ImageNet)),
)


def split(count: int = 3, label: int = 0, size: int = 4) -> Split:
    return Split(torch.zeros(count, 1, size, size, dtype=torch.uint8), torch.full((count,), label))


@pytest.mark.parametrize(
    ("images", "labels", "match"),
    [
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64), "expected uint8 of shape NCHW, got torch.float32"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), r"of shape \(2, 4, 4\)"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2), "expected int64 of shape N, got torch.float32"),
        (
            torch.zeros(2, 1, 4, 4, dtype=torch.uint8),
            torch.zeros(3, dtype=torch.int64),
            "got 2 images and 3 labels",
        ),
    ],
)
def test_split_refuses(images: torch.Tensor, labels: torch.Tensor, match: str):
    with pytest.raises(DataError, match=match):
        Split(images, labels)


def image_set(**changes) -> ImageSet:
    values = {"name": "own", "train": split(), "test": split(), "classes": ("a", "b"), "mean": (0.5,), "std": (0.5,)}
    return ImageSet(**{**values, "augment": Augment(), **changes})


def test_image_set_reports_all_at_once():
    with pytest.raises(DataError) as raised:
        image_set(test=split(0, size=5), mean=(1.0, 2.0), std=(-1.0,), augment=Augment(pad=4))
    for line in (
        "own: mean: expected 1 numbers, one per channel, got 2: (1.0, 2.0)",
        "own: std: expected positive numbers, got (-1.0,)",
        "own: Augment.pad: reflection needs pad < the image's shorter side, got pad=4 for 4x4 images",
        "own: train and test images must have one shape, got (1, 4, 4) and (1, 5, 5)",
        "own: the test split is empty",
    ):
        assert line in str(raised.value)


def test_image_set_checks_labels_of_both_splits():
    with pytest.raises(DataError, match=r"own, test split: label 2 at index 0 is out of range; allowed are 0 to 1"):
        image_set(test=split(label=2))
    assert image_set(train=split(label=1)).image == (1, 4, 4)


def test_check_labels():
    check_labels(torch.tensor([0, 4]), 5, "here")
    expected = (
        "here: label -1 at index 1 is out of range; allowed are 0 to 4 (5 classes); 2 of 3 labels are out of range"
    )
    with pytest.raises(DataError, match=re.escape(expected)):
        check_labels(torch.tensor([0, -1, 5]), 5, "here")
    with pytest.raises(
        DataError, match=r"here: expected labels as one axis of integers, got shape \(2,\) of torch.float"
    ):
        check_labels(torch.zeros(2), 5, "here")


def test_augment_refuses():
    with pytest.raises(DataError, match=r"Augment.pad: expected 0 or more pixels, got -1"):
        Augment(pad=-1)
    with pytest.raises(DataError, match=r"expected one of \('reflect', 'zero'\), got 'edge'"):
        Augment(pad_mode="edge")


@pytest.mark.parametrize("data", SPECS)
def test_specs_are_data_hashable_and_equal(data: Data):
    assert isinstance(data, Data)
    assert hash(data) == hash(type(data)(**{field.name: getattr(data, field.name) for field in fields(data)}))


def test_split_moves_and_selects():
    held = Split(torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1), torch.tensor([5, 6, 7]))
    taken = held.take(torch.tensor([2, 0]))
    assert taken.images_NCHW.flatten().tolist() == [2, 0] and taken.labels_N.tolist() == [7, 5]
    assert held.to("cpu").images_NCHW.data_ptr() == held.images_NCHW.data_ptr()
    assert len(held) == 3


def test_hold_out_and_loaders_of_a_set_in_memory():
    data = split(20, size=4)
    data = Split(data.images_NCHW + torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1), torch.arange(20) % 2)
    whole = ImageSet("noise", data, split(3), ("a", "b"), (0.5,), (0.5,), Augment(pad=1, pad_mode="zero"))
    held = whole.hold_out(0.2, seed=3)
    assert (len(held.train), len(held.val), len(held.test)) == (16, 4, 3)
    both = torch.cat((held.train.images_NCHW, held.val.images_NCHW))[:, 0, 0, 0]
    assert sorted(both.tolist()) == list(range(20)) and held.val.labels_N.sum() == 2
    options = {"batch_size": 5, "seed": 1, "device": torch.device("cpu")}
    assert whole.loader("val", training=False, **options) is None
    assert len(whole.loader("train", training=True, **{**options, "batch_size": 6})) == 4
    assert len(whole.loader("train", training=True, drop_last=True, **{**options, "batch_size": 6})) == 3
    train, val = held.loader("train", training=True, **options), held.loader("val", training=False, **options)
    assert (train.augment, train.shuffle, len(train)) == (whole.augment, True, 4)
    assert (val.augment, val.shuffle, len(val)) == (None, False, 1)
