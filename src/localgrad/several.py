"""Several Runs, one after the other, in folders below one folder: finished ones are kept, interrupted ones continue.

What ``compare`` and ``reproduce`` share. Follow one name: ``place`` gives each of its Runs a folder, ``check_saved``
refuses a folder that holds another run, ``train_all`` trains what is not finished.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

from localgrad.errors import DivergedError, LocalgradError
from localgrad.facts import plain
from localgrad.train.checkpoint import check_facts
from localgrad.train.loop import Result, train
from localgrad.train.newest import has_checkpoint, read_newest
from localgrad.train.progress import Reporter
from localgrad.train.run import Run


@final
class RunsInterrupted(LocalgradError):
    """A signal stopped a run; everything is saved. ``signal`` is its name."""

    def __init__(self, signal: str, where: str) -> None:
        super().__init__(
            f"{signal}: {where} Give the same command again: finished runs are kept, and this one continues."
        )
        self.signal = signal


def folder_name(name: str, seed: int) -> str:
    """A single path component for any name."""
    return f"{re.sub(r'[^A-Za-z0-9._+=,-]+', '_', name)}-seed{seed}"


def place(runs: Mapping[str, Sequence[Run]], folder: Path, who: str) -> dict[str, list[Run]]:
    """The Runs with the folders that they are trained in. Raises LocalgradError when two would share one.

    ``who`` begins the error.
    """
    placed = {
        name: [replace(run, out=folder / folder_name(name, run.seed)) for run in own] for name, own in runs.items()
    }
    owners: dict[Path, str] = {}
    for name, own in placed.items():
        for run in own:
            assert run.out is not None
            if run.out in owners:
                raise LocalgradError(
                    f"{who}: {owners[run.out]!r} and {name!r}, seed {run.seed}, would both be trained in {run.out}. "
                    "Give every name once, with different seeds, and names that differ in letters or digits."
                )
            owners[run.out] = name
    return placed


def check_saved(placed: Mapping[str, Sequence[Run]]) -> None:
    """Raise LocalgradError when a folder holds a run with other settings."""
    for own in placed.values():
        for run in own:
            assert run.out is not None
            if has_checkpoint(run.out):
                header, _, path = read_newest(run.out)
                check_facts(header["facts"], plain(run.facts()), path)


def train_all(
    placed: Mapping[str, Sequence[Run]],
    folder: Path,
    reporter: Reporter,
    wanted: Callable[[str, Run], bool] = lambda name, run: True,
    diverged: Callable[[str, DivergedError], None] | None = None,
) -> Iterator[tuple[str, Result]]:
    """Train all Runs in order, a (name, result) behind each; those that are not ``wanted`` when their turn comes, not.

    Raises RunsInterrupted when a signal stopped a run, and what ``train`` raises; with ``diverged`` a run that diverges
    is told to it, and the others go on.
    """
    total, done = sum(map(len, placed.values())), 0
    for name, own in placed.items():
        for run in own:
            if not wanted(name, run):
                continue
            reporter.line(f"[{done + 1}/{total}] {name}, seed {run.seed}")
            assert run.out is not None
            try:
                result = train(run, resume=run.out.exists(), reporter=reporter)
            except DivergedError as error:
                if diverged is None:
                    raise
                diverged(name, error)
                continue
            if result.interrupted is not None:
                where = f"{name}, seed {run.seed} was stopped; {done} of {total} runs in {folder} are finished."
                raise RunsInterrupted(result.interrupted, where)
            done += 1
            yield name, result
