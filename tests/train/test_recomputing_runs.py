"""``recompute`` of a Run: on the command line, in its facts, and what it cannot go with."""

from dataclasses import replace

import pytest

from localgrad import RunError
from localgrad.cli.options import run_from_words
from localgrad.recipes import digits


def test_from_the_command_line_to_the_units() -> None:
    run = run_from_words("train", "digits.dgl", ["--layers", "8", "--recompute", "true"])
    assert run.facts()["recompute"] is True
    assert all(unit.spec.recompute is not None for unit in run.network().unit_list())
    plain = digits.dgl(layers=8)
    assert plain.facts()["recompute"] is False
    assert all(unit.spec.recompute is None for unit in plain.network().unit_list())


def test_a_run_that_recomputes_by_itself() -> None:
    with pytest.raises(RunError, match=r"recompute=True: unit 'layer3\.0' recomputes activations already"):
        replace(digits.checkpointing(layers=8), recompute=True).check()
    with pytest.raises(RunError, match=r"recompute must be True or False, got 'yes'\."):
        replace(digits.dgl(layers=8), recompute="yes").check()
