"""CIFAR-10 and CIFAR-100: every published form, and every way in which files can be wrong."""

import gzip
import logging
import pickle
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from localgrad.data import CIFAR10, CIFAR100, Augment, DataError, ImageSet

TRAIN = [f"data_batch_{i}" for i in range(1, 6)]


def assert_holds(split, parts) -> None:
    images = np.concatenate([images for images, _ in parts])
    assert torch.equal(split.images_NCHW, torch.from_numpy(images))
    assert split.labels_N.tolist() == [label for _, labels in parts for label in labels]


@pytest.mark.parametrize("folder", [".", "cifar-10-batches-py"])
def test_cifar10_python_form_in_root_and_sub_folder(tmp_path: Path, publish, folder: str):
    held = publish.cifar10_python(tmp_path / folder)
    data = CIFAR10(tmp_path)
    assert data.problems() == []
    images = data.load()
    assert isinstance(images, ImageSet)
    assert_holds(images.train, [held[name] for name in TRAIN])
    assert_holds(images.test, [held["test_batch"]])
    assert images.classes[0] == "airplane" and len(images.classes) == data.num_classes == 10
    assert images.image == data.image == (3, 32, 32)


@pytest.mark.parametrize("folder", [".", "cifar-10-batches-bin"])
def test_cifar10_binary_form(tmp_path: Path, publish, folder: str):
    held = publish.cifar10_binary(tmp_path / folder)
    images = CIFAR10(tmp_path).load()
    assert_holds(images.train, [held[name] for name in TRAIN])
    assert_holds(images.test, [held["test_batch"]])
    assert images.classes[-1] == "truck"


@pytest.mark.parametrize("prefix", ["", "./"])
@pytest.mark.parametrize("form", ["python", "binary"])
def test_cifar10_archives_are_read_in_place(tmp_path: Path, publish, form: str, prefix: str):
    folder = tmp_path / "made" / f"cifar-10-batches-{'py' if form == 'python' else 'bin'}"
    held = getattr(publish, f"cifar10_{form}")(folder)
    root = tmp_path / "root"
    root.mkdir()
    publish.archive(folder, root / f"cifar-10-{form}.tar.gz", prefix)
    images = CIFAR10(root).load()
    assert_holds(images.train, [held[name] for name in TRAIN])
    assert [path.name for path in root.iterdir()] == [f"cifar-10-{form}.tar.gz"]


@pytest.mark.parametrize("form", ["python", "binary"])
def test_cifar100_has_fine_labels(tmp_path: Path, publish, form: str):
    folder = tmp_path / f"cifar-100-{form}"
    held = getattr(publish, f"cifar100_{form}")(folder)
    images = CIFAR100(tmp_path).load()
    assert_holds(images.train, [held["train"]])
    assert_holds(images.test, [held["test"]])
    assert images.classes == tuple(f"fine{i}" for i in range(100))
    publish.archive(folder, tmp_path / f"cifar-100-{form}.tar.gz")
    shutil.rmtree(folder)
    assert torch.equal(CIFAR100(tmp_path).load().train.images_NCHW, images.train.images_NCHW)


def test_defaults_are_the_protocol_of_the_papers():
    for data in (CIFAR10("x"), CIFAR100("x")):
        assert data.mean == (125.3 / 255, 123.0 / 255, 113.9 / 255)
        assert data.std == (63.0 / 255, 62.1 / 255, 66.7 / 255)
        assert data.augment == Augment(pad=4, pad_mode="reflect", flip=True)
    assert CIFAR10().root == "data"
    assert CIFAR10() == CIFAR10("data") == CIFAR10(Path("data"))
    assert (CIFAR10().name, CIFAR100().name) == ("cifar10", "cifar100")


def test_fields_go_into_the_set(tmp_path: Path, publish):
    publish.cifar10_python(tmp_path)
    augment = Augment(pad=4, pad_mode="zero", flip=True)
    images = CIFAR10(tmp_path, augment=augment, mean=(0.5,) * 3, std=(0.25,) * 3).load()
    assert (images.augment, images.mean, images.std) == (augment, (0.5,) * 3, (0.25,) * 3)


def test_fewer_images_than_published_are_said(tmp_path: Path, publish, caplog):
    publish.cifar10_python(tmp_path)
    with caplog.at_level(logging.WARNING, "localgrad"):
        CIFAR10(tmp_path).load()
    assert "10 images in data_batch_1, data_batch_2" in caplog.text and "published are 50000" in caplog.text


