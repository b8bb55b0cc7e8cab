"""Runs of units at their own pace: rows, ends, resuming, and what is refused."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from localgrad.compare import compare
from localgrad.errors import LocalgradError
from localgrad.recipes import digits
from localgrad.train import SGD, MultiStep, QueuedSpec, Run, train
from tests.train.conftest import Stopping, assert_same_run, header, rows, tensors
from tests.train.processes import Launcher


def run(out: Path, spec: QueuedSpec, **changes: Any) -> Run:
    return replace(digits.dgl(layers=8, epochs=2), runtime=spec, out=out, **changes)


def test_units_in_turn_are_a_sequential_run(tmp_path: Path) -> None:
    train(run(tmp_path / "queued", QueuedSpec(buffer=0)))
    train(replace(digits.dgl(layers=8, epochs=2), out=tmp_path / "sequential"))
    here, there = (tensors(tmp_path / name) for name in ("queued", "sequential"))
    states = [name for name in there if name.startswith(("weights.", "optimizer."))]
    assert [name for name in states if not torch.equal(here[name], there[name])] == []
    for one, other in zip(rows(tmp_path / "queued"), rows(tmp_path / "sequential"), strict=True):
        assert [one.get(key) for key in ("kind", "epoch", "train", "test", "last")] == [
            other.get(key) for key in ("kind", "epoch", "train", "test", "last")
        ]


def test_every_unit_makes_its_own_epochs(tmp_path: Path) -> None:
    spec = QueuedSpec(buffer=4, slowdown=((1, 3.0),), max_reuse=1)
    schedule = MultiStep(milestones=(1,), gamma=0.5)
    result = train(run(tmp_path, spec, schedule=schedule, optimizer=SGD(lr=0.2)))
    *epochs, end = rows(tmp_path)
    assert result.finished and end["epochs"] == len(epochs) > 2
    counts = [[row["updates"][str(unit)] for unit in range(4)] for row in epochs]
    # 6 batches per epoch.
    assert counts[-1] == [12] * 4
    assert all(later >= earlier for a, b in pairwise(counts) for earlier, later in zip(a, b, strict=True))
    assert next(own[1] < 12 for own in counts if own[0] == 12)
    for row, own in zip(epochs, counts, strict=True):
        assert row["lr"] == {str(unit): 0.2 if count <= 6 else 0.1 for unit, count in enumerate(own)}
    skipped = [sum(row["skipped"].values()) for row in epochs]
    assert skipped == sorted(skipped) and skipped[-1] > 0
    # A unit that did not learn in an epoch has no loss there.
    learnt = [[str(u) for u in range(4) if b[u] > a[u]] for a, b in pairwise([[0] * 4, *counts])]
    assert [list(row["train"]) for row in epochs] == learnt
    assert learnt[-1] != ["0", "1", "2", "3"]


def test_the_loss_falls(tmp_path: Path) -> None:
    spec = QueuedSpec(buffer=3)
    train(run(tmp_path, spec, batch_size=64))
    first, last = (row["train"] for row in (rows(tmp_path)[0], rows(tmp_path)[1]))
    assert all(last[unit]["ce"] < first[unit]["ce"] for unit in first)
    assert rows(tmp_path)[-1]["last"]["test"]["top1"] > 40


@pytest.mark.parametrize(
    "options",
    [
        ("--buffer", 2, "--slow-unit", 1, "--slowdown", 3, "--max-reuse", 1, "--adam", "true"),
        ("--buffer", 3, "--lifo-quirk", "true", "--precision", "bfloat16", "--buffer-home", "cpu"),
    ],
)
def test_stopped_in_an_epoch(commands: Launcher, options: tuple[object, ...]) -> None:
    words = ("train", "exp.py:tiny", "--runtime", "queued", *options)
    status, output = commands.run(*words, "--out", "a", env={"SIGNAL_AT_STEP": "8:SIGTERM"})
    assert status == 143, output
    assert " ticks. Continue with:\n" in output
    progress = header(commands.folder / "a")["progress"]
    assert progress["batch"] > 0
    assert header(commands.folder / "a")["runtime"]["ticks"] == progress["step"]
    commands.done("train", "--resume", "a")
    commands.done(*words, "--out", "b")
    assert_same_run(commands.folder / "a", commands.folder / "b")
    assert header(commands.folder / "a")["runtime"] == header(commands.folder / "b")["runtime"]


@pytest.mark.parametrize("step", [17, 48])
def test_stopped_by_a_signal_at_step(tmp_path: Path, step: int) -> None:
    """The last of all ticks, too, before the last row is written."""
    train(run(tmp_path / "whole", QueuedSpec(buffer=0)))
    stopped = run(tmp_path / "stopped", QueuedSpec(buffer=0))
    assert train(stopped, reporter=Stopping(step)).interrupted == "SIGTERM"
    assert header(tmp_path / "stopped")["progress"]["step"] == step
    assert train(stopped, resume=True).finished
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_run_continues_with_the_same_queue_only(tmp_path: Path) -> None:
    train(run(tmp_path, QueuedSpec(buffer=4)))
    with pytest.raises(LocalgradError, match=r"other settings .*\n  runtime\.buffer: 4 -> 5"):
        train(run(tmp_path, QueuedSpec(buffer=5)), resume=True)
    with pytest.raises(
        LocalgradError, match=r"other settings .*\n  runtime: {.*'kind': 'QueuedSpec'.* -> 'sequential'"
    ):
        train(replace(run(tmp_path, QueuedSpec()), runtime="sequential"), resume=True)


KINDS = "runtime must be 'sequential', QueuedSpec(...), GreedySpec() or DistributedSpec(...)"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"runtime": "queued"}, f"{KINDS}, got 'queued'."),
        ({"runtime": QueuedSpec}, f"{KINDS}, got <class"),
        (
            {"accumulate": 2},
            "runtime queued steps units one at a time, each on whole mini-batches: accumulate must be 1",
        ),
        ({"workers": 2}, "workers must be 1, got 2. Leave it out, or train with runtime='sequential'."),
        ({"update": "fused"}, "update must be 'unit', got 'fused'."),
        (
            {"runtime": QueuedSpec(buffer=-1)},
            "runtime queued: buffer must be a whole number of mini-batches, 0 or more",
        ),
        ({"runtime": QueuedSpec(slowdown=((9, 2.0),))}, "slowdown: there are units 0 to 3, got unit 9."),
        (
            {"runtime": QueuedSpec(slowdown={1: 2.0})},
            "slowdown must hold pairs (unit, factor), such as ((3, 2.0),), got",
        ),
        ({"runtime": QueuedSpec(slowdown=((1, 2.0), (1, 3.0)))}, "slowdown: give every unit once, got"),
    ],
)
def test_what_cannot_be(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    problems = list(replace(run(tmp_path, QueuedSpec()), **changes).problems())
    assert len(problems) == 1 and text in problems[0]


def test_compare_takes_steps_of_all_units_only(tmp_path: Path) -> None:
    with pytest.raises(
        LocalgradError, match="dgl: compare measures steps of all units on one mini-batch: leave runtime"
    ):
        compare({"dgl": [run(tmp_path, QueuedSpec())]}, tmp_path)
