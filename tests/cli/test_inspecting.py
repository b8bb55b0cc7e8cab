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


@pytest.mark.parametrize("recipe", ["digits.dgl", "digits.backprop", "exp.py:tiny"])
def test_audit(localgrad: Localgrad, recipe: str) -> None:
    status, printed = localgrad("audit", recipe)
    assert status == 0, printed
    assert "reach" in printed or "loss" in printed
