"""Runs that train one unit after the other."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from localgrad import RunError
from localgrad.recipes import digits
from localgrad.train import Constant, GreedySpec, Run, train
from tests.train.conftest import Stopping, assert_same_run, header, rows, tensors
from tests.train.processes import Launcher


def run(out: Path, epochs: int = 2) -> Run:
    return replace(digits.dgl(layers=8, epochs=epochs), runtime=GreedySpec(), batch_size=64, out=out)


def test_rows(tmp_path: Path) -> None:
    result = train(run(tmp_path))
    *epochs, end = rows(tmp_path)
    assert [(row["epoch"], row["unit"], row["unit_epoch"]) for row in epochs] == [
        (1 + 2 * unit + own, unit, 1 + own) for unit in range(4) for own in range(2)
    ]
    # The schedule starts anew with every unit.
    assert [row["lr"] for row in epochs] == pytest.approx([0.1, 0.05] * 4)
    assert [row["step"] for row in epochs] == [23 * count for count in range(1, 9)]
    for row in epochs:
        assert list(row["train"]) == [str(row["unit"])]
        # Units that have learnt nothing are not evaluated; top1 is that of the newest one's head.
        assert list(row["test"]["units"]) == [str(unit) for unit in range(row["unit"] + 1)]
        assert row["test"]["top1"] == row["test"]["units"][str(row["unit"])]
    for first, second in zip(epochs[::2], epochs[1::2], strict=True):
        unit = str(first["unit"])
        assert second["train"][unit]["ce"] < first["train"][unit]["ce"]
    for unit in range(3):
        # Frozen, BatchNorm too: the same accuracy ever after.
        assert len({row["test"]["units"][str(unit)] for row in epochs[2 * unit + 1 :]}) == 1
    assert end["epochs"] == 8 and result.last is not None and result.last["unit"] == 3
    # The best epoch is one of the last unit, whose head is the network's own.
    assert result.best is not None and result.best["epoch"] in (7, 8)
    assert result.last["test"]["top1"] > 40


def test_the_first_unit_is_that_of_a_sequential_run(tmp_path: Path) -> None:
    runs = (
        replace(run(tmp_path / "greedy", 1), schedule=Constant()),
        replace(run(tmp_path / "sequential", 1), runtime="sequential", schedule=Constant()),
    )
    for one in runs:
        train(one)
    here, there = (tensors(tmp_path / name) for name in ("greedy", "sequential"))
    first = [name for name in here if name.startswith(("weights.model.stem.", "weights.aux.stem."))]
    assert len(first) > 10
    assert [name for name in first if not torch.equal(here[name], there[name])] == []
    greedy, together = (rows(tmp_path / name)[0] for name in ("greedy", "sequential"))
    assert greedy["train"]["0"] == together["train"]["0"]


def test_the_command_stopped_in_an_epoch(commands: Launcher) -> None:
    """In the first unit's second epoch."""
    words = ("train", "exp.py:tiny", "--epochs", 2, "--runtime", "greedy")
    commands.done(*words, "--out", "b")
    status, output = commands.run(*words, "--out", "a", env={"SIGNAL_AT_STEP": "7:SIGTERM"})
    assert status == 143, output
    assert "saved after 1 of 8 epochs and 2 of 5 batches. Continue with:" in output
    commands.done("train", "--resume", "a")
    assert_same_run(commands.folder / "a", commands.folder / "b")


def test_stopped_by_a_signal(tmp_path: Path) -> None:
    """After the last step of a unit, in a later unit, after the last step of all."""
    train(replace(run(tmp_path / "whole"), batch_size=256))
    for step in (12, 27, 48):
        stopped = replace(run(tmp_path / f"stopped-{step}"), batch_size=256)
        assert train(stopped, reporter=Stopping(step)).interrupted == "SIGTERM"
        assert header(tmp_path / f"stopped-{step}")["progress"]["step"] == step
        assert train(stopped, resume=True).finished
        assert_same_run(tmp_path / "whole", tmp_path / f"stopped-{step}")


@pytest.mark.parametrize("recipe", [digits.infopro(layers=8, epochs=1), digits.predsim("sim", layers=8, epochs=1)])
def test_units_that_do_not_classify_are_refused(recipe: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"newest unit's own head, and unit 'stem' has none that classifies\. Give"):
        train(replace(recipe, runtime=GreedySpec(), out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    assert not list(replace(digits.infopro("softmax", layers=8), runtime=GreedySpec(), out=tmp_path).problems())
