"""Which checkpoint of a run is the newest: the single file of one process, or the files of many (``shards.py``)."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from torch import Tensor

from localgrad.errors import LocalgradError
from localgrad.facts import plain
from localgrad.network import LocalNetwork
from localgrad.train.checkpoint import (
    CHECKPOINT_FILE,
    FORMAT,
    Progress,
    check_facts,
    load_weights,
    read_checkpoint,
    weights_in,
)
from localgrad.train.record import PARTIAL
from localgrad.train.run import Run
from localgrad.train.shard_steps import (
    FoundStep,
    found_steps,
    rank_of,
    read_found,
    shard_files,
    step_folders,
    step_of,
    verified,
)
from localgrad.train.shards import Position, read_shard, step_folder
from localgrad.train.tensors import read_header


@final
@dataclass(frozen=True)
class Newest:
    """A checkpoint: ``path`` is the single file, or the folder of the step whose files are ``found``.

    ``passed_over`` has a line for each newer one that could not be used, and why.
    """

    path: Path
    step: int
    found: FoundStep | None = None
    passed_over: tuple[str, ...] = ()

    def read(self, units: Sequence[str] | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Header and tensors in the form of ``read_checkpoint``; ``units`` as for ``read_found``."""
        return read_checkpoint(self.path) if self.found is None else read_found(self.found, units)


def has_checkpoint(folder: Path) -> bool:
    """Whether a run can be continued from its folder, as far as the names of files and their headers tell."""
    return (folder / CHECKPOINT_FILE).exists() or any(found.complete for found in found_steps(folder))


def newest(folder: Path) -> Newest | None:
    """The newest checkpoint below a run's folder, every file of many processes verified; None when there is none.

    A step that a killed run left incomplete, or with damaged files, is passed over for the next older one.
    Raises LocalgradError when all that there is, is damaged, and for files of different runs in one step.
    """
    single = folder / CHECKPOINT_FILE
    steps = found_steps(folder)
    if not steps:
        return Newest(single, _single_key(single)[0][0]) if single.exists() else None
    lines: list[str] = []
    damaged = False
    single_key: tuple[Position, bool] | None = None
    if single.exists():
        try:
            # Beside other checkpoints it is one of several; alone it would be an error.
            read_checkpoint(single)
            single_key = _single_key(single)
        except LocalgradError as error:
            damaged = True
            lines.append(f"passed over: {error}")
    for found in reversed(steps):
        if single_key is not None and single_key >= _key(found):
            break
        checked = verified(found) if found.shards else found
        if checked.complete:
            return Newest(step_folder(folder, found.step), found.step, checked, tuple(lines))
        damaged = damaged or bool(checked.damaged)
        lines.append(_why_not(checked))
    if single_key is not None:
        return Newest(single, single_key[0][0], None, tuple(lines))
    if damaged:
        raise LocalgradError(
            f"no checkpoint below {folder} is whole:\n"
            + "\n".join(lines)
            + "\nRestore the files from a copy, or train anew in another folder."
        )
    return None


def _single_key(path: Path) -> tuple[Position, bool]:
    try:
        progress = Progress(**read_header(path, {FORMAT}, "a localgrad checkpoint")["progress"])
    except (LocalgradError, KeyError, TypeError):
        progress = Progress(**read_checkpoint(path)[0]["progress"])  # says what is wrong with it
    return (progress.step, progress.epoch, progress.batch), progress.finished


def _key(found: FoundStep) -> tuple[Position, bool]:
    return found.position, any(shard.progress.get("finished", False) for shard in found.shards)


def _why_not(found: FoundStep) -> str:
    text = f"passed over: the checkpoint of step {found.step}"
    if found.missing:
        text += f" lacks units {', '.join(found.missing)}"
    return "\n  ".join([text, *found.damaged])


def read_newest(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor], Path]:
    """Header and tensors of the newest checkpoint of a run's folder, in the form of ``read_checkpoint``; where it is.

    What is passed over is said in a warning. Raises LocalgradError when there is none, or none that is whole.
    """
    found = newest(folder)
    if found is None:
        header, tensors = read_checkpoint(folder / CHECKPOINT_FILE)  # says what is missing
        return header, tensors, folder / CHECKPOINT_FILE
    for line in found.passed_over:
        logging.getLogger("localgrad").warning("%s", line)
    header, tensors = found.read()
    return header, tensors, found.path


def load_trained(run: Run, folder: Path) -> LocalNetwork:
    """The run's network with the weights of its newest checkpoint, on the CPU.

    Raises LocalgradError when there is none or it does not fit.
    """
    return load_with_progress(run, folder)[0]


def load_with_progress(run: Run, folder: Path) -> tuple[LocalNetwork, Progress]:
    """The same, and where the run stood when that checkpoint was written."""
    header, tensors, path = read_newest(folder)
    check_facts(header["facts"], plain(run.facts()), path)
    net = run.network()
    load_weights(net, weights_in(tensors), str(path))
    return net, Progress(**header["progress"])


def forget_older(folder: Path, rank: int, keep_from_step: int) -> None:
    """Delete the files that process ``rank`` wrote for steps before ``keep_from_step``, the newest complete one.

    Of that step itself go those of an earlier position (before the evaluation) when a later one is complete. Process 0
    also deletes what processes wrote that the run has no more. Files of others are left alone, and folders with such.
    Deletes nothing when that step is not complete.
    """
    steps = found_steps(folder)
    kept = [found.position for found in steps if found.step == keep_from_step and found.complete]
    if not kept:
        return
    for home in step_folders(folder):
        if step_of(home) > keep_from_step:
            continue  # others may be about to write there
        for path in shard_files(home):
            if rank in (0, rank_of(path)) and _is_older(path, kept[-1]):
                path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            home.rmdir()


def _is_older(path: Path, kept: Position) -> bool:
    if step_of(path.parent) != kept[0]:
        return True
    try:
        return read_shard(path).position < kept
    except LocalgradError:
        return False


def forget_newer(folder: Path, step: int | None) -> None:
    """Delete what processes wrote after ``step`` (None: all), and half-written files: before a run goes on from there.

    Else units of two attempts would come together in one step. Call it in one process, before any trains.
    """
    for home in step_folders(folder):
        for path in home.glob(f"rank-*{PARTIAL}"):
            path.unlink(missing_ok=True)
        if step is None or step_of(home) > step:
            for path in shard_files(home):
                path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            home.rmdir()
