"""Killed at any moment and resumed, a run ends in the same weights bit for bit, with every row once."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.train.conftest import assert_same_run, header, lines_in, rows, tree
from tests.train.processes import Launcher

DIGITS = ("train", "digits.dgl", "--layers", 8, "--epochs", 3)


def test_killed_at_three_random_moments(commands: Launcher) -> None:
    draw = random.Random(2)  # noqa: S311
    commands.done(*DIGITS, "--out", "whole")
    words: tuple[object, ...] = (*DIGITS, "--out", "killed")
    metrics = commands.folder / "killed" / "metrics.jsonl"
    for epoch in range(3):
        delay = draw.uniform(0, 0.25)
        child = commands.start(*words)
        child.wait_until(lambda epoch=epoch: lines_in(metrics) >= epoch and metrics.parent.exists())
        time.sleep(delay)
        child.signal(signal.SIGKILL)
        print(f"killed {delay:.3f} s after row {epoch}, status {child.wait()}, {lines_in(metrics)} rows")
        words = ("train", "--resume", "killed")
    commands.done(*words)
    assert_same_run(commands.folder / "whole", commands.folder / "killed")
    assert [row.get("epoch") for row in rows(metrics.parent)] == [1, 2, 3, None]


def test_the_real_command_stopped_in_an_epoch(commands: Launcher) -> None:
    """As a user starts it: python -m localgrad, SIGTERM from outside, and the words that it prints."""
    words = [
        sys.executable,
        "-m",
        "localgrad",
        "train",
        "digits.auglocal",
        "--layers",
        "8",
        "--depth",
        "2",
        "--epochs",
        "6",
    ]
    output = commands.folder / "printed.txt"
    with output.open("wb") as file:
        child = subprocess.Popen([*words, "--out", "a"], cwd=commands.folder, stdout=file, stderr=file)
    try:
        end = time.monotonic() + 120
        while lines_in(output) < 1 and child.poll() is None:
            assert time.monotonic() < end, output.read_text()
            time.sleep(0.01)
        child.terminate()
        status = child.wait(60)
    finally:
        child.kill()
    printed = output.read_text()
    assert status == 143, printed
    last = printed.splitlines()[-1].split()
    assert last == ["localgrad", "train", "--resume", "a"]
    commands.done(*last[1:])
    commands.done("train", "digits.auglocal", "--layers", 8, "--depth", 2, "--epochs", 6, "--out", "b")
    assert_same_run(commands.folder / "a", commands.folder / "b")


@pytest.mark.parametrize(
    "options",
    [
        ("--method", "dgl", "--adam", "true", "--update", "fused"),
        ("--method", "auglocal", "--accumulate", 2, "--clip", 0.5),
        ("--method", "checkpointing", "--precision", "bfloat16"),
        ("--method", "backprop", "--val-fraction", 0.2, "--adam", "true"),
        ("--method", "dgl", "--channels-last", "false", "--precision", "bfloat16", "--accumulate", 2),
    ],
    ids=lambda options: "-".join(map(str, options[1::2])),
)
def test_stopped_in_an_epoch_with(commands: Launcher, options: tuple[object, ...]) -> None:
    # Checkpointing and backprop have one unit, the others count the first unit's steps: both once per batch.
    status, output = commands.run("train", "exp.py:tiny", *options, "--out", "a", env={"SIGNAL_AT_STEP": "7:SIGTERM"})
    assert status == 143, output
    assert header(commands.folder / "a")["progress"]["batch"] > 0
    commands.done("train", "--resume", "a")
    commands.done("train", "exp.py:tiny", *options, "--out", "b")
    assert_same_run(commands.folder / "a", commands.folder / "b")


def test_the_checkpoint_is_readable_after_a_kill_at_any_moment(commands: Launcher) -> None:
    """Many short epochs, so that most of the time is spent in saving."""
    draw = random.Random(5)  # noqa: S311
    words: tuple[object, ...] = ("train", "exp.py:tiny", "--epochs", 40, "--count", 8, "--width", 2, "--out", "a")
    folder, epochs = commands.folder / "a", []
    for kill in range(5):
        child = commands.start(*words)
        child.wait_until(lambda kill=kill: lines_in(folder / "metrics.jsonl") > 3 + 4 * kill)
        time.sleep(draw.uniform(0, 0.03))
        child.signal(signal.SIGKILL)
        child.wait()
        epochs.append(header(folder)["progress"]["epoch"])
        words = ("train", "--resume", "a")
    assert epochs == sorted(epochs)
    # On a busy machine the later kills may come when nothing is left to do.
    assert 3 <= epochs[0] < 40
    commands.done(*words)
    commands.done("train", "exp.py:tiny", "--epochs", 40, "--count", 8, "--width", 2, "--out", "b")
    assert_same_run(folder, commands.folder / "b")


def test_killed_before_the_first_checkpoint_starts_again(commands: Launcher) -> None:
    status, _ = commands.run("train", "exp.py:tiny", "--out", "a", env={"SIGNAL_AT_SYNC": "2:SIGKILL"})
    assert status == -9
    assert sorted(path.name for path in (commands.folder / "a").iterdir()) == ["metrics.jsonl", "run.json"]
    commands.done("train", "--resume", "a")
    commands.done("train", "exp.py:tiny", "--out", "b")
    assert_same_run(commands.folder / "a", commands.folder / "b")


def test_a_finished_run_is_left_as_it_is(commands: Launcher) -> None:
    commands.done("train", "exp.py:tiny", "--out", "a")
    before = tree(commands.folder / "a")
    assert commands.done("train", "--resume", "a").startswith("finished: test top-1 ")
    assert tree(commands.folder / "a") == before


def test_what_a_killed_process_left_is_removed(commands: Launcher) -> None:
    commands.run("train", "exp.py:tiny", "--out", "a", env={"SIGNAL_AT_STEP": "8:SIGINT"})
    leftover = commands.folder / "a" / "checkpoint.safetensors.1.partial"
    leftover.write_bytes(b"half")
    own = commands.folder / "a" / "notes.txt"
    own.write_text("mine")
    commands.done("train", "--resume", "a")
    assert not leftover.exists()
    assert own.read_text() == "mine"


def test_a_run_continues_from_another_folder_and_without_its_initial_weights(commands: Launcher) -> None:
    commands.done("train", "exp.py:tiny", "--epochs", 1, "--out", "first")
    start = ("train", "exp.py:tiny", "--init-from", "first", "--seed", 1, "--out")
    commands.run(*start, "a", env={"SIGNAL_AT_STEP": "8:SIGINT"})
    commands.done(*start, "b")
    Path(commands.folder / "first").rename(commands.folder / "gone")
    elsewhere = Launcher(commands.folder / "elsewhere")
    try:
        elsewhere.done("train", "--resume", os.path.join("..", "a"))  # noqa: PTH118 -- a relative path as typed
    finally:
        elsewhere.close()
    assert_same_run(commands.folder / "a", commands.folder / "b")
