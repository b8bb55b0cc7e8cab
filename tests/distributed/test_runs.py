"""Whole runs on 2, 3 and 4 processes: the metrics, weights and optimiser states of one process, and resumed as such."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from localgrad.train import DistributedSpec, train
from localgrad.train.newest import load_trained, read_newest
from tests.distributed.pool import Pool
from tests.distributed.runs import made
from tests.train.conftest import Stopping

TASK = "tests.distributed.tasks:train_run"


@pytest.fixture(scope="session")
def sequential(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folder of the same run in one process, by its name."""

    @cache
    def folder(name: str) -> Path:
        found = tmp_path_factory.mktemp("sequential") / name
        train(made(name, found))
        return found

    return folder


def rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics without times."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def same(folder: Path, expected: Path) -> list[str]:
    """What differs between two runs: weights, optimiser states, progress, settings, rows."""
    (mine, here, _), (theirs, there, _) = read_newest(folder), read_newest(expected)
    names = {name for name in there if not name.startswith("random.")}
    found = sorted(names ^ {name for name in here if not name.startswith("random.")})
    found += [name for name in sorted(names & here.keys()) if not torch.equal(here[name], there[name])]
    times = {"seconds", "metrics_bytes"}
    found += [name for name in theirs["progress"].keys() - times if mine["progress"][name] != theirs["progress"][name]]
    found += [] if mine["facts"] == theirs["facts"] else ["facts"]
    return found + ([] if rows(folder) == rows(expected) else ["rows"])


@pytest.mark.parametrize(
    ("name", "ranks", "spec"),
    [
        ("dgl", 2, DistributedSpec()),
        ("val", 3, DistributedSpec(save_every=2)),
        ("val", 2, DistributedSpec(labels="loader")),
        ("bfloat16", 2, DistributedSpec()),
        ("infopro", 3, DistributedSpec()),
        ("dgssl", 2, DistributedSpec()),
        ("gndgl", 3, DistributedSpec(hosts=(0, 1, 2, 2, 2))),
        ("gndgl", 2, DistributedSpec(hosts=(0, 1, 1, 1, 1), labels="loader")),
        ("foreign", 3, DistributedSpec()),
        ("mlaan", 2, DistributedSpec()),
        ("mlaan", 4, DistributedSpec()),
    ],
)
def test_a_run_is_that_of_one_process(
    pool: Pool, tmp_path: Path, sequential: Any, name: str, ranks: int, spec: DistributedSpec
) -> None:
    found = pool.run(TASK, ranks, name, tmp_path / "run", spec)
    assert [one["finished"] for one in found] == [True] * ranks
    assert same(tmp_path / "run", sequential(name)) == []
    # Only the last one judges.
    assert [one["last"] is None for one in found] == [True] * (ranks - 1) + [False]
    accuracy = "linear " if name == "dgssl" else "test top-1 "
    assert found[-1]["lines"][-1].startswith(f"finished: {accuracy}")
    # Every rank has its own rows, and one file of the last step is left of each.
    assert sorted(path.name for path in (tmp_path / "run").glob("metrics.rank-*")) == [
        f"metrics.rank-{rank}.jsonl" for rank in range(ranks)
    ]
    assert len(list((tmp_path / "run" / "checkpoints").rglob("*.safetensors"))) == ranks


def test_replicas_agree_and_tell_everything(pool: Pool, tmp_path: Path, sequential: Any) -> None:
    pool.run(TASK, 4, "val", tmp_path / "run", DistributedSpec(replicas=2))
    expected = rows(sequential("val"))
    found = rows(tmp_path / "run")
    assert [keys(row) for row in found] == [keys(row) for row in expected]
    for row, one in zip(found[:-1], expected[:-1], strict=True):
        assert row["test"]["samples"] == one["test"]["samples"] == 22
        # Features of all rows, of either replica, and statistics of the first.
        assert row["knn"].keys() == {"0", "1", "2", "3"} and set(row["knn"].values()) != {0.0}
        for unit, terms in one["train"].items():
            for term, value in terms.items():
                # BatchNorm normalises with the statistics of half a batch.
                assert row["train"][unit][term] == pytest.approx(value, rel=0.3)


def keys(row: Any) -> Any:
    """The nested names of a row."""
    # Whether linear classifiers converged may differ.
    names = row.keys() - {"linear_gradient"} if isinstance(row, dict) else ()
    return {name: keys(row[name]) for name in names} if isinstance(row, dict) else None


def stopped(pool: Pool, ranks: int, folder: Path, name: str = "val") -> None:
    """Train until a signal in the middle of the first epoch."""
    found = pool.run(TASK, ranks, name, folder, DistributedSpec(), False, {0: "SIGTERM"})
    assert not any(one["finished"] for one in found)
    assert [one["interrupted"] for one in found] == ["SIGTERM"] * ranks


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 2), (4, 1), (1, 2)])
def test_any_number_of_processes_goes_on(pool: Pool, tmp_path: Path, sequential: Any, before: int, after: int) -> None:
    folder = tmp_path / "run"
    if before == 1:
        train_until(folder, step=3)
    else:
        stopped(pool, before, folder)
    progress = read_newest(folder)[0]["progress"]
    assert 0 < progress["batch"] < 5
    if after == 1:
        train(made("val", folder), resume=True)
    else:
        pool.run(TASK, after, "val", folder, DistributedSpec(), True)
    assert same(folder, sequential("val")) == []


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_to_any_process_stops_all_at_one_step(pool: Pool, tmp_path: Path, number: str) -> None:
    folder, changes = tmp_path / "run", {None: {"epochs": 5}}
    found = pool.run(TASK, 2, "dgl", folder, DistributedSpec(), False, {1: f"{number} slow"}, changes)
    assert [one["finished"] for one in found] == [False] * 2
    # The one that got it says which; the others only know that there was one.
    assert found[1]["interrupted"] == number
    assert found[0]["interrupted"] == "SIGTERM"
    assert found[1]["lines"][-1].startswith("stopped after ")
    assert found[1]["lines"][-1].endswith(
        f"all processes at the same step, saved in {folder}. Continue with the same command and --resume {folder} in "
        "place of the recipe."
    )
    assert len(list((folder / "checkpoints").iterdir())) == 1
    pool.run(TASK, 2, "dgl", folder, DistributedSpec(), True, None, changes)
    expected = tmp_path / "expected"
    train(made("dgl", expected, epochs=5))
    assert same(folder, expected) == []


def train_until(folder: Path, step: int) -> None:
    """One process, stopped by a signal after a step of the first epoch."""
    train(made("val", folder), reporter=Stopping(step))


def test_a_finished_run_is_returned_as_it_is(pool: Pool, tmp_path: Path, sequential: Any) -> None:
    folder = tmp_path / "run"
    pool.run(TASK, 2, "dgl", folder, DistributedSpec())
    found = pool.run(TASK, 3, "dgl", folder, DistributedSpec(), True)
    assert [one["finished"] for one in found] == [True] * 3
    assert same(folder, sequential("dgl")) == []
    net, expected = load_trained(made("dgl", folder), folder), load_trained(made("dgl", folder), sequential("dgl"))
    assert all(torch.equal(value, expected.state_dict()[name]) for name, value in net.state_dict().items())
