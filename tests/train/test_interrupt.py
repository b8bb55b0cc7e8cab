"""SIGINT and SIGTERM at exact moments: saved, told how to go on, and gone on with bit for bit."""

import signal

import pytest

from tests.train.conftest import assert_same_run, header, rows, tensors
from tests.train.processes import Launcher

# 5 batches in each of 3 epochs.
IN_AN_EPOCH, LAST_OF_AN_EPOCH, LAST_OF_THE_RUN = 8, 10, 15


@pytest.mark.parametrize(
    ("number", "step", "epochs", "batches"),
    [
        ("SIGINT", IN_AN_EPOCH, 1, 3),
        ("SIGTERM", IN_AN_EPOCH, 1, 3),
        ("SIGTERM", LAST_OF_AN_EPOCH, 1, 5),
        ("SIGINT", LAST_OF_THE_RUN, 2, 5),
    ],
)
def test_a_signal_saves_at_once_and_the_resumed_run_is_the_same(
    commands: Launcher, number: str, step: int, epochs: int, batches: int
) -> None:
    status, output = commands.run("train", "exp.py:tiny", "--out", "a", env={"SIGNAL_AT_STEP": f"{step}:{number}"})
    assert status == 128 + signal.Signals[number].value, output
    assert f"{number}: saved after {epochs} of 3 epochs and {batches} of 5 batches. Continue with:" in output
    assert "\n  localgrad train --resume a\n" in output
    saved = header(commands.folder / "a")["progress"]
    assert (saved["epoch"], saved["batch"], saved["step"]) == (epochs, batches, step)
    assert len(rows(commands.folder / "a")) == epochs
    commands.done("train", "--resume", "a")
    commands.done("train", "exp.py:tiny", "--out", "b")
    assert_same_run(commands.folder / "a", commands.folder / "b")


def test_a_signal_between_the_last_save_and_the_end_stops_nothing_and_is_not_lost(commands: Launcher) -> None:
    # Synced: run.json, then a row and a checkpoint per epoch, then the last row and the last checkpoint.
    status, output = commands.run("train", "exp.py:tiny", "--out", "a", env={"SIGNAL_AT_SYNC": "8:SIGINT"})
    assert status == 130
    assert "finished" in output
    assert rows(commands.folder / "a")[-1]["kind"] == "end"
    before = (commands.folder / "a" / "checkpoint.safetensors").stat().st_mtime_ns
    assert "finished" in commands.done("train", "--resume", "a")
    assert (commands.folder / "a" / "checkpoint.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(("number", "expected"), [("SIGINT", 130), ("SIGTERM", -15), ("SIGKILL", -9)])
def test_a_second_signal_while_saving_leaves_the_checkpoint_before(
    commands: Launcher, number: str, expected: int
) -> None:
    # The third sync is the checkpoint of epoch 1; the fourth that of the interrupt in epoch 2.
    env = {"SIGNAL_AT_STEP": f"{IN_AN_EPOCH}:SIGINT", "SIGNAL_AT_SYNC": f"4:{number}"}
    status, _ = commands.run("train", "exp.py:tiny", "--out", "a", env=env)
    assert status == expected
    saved = header(commands.folder / "a")["progress"]
    assert (saved["epoch"], saved["batch"]) == (1, 0)
    leftovers = list((commands.folder / "a").glob("*.partial"))
    assert len(leftovers) == (0 if number == "SIGINT" else 1)
    commands.done("train", "--resume", "a")
    commands.done("train", "exp.py:tiny", "--out", "b")
    assert_same_run(commands.folder / "a", commands.folder / "b")


def test_an_interrupt_before_training_leaves_nothing(commands: Launcher) -> None:
    (commands.folder / "early.py").write_text(
        "import os, signal\nfrom exp import tiny\nfrom localgrad.train import Run\n\n"
        "def run(seed: int = 0) -> Run:\n    os.kill(os.getpid(), signal.SIGINT)\n    return tiny()\n"
    )
    status, output = commands.run("train", "early.py:run", "--out", "a")
    assert (status, output) == (130, "interrupted\n")
    assert not (commands.folder / "a").exists()


def test_an_ignored_signal_stays_ignored(commands: Launcher) -> None:
    (commands.folder / "deaf.py").write_text(
        "import signal\nfrom exp import *\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    )
    commands.done("train", "deaf.py:tiny", "--out", "a", env={"SIGNAL_AT_STEP": f"{IN_AN_EPOCH}:SIGINT"})
    assert rows(commands.folder / "a")[-1]["kind"] == "end"


def test_two_processes_cannot_train_in_one_folder(commands: Launcher) -> None:
    held = commands.start("train", "exp.py:tiny", "--out", "a", env={"SIGNAL_AT_STEP": "8:SIGSTOP"})
    held.wait_until((commands.folder / "a" / "checkpoint.safetensors").exists)
    status, output = commands.run("train", "--resume", "a")
    assert status == 2
    assert output == "error: another process is training in a. Wait for it, or stop it first.\n"
    held.signal(signal.SIGCONT)
    assert held.wait() == 0
    assert len(tensors(commands.folder / "a")) > 0
