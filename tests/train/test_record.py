"""What a run records: headline, best epoch, conditions, lines for a person."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from localgrad.errors import LocalgradError
from localgrad.recipes import digits
from localgrad.train import SGD, Constant, Run, train
from localgrad.train.record import MetricsLog, write_atomic
from tests.train.conftest import assert_same_run, rows
from tests.train.processes import Launcher


def run(out: Path, **changes: object) -> Run:
    return replace(digits.dgl(layers=8, epochs=4), out=out, **changes)  # type: ignore[arg-type]


def test_the_headline_is_the_last_epoch_and_the_best_is_chosen_on_test_without_a_validation_split(
    tmp_path: Path,
) -> None:
    result = train(run(tmp_path, optimizer=SGD(lr=0.8), schedule=Constant(), batch_size=200))
    *epochs, end = rows(tmp_path)
    top1 = [row["test"]["top1"] for row in epochs]
    assert result.finished and result.interrupted is None
    assert result.last == end["last"] == {"epoch": 4, "test": epochs[-1]["test"]}
    assert result.best == end["best"]
    assert end["best"]["epoch"] == 1 + top1.index(max(top1))
    assert len(set(top1)) > 1
    assert not any("val" in row for row in rows(tmp_path))


def test_the_best_is_chosen_on_the_validation_split(tmp_path: Path) -> None:
    train(run(tmp_path, val_fraction=0.1))
    *epochs, end = rows(tmp_path)
    val = [row["val"]["top1"] for row in epochs]
    assert epochs[0]["val"]["samples"] == 144
    assert epochs[0]["test"]["samples"] == 360
    assert end["best"]["epoch"] == 1 + val.index(max(val))
    assert end["best"]["val"]["top1"] == max(val)
    assert end["last"]["test"] == epochs[-1]["test"]


def test_rows_and_conditions(commands: Launcher) -> None:
    output = commands.done("train", "digits.dgl", "--layers", 8, "--epochs", 2, "--out", "a")
    document = json.loads((commands.folder / "a" / "run.json").read_text())
    assert document["origin"]["recipe"] == "digits.dgl"
    assert document["origin"]["arguments"]["layers"] == 8
    assert document["facts"]["method"]["kind"] == "DGL"
    assert document["conditions"]["command"] == "localgrad train digits.dgl --layers 8 --epochs 2 --out a"
    assert document["conditions"]["threads"] == 1
    first, second, end = rows(commands.folder / "a")
    assert (first["kind"], end["kind"]) == ("epoch", "end")
    batches = -(-1437 // document["facts"]["batch_size"])
    assert (first["step"], second["step"]) == (batches, 2 * batches)
    assert list(first["train"]) == ["0", "1", "2", "3"]
    assert (first["lr"], second["lr"]) == (0.1, 0.05)
    # No terminal: no bar, no colours, one line per epoch.
    lines = output.splitlines()
    assert [line.split("  ")[0] for line in lines[:2]] == ["epoch 1/2", "epoch 2/2"]
    assert lines[2] == f"finished: test top-1 {second['test']['top1']:.2f} % (last epoch), in a"
    assert len(lines) == 3
    assert "\x1b" not in output and "\r" not in output


def test_rows_that_were_lost(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.append({"kind": "epoch"})
    with pytest.raises(LocalgradError, match=r"is shorter than the checkpoint says \(18 of 99 bytes\): rows were lost"):
        log.truncate(99)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"one", "it")
    write_atomic(path, b"two", "it")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(LocalgradError, match=r"^it was not written to .*missing/file \(3 bytes\): No such file"):
        write_atomic(tmp_path / "missing" / "file", b"one", "it")
    with pytest.raises(LocalgradError, match=r"Is a directory\.$"):
        write_atomic(tmp_path, b"one", "it")
    assert [p.name for p in tmp_path.parent.glob("*.partial")] == []


def test_the_random_state_of_the_caller_is_left_alone_and_plays_no_part(tmp_path: Path) -> None:
    torch.manual_seed(5)
    train(run(tmp_path / "a", epochs=1))
    drawn = torch.rand(3)
    train(run(tmp_path / "b", epochs=1))
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), drawn)
    assert_same_run(tmp_path / "a", tmp_path / "b")
