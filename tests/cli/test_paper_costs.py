"""``localgrad cost --all`` and ``--table``; that of GN-DGL is in tests/paper_tables, counted once."""

from pathlib import Path

import pytest

from localgrad.paper_tables import MEMORY_ROWS

from .conftest import Localgrad


def documented() -> dict[str, list[str]]:
    """The rows of the table in the documentation."""
    text = (Path(__file__).parents[2] / "docs" / "memory.md").read_text()
    first, *_ = text.split("\n## ", 1)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in first.splitlines() if line.startswith("|")]
    return {name: cells for name, *cells in rows[2:]}


def test_every_method_side_by_side(localgrad: Localgrad) -> None:
    """A row of the table in the documentation; the others take minutes and come from the same command."""
    status, printed = localgrad("cost", "--all", "--rows", "AugLocal, depth 2")
    assert status == 0
    assert "resnet32, K=16, images 3x32x32, batch 1024, SGD with momentum, update per unit" in printed
    rows = documented()
    assert tuple(rows) == MEMORY_ROWS
    (line,) = [line for line in printed.splitlines() if line.strip().startswith("AugLocal, depth 2")]
    units, *counts, mib, plain, recompute, half, both = line.strip().removeprefix("AugLocal, depth 2").split()
    cells = rows["AugLocal, depth 2"]
    assert [units, *counts] == cells[:-5]
    # Other versions of torch keep a little more or less for the backward pass.
    assert float(mib) == pytest.approx(float(cells[-5]), rel=0.01)
    for value, cell in zip((plain, recompute, half, both), cells[-4:], strict=True):
        assert float(value) == pytest.approx(float(cell), rel=0.02)


def test_the_flops_of_auglocal(localgrad: Localgrad) -> None:
    status, printed = localgrad("cost", "--table=auglocal", "--depths", "2,9", "--taus", "1,0.6")
    assert status == 0
    # The paper has 1.18 and 1.49 for d=9.
    assert printed.splitlines()[-1].split() == ["9", "1.179", "1.488"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--table", "gndlg"), "localgrad cost: there is no table 'gndlg'. Did you mean gndgl?"),
        (("--table",), "localgrad cost: there is no table ''."),
        (("--table", "auglocal", "--depths", "2;3"), "--depths must be numbers with commas between them, got '2;3'."),
        (("--table", "auglocal", "--depths", "2.5"), "--depths must be whole numbers, got 2.5."),
        (("--table", "auglocal", "--depths", "1"), "AugLocal: depth counts the classifier"),
        (("--all", "--rows", "DGL"), "there is no row 'DGL'."),
        (
            ("--all", "--modules", "5", "--rows", "DGL (mlp-sr)"),
            "modules=5: the papers have no split of resnet32 into 5 modules",
        ),
    ],
)
def test_what_cannot_be(localgrad: Localgrad, words: tuple[str, ...], told: str) -> None:
    status, printed = localgrad("cost", *words)
    assert status == 2
    assert told in printed
