"""One small comparison, really trained, that the tests of the report read."""

import shutil
from pathlib import Path

import pytest

from localgrad.compare import Comparison, compare
from localgrad.recipes import digits


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    """Folder and result: backprop and DGL, 2 seeds, 2 epochs."""
    folder = tmp_path_factory.mktemp("compared")
    runs = {
        "bp": [digits.backprop(layers=8, epochs=2, seed=seed) for seed in (0, 1)],
        "dgl": [digits.dgl(layers=8, epochs=2, seed=seed) for seed in (0, 1)],
    }
    return folder, compare(runs, folder, repeats=3)


@pytest.fixture
def folder(trained: tuple[Path, Comparison], tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(trained[0], tmp_path / "compared", ignore=shutil.ignore_patterns("*.safetensors")))
