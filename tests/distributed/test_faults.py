"""Processes that are killed or asked to stop while ``localgrad train --processes`` runs: nothing is lost."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open

from localgrad.cli import main
from localgrad.train import train
from localgrad.train.newest import read_newest
from tests.distributed import recipes
from tests.distributed.test_runs import rows, same
from tests.train.processes import Child

ROOT = Path(__file__).parents[2]
RECIPE = f"{Path(recipes.__file__)}:slow"
DEADLINE = 150.0


class Launched:
    """``localgrad train ... --processes N`` in a process of its own, forked; it starts N new ones as for a user."""

    def __init__(self, folder: Path, *words: str) -> None:
        paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.child = Child(["train", *words], folder, {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths})
        self.process = self.child.process
        self.seen: set[int] = set()

    @property
    def printed(self) -> str:
        """Everything so far."""
        return self.child.output

    def ranks(self) -> list[int]:
        """Its processes that live now."""
        words = ["ps", "-o", "pid=,stat=", "--ppid", str(self.process.pid)]
        listed = subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()
        found = [int(pid) for pid, state in zip(listed[::2], listed[1::2], strict=True) if not state.startswith("Z")]
        self.seen |= set(found)
        return found

    def wait_until(self, happened: Callable[[], bool]) -> None:
        """Until something is seen, while it runs."""
        end = time.monotonic() + DEADLINE
        while not happened():
            assert self.process.is_alive(), self.printed
            assert time.monotonic() < end, self.printed
            time.sleep(0.02)

    def wait(self) -> int:
        """Its exit status."""
        self.process.join(DEADLINE)
        assert self.process.exitcode is not None, self.printed
        return self.process.exitcode

    def left_over(self) -> list[int]:
        """Its processes that live after it."""
        return [pid for pid in self.seen if Path(f"/proc/{pid}").exists()]

    def close(self) -> None:
        """Kill what a failed test leaves."""
        self.ranks()
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        for pid in self.left_over():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    """Starts ``localgrad train WORDS``."""
    found: list[Launched] = []

    def start(*words: str) -> Launched:
        found.append(Launched(tmp_path, *words))
        return found[-1]

    yield start
    for one in found:
        one.close()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, undisturbed, in one process."""
    folder = tmp_path_factory.mktemp("expected") / "run"
    run = replace(recipes.slow(), out=folder)
    train(run)
    return folder


def epochs_done(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_kill_minus_nine_twice(
    launched: Callable[..., Launched], tmp_path: Path, expected: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, rng = tmp_path / "run", random.Random(0)  # noqa: S311
    run = launched(RECIPE, "--out", str(folder), "--processes", "2", "--save-every", "2")
    for epoch in (1, 3):
        run.wait_until(lambda epoch=epoch: epochs_done(folder) >= epoch)  # type: ignore[misc]
        time.sleep(rng.uniform(0, 0.3))
        os.kill(rng.choice(run.ranks()), signal.SIGKILL)
    assert run.wait() == 0, run.printed
    assert len(run.seen) >= 4
    assert "was ended by SIGKILL: all processes start again from the newest checkpoint (3 more times)." in run.printed
    assert run.left_over() == []
    assert same(folder, expected) == []
    assert "Traceback" not in run.printed
    assert "terminate called" not in run.printed
    # The folder is that of any run.
    assert main(["evaluate", str(folder)]) == 0
    top1 = rows(folder)[-1]["last"]["test"]["top1"]
    assert f"test top-1 {top1:.2f} %" in capsys.readouterr().out
    assert main(["export", str(folder), "-o", str(tmp_path / "net.safetensors")]) == 0
    with safe_open(tmp_path / "net.safetensors", framework="pt") as file:
        assert len(list(file.keys())) > 0
    assert main(["report", str(folder), "-o", str(tmp_path / "report.html")]) == 0
    assert "run" in (tmp_path / "report.html").read_text()


def test_a_signal_to_the_launcher(
    launched: Callable[..., Launched],
    tmp_path: Path,
    expected: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    run = launched(RECIPE, "--out", str(folder), "--processes", "2")
    run.wait_until(lambda: epochs_done(folder) >= 2)
    run.ranks()
    run.child.signal(signal.SIGTERM)
    assert run.wait() == 128 + signal.SIGTERM, run.printed
    assert run.left_over() == []
    assert "Traceback" not in run.printed
    assert "terminate called" not in run.printed
    assert "all processes at the same step, saved in" in run.printed
    progress = read_newest(folder)[0]["progress"]
    assert not progress["finished"] and progress["epoch"] >= 2
    assert len(list((folder / "checkpoints").iterdir())) == 1
    # In one process, when it is told so.
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    capsys.readouterr()
    assert main(["train", "--resume", str(copy)]) == 2
    text = capsys.readouterr().err
    assert "give --processes N without torchrun, or train in this one process with --runtime sequential." in text
    assert main(["train", "--resume", str(copy), "--runtime", "sequential"]) == 0
    assert same(copy, expected) == []


def test_an_error_ends_all_with_one_line_each(launched: Callable[..., Launched], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = launched(RECIPE, "--out", str(folder), "--processes", "2", "--seconds", "0", "--lr", "1e30")
    assert run.wait() == 2, run.printed
    lines = [line for line in run.printed.splitlines() if not line.startswith("epoch ")]
    assert all(line.startswith("error: ") and "the training loss of unit " in line for line in lines), run.printed
    # Not started again: it would only diverge again.
    assert 1 <= len(lines) <= 2
    assert run.left_over() == []