def test_missing_files_name_every_place_and_what_to_do(tmp_path: Path):
    (tmp_path / "data_batch_1").touch()
    problems = CIFAR10(tmp_path).problems()
    assert len(problems) == 1
    for expected in (
        f"cifar10: no complete set of files under root='{tmp_path}'",
        f"{tmp_path}/cifar-10-batches-py/ (has none of data_batch_1, ",
        f"{tmp_path}/ (lacks data_batch_2, data_batch_3, data_batch_4, data_batch_5, test_batch, batches.meta)",
        f"{tmp_path}/cifar-10-batches-bin/ (has none of data_batch_1.bin",
        f"{tmp_path}/cifar-10-python.tar.gz (not there)",
        f"{tmp_path}/cifar-10-binary.tar.gz (not there)",
        "To do: put the published files there (https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz), "
        "or set download=True.",
    ):
        assert expected in problems[0]
    with pytest.raises(DataError, match=re.escape(problems[0])):
        CIFAR10(tmp_path).load()


def test_all_wrong_fields_are_reported_at_once(tmp_path: Path):
    data = CIFAR100(tmp_path, mean=(0.5,), std=(0.0, 1.0, 1.0), augment=Augment(pad=32))
    text = "\n".join(data.problems())
    assert "cifar100: mean: expected 3 numbers, one per channel, got 1: (0.5,)" in text
    assert "cifar100: std: expected positive numbers, got (0.0, 1.0, 1.0)" in text
    assert "reflection needs pad < the image's shorter side, got pad=32 for 32x32 images" in text
    assert "no complete set of files" in text


def test_truncated_binary_file_names_sizes(tmp_path: Path, publish):
    publish.cifar10_binary(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:5000])
    expected = f"{path}: truncated or damaged: expected a multiple of 3073 bytes (30730000 as published), got 5000"
    with pytest.raises(DataError, match=re.escape(expected)):
        CIFAR10(tmp_path).load()


@pytest.mark.parametrize("keep", [0, 1, 100, 4000])
def test_truncated_pickle_names_sizes(tmp_path: Path, publish, keep: int):
    publish.cifar10_python(tmp_path)
    path = tmp_path / "data_batch_2"
    path.write_bytes(path.read_bytes()[:keep])
    match = (
        rf"{path}: truncated or damaged pickle \(.*\): expected 10000 images of 3072 bytes "
        rf"\(30720000 bytes and labels\), got a file of {keep} bytes; put the published file there"
    )
    with pytest.raises(DataError, match=match):
        CIFAR10(tmp_path).load()


@pytest.mark.parametrize("cut", [20, 2000])
def test_truncated_archive_names_sizes(tmp_path: Path, publish, cut: int):
    publish.cifar10_python(tmp_path / "cifar-10-batches-py")
    path = tmp_path / "cifar-10-python.tar.gz"
    publish.archive(tmp_path / "cifar-10-batches-py", path)
    shutil.rmtree(tmp_path / "cifar-10-batches-py")
    size = path.stat().st_size - cut
    path.write_bytes(path.read_bytes()[:size])
    match = (
        rf"{path}: truncated or damaged archive \(.*\): expected 170498071 bytes as published, got {size}; delete it"
    )
    with pytest.raises(DataError, match=match):
        CIFAR10(tmp_path).load()


def test_flipped_byte_in_an_archive_is_found(tmp_path: Path, publish):
    publish.cifar100_binary(tmp_path / "cifar-100-binary")
    path = tmp_path / "cifar-100-binary.tar.gz"
    publish.archive(tmp_path / "cifar-100-binary", path)
    shutil.rmtree(tmp_path / "cifar-100-binary")
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="truncated or damaged archive"):
        CIFAR100(tmp_path).load()


def test_archive_without_a_file_names_it(tmp_path: Path, publish):
    folder = tmp_path / "cifar-10-batches-py"
    publish.cifar10_python(folder)
    (folder / "data_batch_4").unlink()
    publish.archive(folder, tmp_path / "cifar-10-python.tar.gz")
    with pytest.raises(DataError, match=r"the archive lacks cifar-10-batches-py/data_batch_4; delete it"):
        CIFAR10(tmp_path).load()


