"""Runs whose optimisers are empty again wherever the learning rate falls, as DGL's ImageNet code makes new ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from localgrad import Sequential
from localgrad.errors import LocalgradError
from localgrad.recipes import digits
from localgrad.train import Constant, GreedySpec, MultiStep, QueuedSpec, Run, train
from localgrad.train.setup import load_images, make_loaders, start_network
from tests.train.conftest import Stopping, assert_same_run, header, rows, tensors


def run(out: Path, **changes: Any) -> Run:
    """Three epochs of 6 batches; the rate falls before the last one."""
    plain = replace(digits.dgl(layers=8, epochs=3), schedule=MultiStep((2,), 0.5), reset_optimizer=True, out=out)
    return replace(plain, **changes)


def different(one: Path, other: Path) -> list[str]:
    here, there = tensors(one), tensors(other)
    names = [name for name in here if name.startswith(("weights.", "optimizer."))]
    assert len(names) > 100
    return [name for name in names if not torch.equal(here[name], there[name])]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run as it is, to compare with."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(run(folder))
    return folder


def test_as_with_new_optimisers(whole: Path) -> None:
    """Against the runtime alone, given new optimisers for the last epoch: the same weights bit for bit."""
    own = run(whole)
    cpu = torch.device("cpu")
    loader = make_loaders(own, load_images(own), cpu).train
    net = start_network(own, cpu)
    for epochs, lr in (((0, 1), 0.1), ((2,), 0.05)):
        loop = Sequential(net, own.optimizer)
        loop.set_lr(lr)
        for epoch in epochs:
            for batch in loader.epoch(epoch):
                loop.step(batch)
    saved = tensors(whole)
    assert [name for name, value in net.state_dict().items() if not torch.equal(saved[f"weights.{name}"], value)] == []


@pytest.mark.parametrize("update", ["unit", "fused"])
def test_momentum_is_forgotten_there_only(tmp_path: Path, update: str) -> None:
    train(run(tmp_path / "reset", update=update))
    train(run(tmp_path / "kept", update=update, reset_optimizer=False))
    assert different(tmp_path / "reset", tmp_path / "kept")
    here, there = (rows(tmp_path / name) for name in ("reset", "kept"))
    assert [row["train"] for row in here[:2]] == [row["train"] for row in there[:2]]
    assert here[2]["train"] != there[2]["train"]


def test_a_rate_that_stays_resets_nothing(tmp_path: Path) -> None:
    for name, reset in (("reset", True), ("kept", False)):
        train(run(tmp_path / name, epochs=2, schedule=Constant(), reset_optimizer=reset))
    assert different(tmp_path / "reset", tmp_path / "kept") == []


@pytest.mark.parametrize("step", [6, 12, 15])
def test_stopped_before_at_and_after_the_fall(whole: Path, tmp_path: Path, step: int) -> None:
    assert train(run(tmp_path / "stopped"), reporter=Stopping(step)).interrupted == "SIGTERM"
    assert header(tmp_path / "stopped")["progress"]["step"] == step
    assert train(run(tmp_path / "stopped"), resume=True).finished
    assert_same_run(whole, tmp_path / "stopped")


def test_units_in_turn_and_one_after_the_other(whole: Path, tmp_path: Path) -> None:
    """Queued with units in turn is the same run; greedy training resets at the fall of every unit's own epochs."""
    train(run(tmp_path / "queued", runtime=QueuedSpec(buffer=0)))
    assert different(whole, tmp_path / "queued") == []
    train(run(tmp_path / "greedy", runtime=GreedySpec()))
    here, there = (tensors(folder) for folder in (tmp_path / "greedy", whole))
    first = [name for name in here if name.startswith(("weights.model.stem.", "weights.aux.stem."))]
    assert len(first) > 10
    assert [name for name in first if not torch.equal(here[name], there[name])] == []
    train(run(tmp_path / "kept", runtime=GreedySpec(), reset_optimizer=False))
    reset, kept = (rows(tmp_path / name) for name in ("greedy", "kept"))
    # Other weights from every unit's third epoch on, never in the first two of the first unit.
    same = [one["train"] == other["train"] for one, other in zip(reset[:-1], kept[:-1], strict=True)]
    assert same[:3] == [True, True, False] and not any(same[3:])


def test_it_is_a_fact_of_the_run(tmp_path: Path) -> None:
    own = run(tmp_path)
    assert own.facts()["reset_optimizer"] is True
    assert replace(own, reset_optimizer=False).facts()["reset_optimizer"] is False
    train(replace(own, epochs=1))
    with pytest.raises(LocalgradError, match=r"other settings .*\n  reset_optimizer: True -> False"):
        train(replace(own, epochs=1, reset_optimizer=False), resume=True)
    wrong = "reset_optimizer must be True or False, got 'yes'."
    assert list(replace(own, reset_optimizer="yes").problems()) == [wrong]  # type: ignore[arg-type]
