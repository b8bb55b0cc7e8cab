"""The bytes of checkpoints and exported networks, and what a changed bit does."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from localgrad import LocalgradError, load, localize
from localgrad.backbones import resnet20
from localgrad.methods import DGL
from localgrad.train import export_weights
from localgrad.train.tensors import checksum, file_bytes, read_tensors

DOCUMENT = {"format": "mine", "progress": {"epoch": 3, "sums": {"0": {"ce": float("nan")}}}}
TENSORS = {
    "count": torch.tensor(7),
    "empty": torch.zeros(0, 3),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "strided": torch.arange(12.0).view(3, 4).T,
}


def read(path: Path) -> tuple[dict[str, object], dict[str, torch.Tensor]]:
    return read_tensors(path, {"mine"}, "a test file")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(file_bytes(DOCUMENT, TENSORS))
    document, tensors = read(tmp_path / "file")
    assert json.dumps(document) == json.dumps(DOCUMENT)
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())
    assert file_bytes(DOCUMENT, TENSORS) == file_bytes(DOCUMENT, dict(reversed(TENSORS.items())))


def test_every_changed_byte_is_seen(tmp_path: Path) -> None:
    """In the header and in the tensors; only without the word "checksum" the file looks like an older one."""
    data, path = file_bytes(DOCUMENT, TENSORS), tmp_path / "file"
    word = data.index(b"checksum")
    for index in (*range(word), *range(word + len(b"checksum"), len(data))):
        changed = bytearray(data)
        changed[index] ^= 1
        path.write_bytes(changed)
        with pytest.raises(LocalgradError, match=re.escape(f"{path}")):
            read(path)


def test_what_is_said_about_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(file_bytes(DOCUMENT, TENSORS)[:-1] + b"!")
    text = (
        r"/file cannot be read as a test file: it is damaged, its checksum is (\S+), expected (\S+)\. Its content has "
        r"changed since it was written, on the disk or on the way: take another copy of it, or train anew\.$"
    )
    with pytest.raises(LocalgradError, match=text) as raised:
        read(path)
    found = re.search(text, str(raised.value))
    assert found is not None and found[1] != found[2]


def test_a_file_from_before_checksums_is_read(tmp_path: Path) -> None:
    save_file({"x": torch.ones(2)}, tmp_path / "file", {"localgrad": json.dumps(DOCUMENT)})
    document, tensors = read(tmp_path / "file")
    assert document["format"] == "mine"
    assert torch.equal(tensors["x"], torch.ones(2))


def test_the_checksum_is_of_names_types_shapes_and_values() -> None:
    x = torch.zeros(2, 3)
    others = [{"y": x}, {"x": x.int()}, {"x": x.view(3, 2)}, {"x": x + 1}, {"x": x, "y": x}, {}]
    digests = {checksum({}, tensors) for tensors in [{"x": x}, *others]} | {checksum({"a": 1}, {"x": x})}
    assert len(digests) == 2 + len(others)


def test_an_exported_network_with_a_changed_bit(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    export_weights(localize(resnet20(num_classes=4, width=0.5), DGL(), 1), path)
    load(path)
    data = bytearray(path.read_bytes())
    data[-7] ^= 64
    path.write_bytes(data)
    with pytest.raises(LocalgradError, match=r"cannot be read as a network that localgrad exported: it is damaged"):
        load(path)
