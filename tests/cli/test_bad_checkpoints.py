"""Checkpoints, exported files and run folders that are not what they should be."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.conftest import Localgrad

CHECKPOINT = Path("a/checkpoint.safetensors")
DAMAGED = "a/checkpoint.safetensors cannot be read as a localgrad checkpoint: "


@pytest.fixture
def run(localgrad: Localgrad) -> Localgrad:
    """With a finished run in the folder ``a``."""
    status, printed = localgrad("train", "exp.py:tiny", "--epochs", 1, "--out", "a")
    assert status == 0, printed
    return localgrad


def garbage() -> None:
    CHECKPOINT.write_bytes(bytes(range(256)) * 40)


def nothing() -> None:
    CHECKPOINT.write_bytes(b"")


def truncated() -> None:
    CHECKPOINT.write_bytes(CHECKPOINT.read_bytes()[:-1])


def flipped() -> None:
    data = bytearray(CHECKPOINT.read_bytes())
    data[-1000] ^= 1
    CHECKPOINT.write_bytes(data)


def pickled() -> None:
    torch.save({"weights": torch.zeros(3)}, CHECKPOINT)


def foreign() -> None:
    save_file({"x": torch.zeros(3)}, CHECKPOINT, {"format": "pt"})


def foreign_header() -> None:
    save_file({"x": torch.zeros(3)}, CHECKPOINT, {"localgrad": "[1"})


def folder() -> None:
    CHECKPOINT.unlink()
    CHECKPOINT.mkdir()


@pytest.mark.parametrize("words", [("train", "--resume", "a"), ("evaluate", "a"), ("export", "a", "-o", "b")])
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (garbage, DAMAGED),
        (nothing, DAMAGED),
        (truncated, DAMAGED),
        (flipped, f"{DAMAGED}it is damaged, its checksum is blake2b-128:"),
        (pickled, DAMAGED),
        (foreign_header, DAMAGED),
        (
            foreign,
            "a/checkpoint.safetensors is not a localgrad checkpoint: expected format 'localgrad checkpoint 1', got "
            "None.",
        ),
        (folder, "there is no checkpoint at a/checkpoint.safetensors."),
    ],
)
def test_an_unreadable_checkpoint(
    run: Localgrad, refused: Callable[..., str], spoil: Callable[[], None], told: str, words: tuple[str, ...]
) -> None:
    spoil()
    assert refused(*words).startswith(told)


def test_a_checkpoint_of_another_network(run: Localgrad, refused: Callable[..., str]) -> None:
    assert run("train", "exp.py:tiny", "--epochs", 1, "--width", 1, "--out", "b")[0] == 0
    CHECKPOINT.write_bytes(Path("b/checkpoint.safetensors").read_bytes())
    for words in (("train", "--resume", "a"), ("evaluate", "a")):
        told = refused(*words)
        assert "was made with other settings (checkpoint -> now):" in told
        assert "backbone.width: 1.0 -> 0.5" in told


def test_no_run_at_all(localgrad: Localgrad, refused: Callable[..., str]) -> None:
    Path("empty").mkdir()
    for name in ("empty", "nowhere", "exp.py"):
        told = f"{name} is not a run folder: it has no run.json. Give the folder that `train` printed."
        assert refused("train", "--resume", name) == told
        assert refused("evaluate", name) == told
        assert refused("export", name, "-o", "x") == told


def test_a_damaged_description(run: Localgrad, refused: Callable[..., str]) -> None:
    Path("a/run.json").write_text('{"origin": ')
    assert refused("train", "--resume", "a").startswith("a/run.json cannot be read as JSON: ")
    Path("a/run.json").write_text('{"origin": {}}')
    assert refused("train", "--resume", "a") == "a/run.json is not a localgrad run: expected the keys origin and facts."


def test_a_run_of_a_python_program(run: Localgrad, refused: Callable[..., str]) -> None:
    document = json.loads(Path("a/run.json").read_text())
    Path("a/run.json").write_text(json.dumps({**document, "origin": None}))
    assert refused("train", "--resume", "a").startswith("a was made by a Python program, not by a recipe: ")


def test_initial_weights(run: Localgrad, refused: Callable[..., str]) -> None:
    start = ("train", "exp.py:tiny", "--epochs", 1, "--out", "b", "--init-from")
    assert run("train", "exp.py:tiny", "--epochs", 1, "--width", 1, "--out", "wide")[0] == 0
    told = refused(*start, "wide")
    assert "/wide does not fit this network:\n" in told
    assert "\n  shape of layer1.0.bn1.weight: expected (8,), got (16,)\n" in told
    assert told.splitlines()[-1] == "  ... and 38 more"
    Path("bare").mkdir()
    assert "there is no file " in refused(*start, "bare")
    foreign()
    assert "is not a checkpoint or an exported network: expected format " in refused(*start, "a")
    garbage()
    assert "cannot be read as a checkpoint or an exported network: " in refused(*start, CHECKPOINT)
