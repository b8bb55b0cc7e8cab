"""The loader: what a batch is, in which order, and that it is a function of (seed, epoch, index)."""

import itertools

import pytest
import torch
from torchvision import transforms
from torchvision.transforms.v2 import functional

from localgrad.data import Augment, DataError, Loader, Split
from localgrad.data.draws import crop_and_flip, epoch_order

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
CROP = Augment(pad=2, pad_mode="zero", flip=True)


@pytest.fixture
def split() -> Split:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (23, 3, 8, 8), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(23))


def loader(split: Split, **changes) -> Loader:
    values = {"mean": MEAN, "std": STD, "batch_size": 5, "seed": 7, "device": "cpu", "shuffle": True}
    return Loader(split, **{**values, **changes})


def test_normalises_as_torchvision_bit_for_bit(split: Split):
    batch = loader(split, shuffle=False).batch(0, 0)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    expected = torch.stack([transform(functional.to_pil_image(image)) for image in split.images_NCHW[:5]])
    assert batch.x.dtype == torch.float32
    assert torch.equal(batch.x, expected)
    assert batch.y.tolist() == [0, 1, 2, 3, 4] and batch.y.dtype == torch.int64
    assert batch.image is None


def test_short_last_batch_and_lengths(split: Split):
    held = loader(split)
    assert len(held) == 5
    assert [len(batch.y) for batch in held.epoch(0)] == [5, 5, 5, 5, 3]
    dropping = loader(split, drop_last=True)
    assert [len(batch.y) for batch in dropping.epoch(0)] == [5] * len(dropping) == [5] * 4
    assert len(loader(split, batch_size=23)) == len(loader(split, batch_size=99)) == 1


def test_every_sample_once_per_epoch_in_the_order_of_seed_and_epoch(split: Split):
    held = loader(split)
    for epoch in (0, 3):
        labels = torch.cat([batch.y for batch in held.epoch(epoch)])
        assert torch.equal(labels, epoch_order(23, 7, epoch))
        assert sorted(labels.tolist()) == list(range(23))
    assert not torch.equal(epoch_order(23, 7, 0), epoch_order(23, 7, 3))
    assert not torch.equal(epoch_order(23, 7, 0), epoch_order(23, 8, 0))


def test_crops_are_per_sample_and_by_epoch_and_index(split: Split):
    one = Split(split.images_NCHW[:1].expand(64, -1, -1, -1).contiguous(), torch.zeros(64, dtype=torch.int64))
    held = loader(one, augment=CROP, batch_size=32, needs=frozenset({"image"}))
    batch = held.batch(1, 1)
    draws = crop_and_flip(32, 2, 7, 1, 1).T.tolist()
    for image, (row, column, flip) in zip(batch.image, draws, strict=True):
        padded = torch.nn.functional.pad(one.images_NCHW[0], (2, 2, 2, 2))[:, row : row + 8, column : column + 8]
        assert torch.equal(image, (padded.flip(-1) if flip else padded) / 255)
    assert len({tuple(image.flatten().tolist()) for image in batch.image}) > 16
    assert not torch.equal(held.batch(1, 0).x, batch.x)
    assert not torch.equal(held.batch(0, 1).x, batch.x)


def test_random_access_equals_iteration_in_any_order(split: Split):
    held = loader(split, augment=CROP)
    walked = [list(held.epoch(epoch)) for epoch in range(3)]
    other = loader(split, augment=CROP)
    for index, epoch in itertools.product((4, 0, 2), (2, 0, 1)):
        batch, expected = other.batch(epoch, index), walked[epoch][index]
        assert torch.equal(batch.x, expected.x) and torch.equal(batch.y, expected.y)
        assert (batch.step, batch.epoch) == (expected.step, expected.epoch) == (epoch * 5 + index, epoch)
    rest = list(held.epoch(1, start=3))
    assert [batch.step for batch in rest] == [8, 9]
    assert torch.equal(rest[0].x, walked[1][3].x)
    assert list(held.epoch(0, start=5)) == []


