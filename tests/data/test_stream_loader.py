"""Streaming: what a batch is, that workers change no bit of it, and what happens when one ends early."""

import os
import signal
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.conftest import child_processes
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from localgrad.data import Crops, DataError, StreamedFolder, StreamLoader
from localgrad.data.draws import epoch_order, stable_seed
from localgrad.data.stream_workers import CHUNK
from localgrad.rng import seeded

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
CROPS = Crops(size=8, resize=10)
COUNT = 44


@pytest.fixture
def folder(tmp_path: Path, publish) -> Path:
    publish.image_folder(tmp_path / "insects", per_class=COUNT // 2, size=(16, 21), extension="jpg")
    return tmp_path / "insects"


def loader(folder: Path, **changes) -> StreamLoader:
    values = {"crops": CROPS, "mean": MEAN, "std": STD, "batch_size": 6, "seed": 7, "device": "cpu", "training": True}
    return StreamLoader(StreamedFolder(folder).load().train, **{**values, **changes})


def same(one, other) -> bool:
    fields = (one.x, other.x), (one.y, other.y), (one.image, other.image)
    tensors = all(torch.equal(a, b) for a, b in fields if a is not None)
    return tensors and (one.step, one.epoch) == (other.step, other.epoch)


def by_torchvision(folder: Path, path: str, transform: v2.Transform) -> torch.Tensor:
    with Image.open(folder / path) as image:
        whole = v2.Compose([transform, v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
        return whole(image.convert("RGB"))


def test_training_batches_are_torchvisions_under_the_samples_own_seed(folder: Path):
    held = loader(folder)
    batch = held.batch(2, 1)
    transform = v2.Compose([v2.RandomResizedCrop(8), v2.RandomHorizontalFlip()])
    chosen = epoch_order(COUNT, 7, 2)[6:12]
    for x, y, sample in zip(batch.x, batch.y, chosen.tolist(), strict=True):
        with seeded(stable_seed("crop", 7, 2, sample)):
            expected = by_torchvision(folder, held.split.path(sample), transform)
        assert torch.allclose(x, expected, atol=1e-6)
        assert int(y) == (held.split.path(sample).split("/")[1] == "bee")


def test_test_batches_are_resized_and_cut_at_the_centre_in_the_splits_order(folder: Path):
    held = loader(folder, training=False)
    batch = held.batch(0, 1)
    transform = v2.Compose([v2.Resize(10), v2.CenterCrop(8)])
    for x, sample in zip(batch.x, range(6, 12), strict=True):
        assert torch.allclose(x, by_torchvision(folder, held.split.path(sample), transform), atol=1e-6)
    assert torch.equal(batch.x, held.batch(3, 1).x)


# More images in a batch than in a task, and fewer.
@pytest.mark.parametrize("batch_size", [6, CHUNK + 3])
def test_workers_change_no_bit_and_no_random_state(folder: Path, batch_size: int):
    options = {"batch_size": batch_size, "needs": frozenset({"image"}), "channels_last": True}
    state = torch.get_rng_state()
    alone = list(loader(folder, **options).epoch(1))
    helped = list(loader(folder, workers=2, **options).epoch(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(same(one, other) for one, other in zip(alone, helped, strict=True))
    assert all(batch.x.is_contiguous(memory_format=torch.channels_last) for batch in helped)
    labels = torch.cat([batch.y for batch in helped])
    assert torch.bincount(labels).tolist() == [COUNT // 2] * 2


def test_random_access_and_any_start_equal_the_walk(folder: Path):
    held = loader(folder, workers=2)
    walked = list(held.epoch(1))
    assert [batch.step for batch in walked] == list(range(8, 16)) and len(held) == 8
    rest = list(loader(folder, workers=1).epoch(1, start=6))
    assert len(rest) == 2 and all(same(one, other) for one, other in zip(rest, walked[6:], strict=True))
    assert same(held.batch(1, 3), walked[3])
    assert list(held.epoch(0, start=8)) == []


def test_draws_depend_on_epoch_and_sample_and_not_on_the_batch(folder: Path):
    def crops(epoch: int, **changes) -> dict[int, torch.Tensor]:
        x = torch.cat([batch.x for batch in loader(folder, **changes).epoch(epoch)])
        return dict(zip(epoch_order(COUNT, changes.get("seed", 7), epoch).tolist(), x, strict=True))

    base = crops(0)
    other = crops(0, batch_size=11)
    assert all(torch.equal(base[i], other[i]) for i in base)
    for different in (crops(1), crops(0, seed=8)):
        assert sum(torch.equal(base[i], different[i]) for i in base) < COUNT / 4


def test_image_is_the_pixels_before_normalisation(folder: Path):
    batch = loader(folder, needs=frozenset({"x", "image"})).batch(0, 0)
    assert batch.image.min() >= 0 and batch.image.max() <= 1
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    assert torch.equal((batch.image - mean) / std, batch.x)
    assert torch.equal(batch.x, loader(folder).batch(0, 0).x)
    assert loader(folder).batch(0, 0).image is None


def test_last_batch_is_short_or_dropped(folder: Path):
    assert [len(batch.y) for batch in loader(folder).epoch(0)] == [6] * 7 + [2]
    assert [len(batch.y) for batch in loader(folder, drop_last=True).epoch(0)] == [6] * 7


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_files_are_named_and_not_skipped(folder: Path, workers: int):
    cut = folder / "train" / "ant" / "1.jpg"
    cut.write_bytes(cut.read_bytes()[:-100])
    held = loader(folder, training=False, workers=workers)
    (folder / "train" / "ant" / "10.jpg").unlink()
    with pytest.raises(DataError) as raised:
        list(held.epoch(0))
    text = str(raised.value)
    assert text.startswith(f"{folder}: 2 files cannot be decoded; repair or remove them:\n  train/ant/")
    assert "train/ant/1.jpg: image file is truncated" in text
    assert "train/ant/10.jpg: [Errno 2] No such file" in text
    assert "Traceback" not in text
    assert child_processes() == []


def test_workers_end_when_the_epoch_is_closed(folder: Path):
    batches = loader(folder, workers=2).epoch(0)
    next(batches)
    assert len(child_processes()) == 2
    batches.close()
    assert child_processes() == []


def test_workers_leave_signals_to_the_parent_and_a_dead_one_is_said(folder: Path):
    batches = loader(folder, workers=2, batch_size=1).epoch(0)
    # One from each: both have started.
    next(batches), next(batches)
    workers = child_processes()
    for worker in workers:
        os.kill(worker.pid, signal.SIGINT)
        os.kill(worker.pid, signal.SIGTERM)
    for _ in range(15):
        next(batches)
    assert child_processes() == workers
    match = rf"a worker process that reads {folder} died \(.*\)\. .* or workers=0, which reads in the main process"
    os.kill(workers[0].pid, signal.SIGKILL)
    with pytest.raises(DataError, match=match):
        list(batches)
    assert child_processes() == []


def test_grey_images_become_rgb_and_16_bits_are_refused(folder: Path, tmp_path: Path):
    Image.new("L", (12, 12), 77).save(folder / "train" / "ant" / "0.jpg")
    assert loader(folder, training=False, needs=frozenset({"image"})).batch(0, 0).image[0].unique().numel() == 1
    Image.new("I;16", (12, 12)).save(folder / "train" / "ant" / "0.jpg", format="png")
    with pytest.raises(DataError, match=r"train/ant/0.jpg: mode I;16 \(more than 8 bits per value\) would be cut off"):
        loader(folder, training=False).batch(0, 0)


def test_all_wrong_arguments_at_once(folder: Path):
    with pytest.raises(DataError) as raised:
        loader(folder, mean=(0.5,), batch_size=0, workers=-1, needs=frozenset({"views"}), crops=Crops(9, 8))
    for line in (
        "StreamLoader: mean: expected 3 numbers, one per channel, got 1: (0.5,)",
        "StreamLoader: batch_size: expected 1 or more, got 0",
        "StreamLoader: workers: expected 0 or more processes, got -1",
        "StreamLoader: needs: this loader gives ['image', 'x', 'y'], asked for ['views'] as well",
        "StreamLoader: Crops.resize: expected at least size=9 pixels, got 8",
    ):
        assert line in str(raised.value)
    with pytest.raises(IndexError, match="epoch >= 0 and start 0 to 8, got 0 and 9"):
        loader(folder).epoch(0, 9)
    with pytest.raises(IndexError, match="index 0 to 7, got 0 and 8"):
        loader(folder).batch(0, 8)


def test_pixels_survive_without_resizing(tmp_path: Path, publish):
    """A PNG as large as the crop comes through unchanged: decoding and layout, without resampling."""
    held = publish.image_folder(tmp_path, per_class=1, size=(8, 8))
    batch = loader(tmp_path, training=False, needs=frozenset({"image"}), crops=Crops(8, 8)).batch(0, 0)
    expected = torch.stack([functional.to_image(held[f"train/{name}/0.png"]) for name in ("ant", "bee")])
    assert torch.equal(batch.image, expected / 255)
