"""The cache of decoded images: used while it fits, made anew when it does not, and never trusted when damaged."""

import logging
import os
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from localgrad.data import DataError, ImageFolder


@pytest.fixture
def folder(tmp_path: Path, publish, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    publish.image_folder(tmp_path / "set")
    return tmp_path / "set"


def cache_of(folder: Path, name: str = "own-size") -> Path:
    return folder / ".localgrad-cache" / f"{name}.safetensors"


def same(one, other) -> bool:
    return all(
        torch.equal(getattr(one, s).images_NCHW, getattr(other, s).images_NCHW)
        and torch.equal(getattr(one, s).labels_N, getattr(other, s).labels_N)
        for s in ("train", "test")
    )


def test_written_once_and_used(folder: Path):
    first = ImageFolder(folder).load()
    path = cache_of(folder)
    written = path.stat().st_mtime_ns
    assert [entry.name for entry in path.parent.iterdir()] == ["own-size.safetensors"]
    assert same(ImageFolder(folder).load(), first)
    assert path.stat().st_mtime_ns == written


def test_pixels_come_from_the_cache(folder: Path):
    """Same path, size and time, other pixels: only a cache that is read gives the old ones."""
    first = ImageFolder(folder).load()
    target = folder / "train" / "ant" / "0.png"
    facts = target.stat()
    raw = target.read_bytes()
    target.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert same(ImageFolder(folder).load(), first)


@pytest.mark.parametrize("change", ["add", "remove", "rename", "rewrite", "touch"])
def test_any_change_of_the_folder_makes_it_anew(folder: Path, change: str):
    ImageFolder(folder).load()
    written = cache_of(folder).stat().st_ino
    target = folder / "train" / "ant" / "0.png"
    if change == "add":
        Image.new("RGB", (6, 8), (9, 9, 9)).save(target.with_name("9.png"))
    elif change == "remove":
        target.unlink()
    elif change == "rename":
        target.rename(target.with_name("z.png"))
    elif change == "rewrite":
        Image.new("RGB", (6, 8), (9, 9, 9)).save(target)
    else:
        os.utime(target, (time.time() + 5, time.time() + 5))
    images = ImageFolder(folder).load()
    assert len(images.train) == {"add": 7, "remove": 5}.get(change, 6)
    assert cache_of(folder).stat().st_ino != written or change == "touch"
    if change == "rewrite":
        assert images.train.images_NCHW[0].unique().tolist() == [9]
    assert len(list(cache_of(folder).parent.iterdir())) == 1


def test_one_file_per_size(folder: Path):
    for size in (None, 4, 5, 4):
        ImageFolder(folder, image=size).load()
    names = sorted(path.name for path in cache_of(folder).parent.iterdir())
    assert names == ["4x4.safetensors", "5x5.safetensors", "own-size.safetensors"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_damaged_cache_is_made_anew_and_said(folder: Path, caplog, damage: str):
    first = ImageFolder(folder).load()
    path = cache_of(folder)
    raw = path.read_bytes()
    path.write_bytes(
        {
            "cut": raw[:-100],
            "flipped": raw[:-100] + bytes([raw[-100] ^ 255]) + raw[-99:],
            "empty": b"",
            "text": b"no safetensors",
        }[damage]
    )
    with caplog.at_level(logging.WARNING, "localgrad"):
        assert same(ImageFolder(folder).load(), first)
    assert f"{path}: damaged cache" in caplog.text and "it is made anew" in caplog.text
    caplog.clear()
    assert same(ImageFolder(folder).load(), first)
    assert not caplog.text


def test_user_cache_where_the_root_cannot_be_written(folder: Path, tmp_path: Path, caplog):
    (folder / ".localgrad-cache").touch()  # a file in the way: even root cannot make the folder
    first = ImageFolder(folder).load()
    (held,) = (tmp_path / "user" / "localgrad").iterdir()
    written = held.stat().st_mtime_ns
    assert held.name.endswith("-own-size.safetensors")
    assert same(ImageFolder(folder).load(), first)
    assert held.stat().st_mtime_ns == written


def test_nowhere_to_write_is_said_and_no_failure(folder: Path, tmp_path: Path, caplog):
    (folder / ".localgrad-cache").touch()
    (tmp_path / "user").touch()
    with caplog.at_level(logging.WARNING, "localgrad"):
        assert len(ImageFolder(folder).load().train) == 6
    assert "decoded images are not kept, they will be decoded again" in caplog.text


def test_folder_given(folder: Path, tmp_path: Path):
    ImageFolder(folder, cache=tmp_path / "mine").load()
    assert len(list((tmp_path / "mine").iterdir())) == 1
    assert not (folder / ".localgrad-cache").exists()
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"the cache cannot be written: .*file.*; give cache= a folder that can be"):
        ImageFolder(folder, cache=tmp_path / "file").load()
