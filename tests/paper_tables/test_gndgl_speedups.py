"""GN-DGL's two speed-up tables: every cell as printed in the thesis, three decimals."""

import pytest

from localgrad.cli import main
from localgrad.paper_tables.gndgl_speedups import gndgl_speedups

from ..golden.recipe import golden


def test_every_cell() -> None:
    found = gndgl_speedups()
    columns = {"dgl": "DGL", "infopro": "InfoPro"}
    expected = {
        (columns.get(case["method"], f"G={case['G']}"), case["K"] * case["G"]): (
            case["max_node"],
            case["thesis_train"],
            case["thesis_inference"],
        )
        for case in golden("gndgl")["macs"]
        if "thesis_train" in case
    }
    ours = {
        (cell.name, cell.nodes): (cell.max_node, round(cell.training, 3), round(cell.inference, 3))
        for cell in found.cells
    }
    assert len(expected) == 20
    assert ours == expected
    training, inference = str(found).split("\n\n")
    assert training.splitlines()[1:3] == [
        "nodes      DGL  InfoPro      G=2      G=4      G=8",
        "    2    1.894    1.833    3.674        -        -",
    ]
    assert inference.splitlines()[-1] == "   32        -        -    1.338    2.324    4.336"
    assert len(training.splitlines()) == 2 + len({nodes for _, nodes in expected})


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--table", "gndgl"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["2", "1.894", "1.833", "3.674", "-", "-"] in lines
    assert ["32", "-", "-", "1.338", "2.324", "4.336"] in lines
