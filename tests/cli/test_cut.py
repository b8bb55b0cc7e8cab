"""--cut: even cuts where the papers have no split."""

import json
from pathlib import Path

from tests.cli.conftest import Localgrad


def test_an_even_cut_where_the_papers_have_none(localgrad: Localgrad) -> None:
    words = ("train", "digits.dgl", "--layers", 8, "--modules", 3, "--cut", "equal_blocks", "--epochs", 1, "--out", "a")
    status, printed = localgrad(*words)
    assert status == 0, printed
    document = json.loads(Path("a/run.json").read_text())
    assert document["facts"]["partition"] == {"kind": "EqualBlocks", "modules": 3}
    assert document["facts"]["modules"] is None
    row = json.loads(Path("a/metrics.jsonl").read_text().splitlines()[0])
    assert len(row["train"]) == 3
    assert localgrad("train", "--resume", "a")[0] == 0


def test_methods_without_modules_are_compared_with_it(localgrad: Localgrad) -> None:
    shared = ("--layers", 8, "--epochs", 1, "--modules", 2, "--cut", "equal_macs", "--out", "b")
    status, printed = localgrad("compare", "digits.backprop", "digits.dgl", *shared)
    assert status == 0, printed
    facts = json.loads(Path("b/digits.dgl-seed0/run.json").read_text())["facts"]
    assert facts["partition"] == {"kind": "EqualMacs", "modules": 2}


def test_help_says_what_it_is(localgrad: Localgrad) -> None:
    status, printed = localgrad("train", "digits.dgl", "--help")
    assert status == 0
    assert "spans of as many blocks, or of as much computation or memory" in " ".join(printed.split())
    assert "--cut" not in localgrad("train", "digits.backprop", "--help")[1]