def test_image_is_augmented_and_not_normalised_and_does_not_change_x(split: Split):
    plain = loader(split, augment=CROP).batch(0, 1)
    with_image = loader(split, augment=CROP, needs=frozenset({"x", "y", "image"})).batch(0, 1)
    assert torch.equal(plain.x, with_image.x)
    image = with_image.image
    assert image.dtype == torch.float32 and image.min() >= 0 and image.max() <= 1
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    assert torch.equal((image - mean) / std, with_image.x)


def test_channels_last_changes_the_layout_only(split: Split):
    needs = frozenset({"image"})
    plain = loader(split, augment=CROP, needs=needs).batch(0, 0)
    last = loader(split, augment=CROP, needs=needs, channels_last=True).batch(0, 0)
    for one, other in ((plain.x, last.x), (plain.image, last.image)):
        assert torch.equal(one, other) and one.is_contiguous()
        assert other.is_contiguous(memory_format=torch.channels_last) and not other.is_contiguous()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_types(split: Split, dtype: torch.dtype):
    batch = loader(split, dtype=dtype, needs=frozenset({"image"})).batch(0, 0)
    exact = loader(split, dtype=torch.float64, needs=frozenset({"image"})).batch(0, 0)
    assert batch.x.dtype == batch.image.dtype == dtype
    tolerance = {torch.float64: 0.0, torch.bfloat16: 2**-8, torch.float16: 2**-10}[dtype]
    assert torch.allclose(batch.x.double(), exact.x, rtol=tolerance, atol=1e-6)


def test_batches_do_not_share_memory_with_the_split(split: Split):
    before = split.images_NCHW.clone(), split.labels_N.clone()
    held = loader(split, shuffle=False, needs=frozenset({"image"}))
    batch = held.batch(0, 0)
    for tensor in (batch.x, batch.image, batch.y):
        tensor.zero_()
    assert torch.equal(split.images_NCHW, before[0]) and torch.equal(split.labels_N, before[1])
    assert held.batch(0, 0).x.abs().sum() > 0


def test_augment_that_does_nothing_equals_none(split: Split):
    assert torch.equal(loader(split, augment=Augment()).batch(0, 0).x, loader(split).batch(0, 0).x)


def test_the_split_is_not_copied_where_it_is_on_the_device_already(split: Split):
    assert loader(split).split.images_NCHW.data_ptr() == split.images_NCHW.data_ptr()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; the draws are the same on the CPU")
def test_same_batches_on_cuda(split: Split):
    for augment in (CROP, Augment(2, "reflect", True), None):
        here = list(loader(split, augment=augment).epoch(1))
        there = list(loader(split, augment=augment, device="cuda").epoch(1))
        for one, other in zip(here, there, strict=True):
            assert other.x.is_cuda and torch.equal(one.y, other.y.cpu())
            assert torch.allclose(one.x, other.x.cpu(), atol=1e-6)


def test_all_wrong_arguments_at_once(split: Split):
    with pytest.raises(DataError) as raised:
        loader(
            split,
            mean=(0.5,),
            batch_size=0,
            augment=Augment(pad=8),
            needs=frozenset({"views", "x"}),
            dtype=torch.int32,
        )
    for line in (
        "Loader: mean: expected 3 numbers, one per channel, got 1: (0.5,)",
        "Loader: batch_size: expected 1 or more, got 0",
        "Loader: Augment.pad: reflection needs pad < the image's shorter side, got pad=8 for 8x8 images",
        "Loader: needs: this loader gives ['image', 'x', 'y'], asked for ['views'] as well",
        "Loader: dtype: expected a floating-point type, got torch.int32",
    ):
        assert line in str(raised.value)


def test_no_batch_at_all(split: Split):
    with pytest.raises(
        DataError, match=r"no batch can be made: the split has 23 samples, batch_size=24, drop_last=True"
    ):
        loader(split, batch_size=24, drop_last=True)
    with pytest.raises(DataError, match=r"the split has 0 samples"):
        loader(split.take(torch.arange(0)))


def test_places_outside_the_epoch(split: Split):
    held = loader(split)
    with pytest.raises(IndexError, match=r"expected epoch >= 0 and index 0 to 4, got 0 and 5"):
        held.batch(0, 5)
    with pytest.raises(IndexError, match=r"got -1 and 0"):
        held.batch(-1, 0)
    with pytest.raises(IndexError, match=r"start: expected 0 to 5 \(batches per epoch\), got 6"):
        held.epoch(0, start=6)
