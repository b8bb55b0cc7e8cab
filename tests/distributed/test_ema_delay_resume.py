"""Runs with ``ema_delay`` continue bit for bit from any step, and say what they cannot know."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from localgrad.method import Method
from localgrad.methods import DGL, MLAAN
from localgrad.train.newest import newest
from localgrad.train.shard_steps import read_step
from tests.distributed.late_tasks import MODULES, run_of
from tests.distributed.pool import Pool, RankError

SPREAD = (0, 0, 1, 1, 2)
DELAY = 3
STEPS = 12


def trained(
    pool: Pool,
    folder: Path,
    *,
    hosts: tuple[int, ...] = SPREAD,
    delay: int | None = DELAY,
    resume: bool = False,
    save_every: int | None = None,
    stop_after: int | None = None,
) -> list[Any]:
    """(finished, lines) of every rank."""
    ranks = max(hosts) + 1
    settings = str(folder), hosts, delay, resume, save_every, stop_after
    return pool.run("tests.distributed.late_tasks:train_run", ranks, *settings)


def end(folder: Path) -> dict[str, Tensor]:
    """Everything saved after the last step, but for the random state outside of steps."""
    found = newest(folder)
    assert found is not None
    assert found.step == STEPS
    _, tensors = read_step(folder, STEPS)
    return {name: value for name, value in tensors.items() if not name.startswith("random.")}


def different(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Names of what is not equal bit for bit."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


@pytest.fixture(scope="module")
def whole(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted, with a checkpoint of every step."""
    folder = tmp_path_factory.mktemp("late") / "whole"
    assert all(finished for finished, _ in trained(pool, folder, save_every=1))
    return folder


def test_shards_hold_the_versions_that_are_still_to_be_followed(whole: Path) -> None:
    for step, versions in ((1, {0}), (2, {0, 1}), (5, {2, 3, 4}), (STEPS, {9, 10, 11})):
        _, tensors = read_step(whole, step)
        late = [name.split(".", 3) for name in tensors if name.startswith("runtime.")]
        assert {kind for _, kind, _, _ in late} == {"follow"}
        assert {int(version) for _, _, version, _ in late} == versions
        # They are what these blocks were at these steps.
        for version in versions - {0}:
            _, before = read_step(whole, version)
            own = {name: before[f"weights.{name}"] for _, _, number, name in late if int(number) == version}
            assert own
            assert not different(own, {name: tensors[f"runtime.follow.{version}.{name}"] for name in own})


@pytest.mark.parametrize("step", [1, 5, 6, 10])
def test_a_run_that_was_killed_continues_bit_for_bit(pool: Pool, whole: Path, tmp_path: Path, step: int) -> None:
    folder = tmp_path / "killed"
    shutil.copytree(whole, folder)
    for newer in range(step + 1, STEPS + 1):
        shutil.rmtree(folder / "checkpoints" / f"step-{newer:08d}")
    found = trained(pool, folder, resume=True)
    assert all(finished for finished, _ in found)
    assert not any("older weights" in line for _, lines in found for line in lines)
    assert not different(end(folder), end(whole))


def test_a_run_that_was_stopped_twice_continues_bit_for_bit(pool: Pool, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    assert not any(finished for finished, _ in trained(pool, folder, stop_after=4))
    found = newest(folder)
    assert found is not None
    assert found.step == 4
    # Too soon for a whole delay to be behind it.
    assert not any(finished for finished, _ in trained(pool, folder, resume=True, stop_after=1))
    assert all(finished for finished, _ in trained(pool, folder, resume=True))
    assert not different(end(folder), end(whole))


def test_other_hosts_say_what_the_checkpoint_lacks(pool: Pool, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(whole, folder)
    for newer in range(6, STEPS + 1):
        shutil.rmtree(folder / "checkpoints" / f"step-{newer:08d}")
    found = trained(pool, folder, hosts=(0, 0, 0, 1, 2), resume=True)
    assert all(finished for finished, _ in found)
    # Unit 2 followed its neighbour as it was; blocks of the last unit came late before, too.
    assert found[0][1][0] == (
        "older weights of units layer3.0 are not in the checkpoint, which was saved with other hosts: copies that "
        "follow them take those of step 5 until the delay has passed (ema_delay)."
    )
    assert end(folder)


def test_another_delay_is_another_run(pool: Pool, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(whole, folder)
    with pytest.raises(RankError, match=r"ema_delay: 3 -> 2"):
        trained(pool, folder, delay=2, resume=True)


@pytest.mark.parametrize("method", [DGL(), MLAAN(leaps=False), MLAAN(ema_source="copy")])
def test_nothing_follows_the_network(tmp_path: Path, method: Method) -> None:
    run = replace(run_of(str(tmp_path / "run"), SPREAD, 2), method=method)
    assert list(run.problems()) == [
        "runtime distributed: ema_delay=2 has nothing to delay: no auxiliary network of this method follows blocks of "
        "the network as they train (MLAAN's averaged copies do). Leave it out."
    ]


@pytest.mark.parametrize(
    ("hosts", "delay", "text"),
    [
        ((0, 0, 1, 1, 1), 2, r"ema_delay=2 has nothing to delay: no auxiliary network follows a block of another st"),
        (SPREAD, None, r"accept copies that are n steps late \(--ema-delay n\)"),
    ],
)
def test_a_delay_where_it_belongs(
    pool: Pool, tmp_path: Path, hosts: tuple[int, ...], delay: int | None, text: str
) -> None:
    assert len(hosts) == MODULES
    with pytest.raises(RankError, match=text) as caught:
        trained(pool, tmp_path / "run", hosts=hosts, delay=delay)
    assert caught.value.kind == "RunError"
