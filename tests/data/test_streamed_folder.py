"""The specs of streamed sets: what they read, and what they refuse before and while listing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from localgrad.data import Crops, DataError, ImageNet, ImageStream, StreamedFolder

UNPACK = Path(__file__).parents[3] / "shared" / "data" / "unpack_cifar10.py"


def test_lists_the_splits_and_opens_no_image(tmp_path: Path, publish):
    publish.image_folder(tmp_path / "insects", test="val")
    for path in (tmp_path / "insects").rglob("*.png"):
        path.write_bytes(b"")
    data = StreamedFolder(tmp_path / "insects", crops=Crops(32, 40), workers=3)
    assert (data.name, data.num_classes, data.image, data.problems()) == ("insects", 2, (3, 32, 32), [])
    images = data.load()
    assert isinstance(images, ImageStream)
    assert (images.name, images.classes, images.image, images.workers) == ("insects", ("ant", "bee"), (3, 32, 32), 3)
    assert [images.train.path(i) for i in (0, 5)] == ["train/ant/0.png", "train/bee/2.png"]
    assert images.test.path(3) == "val/bee/0.png"
    assert images.train.labels_N.tolist() == images.test.labels_N.tolist() == [0, 0, 0, 1, 1, 1]


def test_the_defaults_are_imagenets_protocol():
    data = StreamedFolder("x")
    assert data.crops == Crops(size=224, resize=256, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), flip=True)
    assert (data.mean, data.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (ImageNet("x").crops, ImageNet("x").mean, ImageNet("x").std) == (data.crops, data.mean, data.std)
    assert (ImageNet("x").name, ImageNet("x").num_classes, ImageNet("x").image) == ("imagenet", 1000, (3, 224, 224))


def test_a_root_given_as_path_or_text_is_the_same_spec():
    assert StreamedFolder(Path("x"), mean=[0.0] * 3) == StreamedFolder("x", mean=(0.0,) * 3)
    assert hash(ImageNet(Path("x"))) == hash(ImageNet("x"))


def test_hold_out_is_stratified_and_keeps_paths_and_labels_together(tmp_path: Path, publish):
    publish.image_folder(tmp_path, per_class=10)
    whole = StreamedFolder(tmp_path).load()
    images = whole.hold_out(0.2, seed=1)
    assert (len(images.train), len(images.val), len(images.test)) == (16, 4, 20)
    assert images.val.labels_N.tolist() == [0, 0, 1, 1]
    held = [images.val.path(i) for i in range(4)]
    assert [path.split("/")[1] for path in held] == ["ant", "ant", "bee", "bee"]
    assert not set(held) & {images.train.path(i) for i in range(16)}
    device = torch.device("cpu")
    options = {"training": False, "batch_size": 2, "seed": 0, "device": device}
    assert len(images.loader("val", **options)) == 2
    assert whole.loader("val", **options) is None


def test_all_problems_at_once(tmp_path: Path, publish):
    publish.image_folder(tmp_path)
    (tmp_path / "test" / "bee").rename(tmp_path / "test" / "dog")
    data = StreamedFolder(tmp_path, Crops(0, -1, (0.5, 1.5), (2, 1)), mean=(0.5,), workers=-2)
    expected = (
        f"{tmp_path}: Crops.size: expected 1 or more pixels, got 0",
        f"{tmp_path}: Crops.resize: expected at least size=0 pixels, got -1",
        f"{tmp_path}: Crops.scale: expected 0 < lowest <= highest <= 1, got (0.5, 1.5)",
        f"{tmp_path}: Crops.ratio: expected 0 < lowest <= highest, got (2, 1)",
        f"{tmp_path}: mean: expected 3 numbers, one per channel, got 1: (0.5,)",
        f"{tmp_path}: workers: expected 0 or more processes, got -2",
        f"{tmp_path}: train and test must have the same class folders; only in train: bee; only in test: dog",
    )
    assert data.problems() == list(expected)
    with pytest.raises(DataError) as raised:
        data.load()
    assert str(raised.value) == "\n".join(expected)


def test_files_that_are_no_images_are_found_when_listing(tmp_path: Path, publish):
    publish.image_folder(tmp_path)
    (tmp_path / "train" / "ant" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"1 files are no images; remove them:\n  train/ant/notes.txt"):
        StreamedFolder(tmp_path).load()


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 classes of one tiny JPEG per split, and the flat folder of unlabelled test images beside them."""
    root = tmp_path_factory.mktemp("imagenet")
    for split in ("train", "val"):
        for number in range(1000):
            path = root / split / f"n{number:08}" / "0.JPEG"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.full((9, 8, 3), number // 4, np.uint8)).save(path)
    (root / "test").mkdir()
    (root / "test" / "unlabelled.JPEG").touch()
    return root


def test_imagenet_validates_on_val_and_has_1000_classes(imagenet: Path):
    data = ImageNet(imagenet, crops=Crops(8, 8), workers=2)
    assert data.problems() == []
    images = data.load()
    assert (images.name, len(images.classes), len(images.train), len(images.test)) == ("imagenet", 1000, 1000, 1000)
    loader = images.loader("test", training=False, batch_size=400, seed=0, device=torch.device("cpu"),
                           needs=frozenset({"image"}))  # fmt: skip
    grey = torch.cat([batch.image.mean((1, 2, 3)) for batch in loader.epoch(0)]) * 255
    assert torch.allclose(grey, torch.arange(1000) // 4 * 1.0, atol=1.0)


def test_imagenet_of_other_classes_and_unsorted_validation_images(tmp_path: Path, publish):
    publish.image_folder(tmp_path, test="val")
    problem = f"{tmp_path}/train: expected the 1000 class folders of ImageNet, got 2; StreamedFolder reads other image"
    assert ImageNet(tmp_path).problems()[0].startswith(problem)
    for path in sorted((tmp_path / "val").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG").touch()
    with pytest.raises(DataError, match=r"The validation images are published in one folder: sort them by the labels"):
        ImageNet(tmp_path).load()
    assert ImageNet(tmp_path / "no").problems() == [
        f"{tmp_path}/no: does not exist; expected a folder with train/<class>/ and val/<class>/"
    ]


@pytest.mark.skipif(not UNPACK.exists(), reason=f"{UNPACK} is not on this machine")
def test_shared_cifar10_jpegs(tmp_path: Path):
    subprocess.run([sys.executable, str(UNPACK), str(tmp_path), "--limit", "100"], check=True, capture_output=True)
    images = StreamedFolder(tmp_path, Crops(32, 32), workers=2).load()
    loader = images.loader("train", training=True, batch_size=64, seed=0, device=torch.device("cpu"))
    batches = list(loader.epoch(0))
    assert [tuple(batch.x.shape) for batch in batches] == [(64, 3, 32, 32), (36, 3, 32, 32)]
    assert torch.bincount(torch.cat([batch.y for batch in batches])).tolist() == [10] * 10
    assert torch.equal(batches[1].x, loader.batch(0, 1).x)
