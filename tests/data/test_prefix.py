"""The first images of a set."""

import pytest
import torch

from localgrad.data import DataError, Digits, ImageNet, Prefix


def test_classes_keep_their_share_and_images_their_order() -> None:
    whole, part = Digits().load(), Prefix(Digits(), 200, 100).load()
    assert (part.name, len(part.train), len(part.test)) == ("digits[:200]", 200, 100)
    assert part.classes == whole.classes and part.augment == whole.augment and part.mean == whole.mean
    counts = torch.bincount(part.train.labels_N, minlength=10)
    share = torch.bincount(whole.train.labels_N, minlength=10) * 200 / len(whole.train)
    assert (counts - share).abs().max() < 1
    images = [image.numpy().tobytes() for image in whole.train.images_NCHW]
    places = [images.index(image.numpy().tobytes()) for image in part.train.images_NCHW]
    assert places == sorted(places)
    again = Prefix(Digits(), 200, 100).load()
    assert torch.equal(again.train.images_NCHW, part.train.images_NCHW)


def test_a_set_that_has_no_more_is_whole() -> None:
    part = Prefix(Digits(), 5000, 5000).load()
    assert (len(part.train), len(part.test)) == (1437, 360)


def test_what_cannot_be_cut() -> None:
    assert Prefix(Digits(), 0, 5).problems() == ["digits[:0]: train must be at least 1, got 0."]
    with pytest.raises(DataError, match="train must be at least 1, got 0"):
        Prefix(Digits(), 0, 5).load()
    assert "does not exist" in Prefix(ImageNet("nowhere"), 5, 5).problems()[0]
