"""``localgrad reproduce``: words, lists, refusals; a table of costs from the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Localgrad


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "localgrad reproduce TABLE [options]: give a table first: dgl:parallel, dgl:sequential, predsim:README"),
        (["--rows", "1"], "give a table first"),
        (["mlaan:9"], "localgrad reproduce mlaan:9: there is no such table. Did you mean"),
        (["mlaan:4", "--rows", "9"], "--rows 9: the table has rows 1 to 4; --list shows them."),
        (["mlaan:4", "--seeds", "x"], "--seeds: expected different whole numbers such as 0,1,2, got 'x'."),
        (["mlaan:4", "--minutes", "0"], "--minutes: expected a number above 0, got 0."),
        (["mlaan:4", "--budget", "long"], "long"),
        (["mlaan:4", "--row", "1"], "option --row is unknown. Did you mean --rows"),
        (["mlaan:4", "--budget", "paper"], "nothing was started:\n- rows 1-4: cifar10: no complete set of files"),
    ],
)  # fmt: skip
def test_what_is_refused(refused: Callable[..., str], words: list[str], text: str) -> None:
    assert text in refused("reproduce", *words)


def test_a_list_of_rows(localgrad: Localgrad, tmp_path: Path) -> None:
    status, printed = localgrad("reproduce", "infopro:3", "--list", "--rows", "InfoPro* K=2")
    assert status == 0
    assert "localgrad train cifar10.infopro_resnet110 --modules 2 --split balanced" in printed
    assert "gpu_memory_GB 5.38  localgrad cost" in printed
    assert not list(tmp_path.glob("runs"))


def test_a_table_of_costs(localgrad: Localgrad, tmp_path: Path) -> None:
    words = ("reproduce", "gndgl-v1:5", "--rows", "1,2", "--out", "here", "--report", "page.html")
    status, printed = localgrad(*words)
    assert status == 0
    assert "gndgl-v1:5, short budget" in printed and "All rows: the paper's network and batch" in printed
    assert "NOT THE PAPER'S SETTING" not in printed and "plan:" not in printed
    assert "report: no run was trained, there is nothing to report on" in printed
    found = json.loads((tmp_path / "here" / "reproduction.json").read_text())
    assert [row["ours"]["mean"] for row in found["rows"]] == [1.0, 1.0] and found["rows"][0]["gap"] == 0.0
    assert localgrad(*words)[0] == 0