def test_archive_member_of_absurd_size_is_refused(tmp_path: Path, publish):
    path = tmp_path / "cifar-10-python.tar.gz"
    header = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
    header.size = 2**31
    with gzip.open(path, "wb") as packed:
        packed.write(header.tobuf())
    match = r"archive member cifar-10-batches-py/data_batch_1: expected at most 1073741824 bytes, got 2147483648"
    with pytest.raises(DataError, match=match):
        CIFAR10(tmp_path).load()


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_a_pickle_that_names_anything_else_is_refused(tmp_path: Path, publish, capsys):
    publish.cifar10_python(tmp_path)
    for protocol in range(6):
        (tmp_path / "data_batch_5").write_bytes(pickle.dumps({"data": Evil()}, protocol))
        with pytest.raises(
            DataError, match=r"data_batch_5: refused: it asks for the global (__builtin__|builtins).print"
        ):
            CIFAR10(tmp_path).load()
    assert "code ran" not in capsys.readouterr().out


def test_names_reached_through_numpy_are_refused(tmp_path: Path, publish):
    publish.cifar10_python(tmp_path)
    (tmp_path / "test_batch").write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.sort\x93.")
    with pytest.raises(DataError, match=r"refused: it asks for the global numpy.ndarray.sort, .* need only numpy.core"):
        CIFAR10(tmp_path).load()


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ([1, 2], r"expected a pickled dictionary, got list"),
        ({b"labels": [1]}, r"expected the keys b'data' and b'labels', lacks b'data'$"),
        ({b"data": b"abc", b"labels": [1]}, r"expected data as a byte array of shape \(N, 3072\) .*, got bytes"),
        ({b"data": np.zeros((1, 10), np.uint8), b"labels": [1]}, r"with N >= 1, got shape \(1, 10\)"),
        ({b"data": np.zeros((0, 3072), np.uint8), b"labels": []}, r"with N >= 1, got shape \(0, 3072\)"),
        ({b"data": np.zeros((1, 3072), np.float32), b"labels": [1]}, r"expected an array of bytes \(u1\), got .*f4"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, r"got 2 images and 1 labels"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [b"x"]}, r"expected b'labels' as a list of integers"),
        (
            {b"data": np.zeros((3, 3072), np.uint8), b"labels": [9, 10, -1]},
            r"label 10 at index 1 is out of range; allowed are 0 to 9 \(10 classes\); 2 of 3 labels are out of range",
        ),
    ],
)
def test_wrong_content_of_a_batch(tmp_path: Path, publish, entries, match: str):
    publish.cifar10_python(tmp_path)
    publish.pickle(tmp_path / "data_batch_1", entries)
    with pytest.raises(DataError, match=rf"(?s){tmp_path}/data_batch_1: .*{match}"):
        CIFAR10(tmp_path).load()


def test_wrong_class_names(tmp_path: Path, publish):
    publish.cifar10_python(tmp_path)
    publish.pickle(tmp_path / "batches.meta", {b"label_names": [b"one"]})
    with pytest.raises(DataError, match=r"batches.meta: expected 10 class names, got 1"):
        CIFAR10(tmp_path).load()
    publish.pickle(tmp_path / "batches.meta", {b"other": [b"one"]})
    with pytest.raises(DataError, match=r"batches.meta: expected b'label_names' as a list of names, got NoneType"):
        CIFAR10(tmp_path).load()


def test_array_in_fortran_order(tmp_path: Path, publish):
    held = publish.cifar10_python(tmp_path)
    path, (images, _) = tmp_path / "test_batch", held["test_batch"]
    flat = images.reshape(len(images), -1)
    raw = path.read_bytes().replace(b"\x89T", b"\x88T").replace(flat.tobytes(), flat.tobytes(order="F"))
    path.write_bytes(raw)
    assert torch.equal(CIFAR10(tmp_path).load().test.images_NCHW, torch.from_numpy(images))


@pytest.mark.parametrize(
    ("mean", "std", "cutout"),
    [
        ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), 0),  # DGL
        ((0.424, 0.415, 0.384), (0.283, 0.278, 0.284), 16),  # PredSim
    ],
)
def test_other_papers_protocols_are_arguments(tmp_path: Path, publish, mean: tuple, std: tuple, cutout: int):
    held = publish.cifar10_python(tmp_path)
    augment = Augment(pad=4, pad_mode="zero", flip=True, cutout=cutout)
    images = CIFAR10(tmp_path, augment=augment, mean=mean, std=std).load()
    options = {"batch_size": 2, "seed": 0, "device": torch.device("cpu")}
    assert images.loader("train", training=True, **options).augment == augment
    x = images.loader("test", training=False, **options).batch(0, 0).x
    expected = (held["test_batch"][0] / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    assert np.allclose(x.numpy(), expected, atol=1e-5)
