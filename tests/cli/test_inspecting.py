"""``cost`` and ``audit`` on small settings."""

from pathlib import Path

import pytest

from tests.cli.conftest import Localgrad


def test_cost_puts_a_recipe_beside_backpropagation(localgrad: Localgrad) -> None:
    status, printed = localgrad("cost", "digits.dgl", "--layers", 8, "--batch-size", 32)
    assert status == 0, printed
    lines = [line.split() for line in printed.splitlines() if line.strip()]
    found = {words[0]: words for words in lines if words[0] in ("backprop", "checkpointing", "digits.dgl")}
    assert [found[name][1] for name in ("backprop", "checkpointing", "digits.dgl")] == ["1", "1", "4"]
    assert found["backprop"][-1] == "1.000"
    assert float(found["checkpointing"][-1]) < 1
    assert "batch 32, float32, SGD" in printed
    assert list(Path.cwd().iterdir()) == [Path.cwd() / "exp.py"]


def test_cost_needs_no_data(localgrad: Localgrad) -> None:
    status, printed = localgrad("cost", "cifar100.auglocal_resnet32", "--modules", 8, "--depth", 2, "--batch-size", 4)
    assert status == 0, printed
    assert "resnet32, images 3x32x32, batch 4" in printed


def test_cost_of_a_perceptron(localgrad: Localgrad) -> None:
    """Millions of multiply-accumulates of 784 -> 1024 -> 1024 -> 1024 -> 10, and with the auxiliary networks."""
    status, printed = localgrad("cost", "mnist.predsim_mlp", "--batch-size", 4)
    assert status == 0, printed
    assert "mlp, images 1x28x28, batch 4, float32, Adam" in printed
    rows = {words[0]: words[1:6] for line in printed.splitlines() if len(words := line.split()) == 8}
    assert rows["backprop"] == ["1", "2,919,434", "0", "2.92", "2.92"]
    # A classifier of its own counts with the layer before it.
    assert rows["mnist.predsim_mlp"] == ["4", "2,919,434", "3,176,478", "6.10", "2.12"]


@pytest.mark.parametrize("recipe", ["digits.dgl", "digits.backprop", "exp.py:tiny"])
def test_audit(localgrad: Localgrad, recipe: str) -> None:
    status, printed = localgrad("audit", recipe)
    assert status == 0, printed
    assert "reach" in printed or "loss" in printed
