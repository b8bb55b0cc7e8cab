"""Real processes that run the command line: forked from one that has imported torch, so that each takes no seconds."""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.forking import check_preloaded, forkserver

DEADLINE = 150.0
"""Seconds, far above what a busy machine needs: only what hangs takes so long."""


def run_command(words: Sequence[str], folder: Path, output: Path, env: Mapping[str, str], limit: int | None) -> None:
    """In the child: ``localgrad WORDS`` in ``folder``, everything printed to the file ``output``."""
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
    check_preloaded()
    os.environ.update(env)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = ["localgrad", *words]
    from localgrad.cli import main

    sys.exit(main(words))


class Child:
    """One running command. ``wait`` gives its exit status, negative for the signal that ended it."""

    def __init__(
        self, words: Sequence[str], folder: Path, env: Mapping[str, str] | None = None, limit: int | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.words = list(words)
        self.file = folder / f"output-{time.monotonic_ns()}.txt"
        self.process = forkserver().Process(target=run_command, args=(self.words, folder, self.file, env or {}, limit))
        self.process.start()

    def wait(self) -> int:
        """Until it ends."""
        self.process.join(DEADLINE)
        assert self.process.exitcode is not None, f"{self.words} still runs after {DEADLINE} s: {self.output}"
        return self.process.exitcode

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.process.is_alive() and self.process.pid is not None:
            os.kill(self.process.pid, number)

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return self.file.read_text() if self.file.exists() else ""

    def wait_until(self, happened: Callable[[], bool]) -> None:
        """Until something is seen in the child's files or output, or the child ends."""
        end = time.monotonic() + DEADLINE
        while not happened() and self.process.is_alive():
            assert time.monotonic() < end, f"{self.words}: nothing happened in {DEADLINE} s: {self.output}"
            time.sleep(0.002)


class Launcher:
    """Starts commands in one folder and ends, by their id, those that a failed test leaves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[Child] = []

    def start(self, *words: object, env: Mapping[str, str] | None = None, limit: int | None = None) -> Child:
        """``localgrad WORDS`` as a child."""
        self.children.append(Child([str(word) for word in words], self.folder, env, limit))
        return self.children[-1]

    def run(self, *words: object, env: Mapping[str, str] | None = None, limit: int | None = None) -> tuple[int, str]:
        """Exit status and output of a command."""
        child = self.start(*words, env=env, limit=limit)
        return child.wait(), child.output

    def done(self, *words: object, env: Mapping[str, str] | None = None) -> str:
        """Output of a command that must succeed."""
        status, output = self.run(*words, env=env)
        assert status == 0, output
        return output

    def close(self) -> None:
        """Kill what still runs."""
        for child in self.children:
            child.signal(signal.SIGKILL)
            child.process.join(DEADLINE)
