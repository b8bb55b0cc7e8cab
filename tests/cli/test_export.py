"""``export`` and ``evaluate``: the trained network alone, and its figures again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from localgrad import LocalgradError, load
from localgrad.backbones import cifar_resnet
from localgrad.network import build_model
from localgrad.train.newest import load_trained
from localgrad.train.run import Run
from tests.cli.conftest import Localgrad
from tests.train.conftest import rows
from tests.train.processes import Launcher

TRAIN = ("train", "digits.auglocal", "--layers", 8, "--depth", 2, "--epochs", 2)


@pytest.fixture
def run(localgrad: Localgrad) -> Localgrad:
    """With a finished run in the folder ``a`` and its exported network ``a.safetensors``."""
    assert localgrad(*TRAIN, "--out", "a")[0] == 0
    status, printed = localgrad("export", "a", "-o", "a.safetensors")
    assert (status, printed) == (0, f"a.safetensors: resnet8, {Path('a.safetensors').stat().st_size} bytes\n")
    return localgrad


def recipe() -> Run:
    from localgrad.recipes import digits

    return digits.auglocal(layers=8, depth=2, epochs=2)


def test_the_exported_network_gives_the_logits_of_the_run(run: Localgrad) -> None:
    from localgrad.cli.options import run_from_origin
    from localgrad.train.record import read_run

    own = run_from_origin(read_run(Path("a"))["origin"], Path("a"), {})
    net = load_trained(own, Path("a")).eval()
    plain = load("a.safetensors")
    x = torch.randn(6, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(net(x), plain(x))
    assert not plain.training
    assert [type(module) for module in plain.modules() if "Unit" in type(module).__name__] == []


def test_the_file_holds_the_plain_network_only(run: Localgrad) -> None:
    with safe_open("a.safetensors", framework="pt") as file:
        names, metadata = set(file.keys()), file.metadata()
    net = recipe().network()
    assert names == set(net.model.state_dict())
    assert any(name.startswith("aux.") for name in net.state_dict())
    assert list(metadata) == ["localgrad"]
    assert set(json.loads(metadata["localgrad"])) == {"format", "backbone", "checksum"}


def test_plain_pytorch_can_load_it(run: Localgrad) -> None:
    model: nn.Module
    model, _ = build_model(cifar_resnet(8, 10, image=(1, 8, 8)), seed=7)
    model.load_state_dict(load_file("a.safetensors"))
    x = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(model.eval()(x), load("a.safetensors")(x))


def test_equal_weights_give_equal_bytes_in_other_folders_and_processes(run: Localgrad, commands: Launcher) -> None:
    commands.done(*TRAIN, "--out", "elsewhere/b", "--device", "cpu")
    commands.done("export", "elsewhere/b", "-o", "deep/b.safetensors")
    commands.done("export", "a", "-o", "again.safetensors")
    here = Path("a.safetensors").read_bytes()
    assert Path("deep/b.safetensors").read_bytes() == here
    assert Path("again.safetensors").read_bytes() == here
    commands.done(*TRAIN, "--seed", 1, "--out", "c")
    commands.done("export", "c", "-o", "c.safetensors")
    assert Path("c.safetensors").read_bytes() != here


def test_a_damaged_or_foreign_file(run: Localgrad) -> None:
    whole = Path("a.safetensors").read_bytes()
    for name, data in (("short", whole[:-9]), ("header", whole[:40]), ("text", b"hello")):
        Path(name).write_bytes(data)
        with pytest.raises(LocalgradError, match=f"^{name} cannot be read as a network that localgrad exported: "):
            load(name)
    with pytest.raises(LocalgradError, match=r"expected format 'localgrad weights 1', got 'localgrad checkpoint 1'\.$"):
        load("a/checkpoint.safetensors")
    with pytest.raises(LocalgradError, match=r"^there is no file nowhere; expected a network that localgrad exported"):
        load("nowhere")


def test_places_that_cannot_be_written(run: Localgrad, refused: Callable[..., str]) -> None:
    Path("folder").mkdir()
    assert refused("export", "a", "-o", "folder").endswith(": Is a directory.")
    assert refused("export", "a", "-o", "a.safetensors/b") == "the folder a.safetensors cannot be made: File exists."


def test_a_run_starts_from_an_exported_network(run: Localgrad) -> None:
    start = ("train", "digits.dgl", "--layers", 8, "--epochs", 1, "--seed", 3)
    for name, source in (("b", "a.safetensors"), ("c", "a"), ("d", "a/checkpoint.safetensors")):
        assert run(*start, "--init-from", source, "--out", name)[0] == 0
    assert run(*start, "--out", "e")[0] == 0
    assert rows(Path("b")) == rows(Path("c")) == rows(Path("d")) != rows(Path("e"))


def test_evaluate_repeats_the_figures_of_the_last_epoch(run: Localgrad) -> None:
    status, printed = run("evaluate", "a")
    test = rows(Path("a"))[-1]["last"]["test"]
    first, *lines = printed.splitlines()
    units, ensembles, checkpoint = lines[:-3], lines[-3:-1], lines[-1]
    assert checkpoint == "Checkpoint: after epoch 2 of 2, seed 0, float32."
    assert status == 0
    assert first == (
        f"test top-1 {test['top1']:.2f} %  top-5 {test['top5']:.2f} %  loss {test['loss']:.4f}  (360 images)"
    )
    assert [line.split()[1] for line in units] == list(test["units"])
    assert [line.split()[-2] for line in units] == [f"{value:.2f}" for value in test["units"].values()]
    assert [line.split() for line in ensembles] == [
        ["ensemble", mode, "top-1", f"{value:.2f}", "%"] for mode, value in test["ensemble"].items()
    ]
