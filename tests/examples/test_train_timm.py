"""The timm example trains, and its weights are timm's."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import timm
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("method", ["backprop", "dgl"])
def test_train_timm(tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str) -> None:
    train_timm = example("train_timm")
    train_timm.generate(tmp_path / "images", train=4, val=2, size=40)
    arguments = [
        "--model",
        "resnet10t",
        "--size",
        "32",
        "--batch",
        "4",
        "--epochs",
        "2",
        "--modules",
        "2",
        "--lr",
        "0.01",
    ]
    where = ["--data", str(tmp_path / "images"), "--out", str(tmp_path / "weights.pt"), "--device", "cpu"]
    top1 = train_timm.main([*arguments, *where, "--method", method, "--auto-augment", "rand-m9-mstd0.5"])
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 and printed[1].startswith("epoch 2/2: last losses of the units ")
    losses = printed[1].removeprefix("epoch 2/2: last losses of the units ").partition(";")[0].split()
    assert len(losses) == (1 if method == "backprop" else 2) and all(0 < float(loss) < 20 for loss in losses)
    assert 0 <= top1 <= 100

    torch.manual_seed(0)
    fresh = timm.create_model("resnet10t", num_classes=3)
    trained = timm.create_model("resnet10t", num_classes=3, checkpoint_path=str(tmp_path / "weights.pt"))
    same = [torch.equal(a, b) for a, b in zip(fresh.parameters(), trained.parameters(), strict=True)]
    assert not any(same)
