"""docs/reproduce.md: its commands are understood, and what it says is not covered is what is not."""

import shlex
from itertools import pairwise

import pytest

from localgrad.cli.listing import choose
from localgrad.cli.options import run_from_words
from localgrad.recipes.experiments import NotCovered, experiment
from localgrad.reported import find_table, rows
from localgrad.reproduction import choose as choose_rows
from localgrad.reproduction import figures_of

from .blocks import ROOT, blocks

PAGE = ROOT / "docs" / "reproduce.md"
COMMANDS = [
    line.partition("#")[0].strip()
    for block in blocks(PAGE)
    for line in block.text.split("\n")
    if line.startswith("localgrad ")
]


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("command", [one for one in COMMANDS if "--help" not in one and "--resume" not in one])
def test_the_commands(command: str) -> None:
    _, verb, *words = shlex.split(command)
    if verb == "train":
        contrastive = words[0].startswith(("cifar10.simclr", "cifar10.dgssl"))
        assert run_from_words("train", words[0], words[1:]).epochs == (500 if contrastive else 400)
    elif verb == "recipes":
        options = dict(zip(words[::2], words[1::2], strict=False))
        assert choose(options.get("--paper"), options.get("--table"))
    elif verb == "calibrate":
        assert words == ["runs/cifar10.simclr_resnet50-seed0", "-o", "pairs.json"]  # as test_calibrating.py runs it
    elif verb == "reproduce":
        name, table = find_table(words[0])
        assert name == "auglocal:1" and choose_rows(figures_of(table), dict(pairwise(words)).get("--rows"))
    else:
        assert verb == "compare"
        assert all(run_from_words("train", word, []).epochs == 400 for word in words[:2])


def test_the_line_of_the_listing_and_the_numbers() -> None:
    text = PAGE.read_text()
    found = {row.get("d"): row.figure for row in choose("auglocal", "T1") if row.dataset == "CIFAR-10"
             and row.network == "ResNet-32" and row.method == "AugLocal"}  # fmt: skip
    line = "depth=" + ", ".join(f"{depth} {figure}" for depth, figure in found.items())
    assert line in text
    assert f"({len(rows())} of them)" in text


def test_every_table_with_figures_that_are_not_covered_is_named() -> None:
    tables = {(row.paper, row.table) for row in rows() if isinstance(experiment(row), NotCovered)}
    assert tables == {
        ("auglocal", "T12"), ("infopro", "T5"), ("infopro", "T2"),
    }  # fmt: skip
