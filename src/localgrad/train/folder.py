"""The folder of a run: what may stand in the way, and who is writing to it."""

import logging
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localgrad.errors import LocalgradError, RunError
from localgrad.train.record import PARTIAL, RUN_FILE


def folder_problems(folder: Path | None, resume: bool) -> Iterator[str]:
    """Why a run cannot be written to ``folder``. Changes nothing."""
    if folder is None:
        yield "out is None: give the folder that the run is written to."
        return
    if (folder / RUN_FILE).exists() and not resume:
        words = shlex.join(["localgrad", "train", "--resume", str(folder)])
        yield f"out: {folder} already holds a run. Continue it (`{words}`), or give another folder."
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not nearest.is_dir():
        yield f"out: {folder} cannot be a folder, {nearest} is a file."
    elif not os.access(nearest, os.W_OK | os.X_OK):
        yield f"out: {folder} cannot be written, {nearest} allows this user no writing."


@contextmanager
def claimed(folder: Path, resume: bool) -> Iterator[None]:
    """Make the folder and keep other processes from training in it inside the block.

    What a killed process left half written is removed. Raises LocalgradError when another process is training there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalgradError(f"out: {folder} cannot be made: {error.strerror or error}.") from error
    with _locked(folder):
        problems = list(folder_problems(folder, resume))
        if problems:
            raise RunError(problems)
        for leftover in folder.glob(f"*{PARTIAL}"):
            leftover.unlink(missing_ok=True)
        yield


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """A lock that the system drops when the process ends, however it ends. None on Windows."""
    if sys.platform == "win32":
        yield
        return
    import fcntl  # noqa: PLC0415 -- not on Windows

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LocalgradError(f"another process is training in {folder}. Wait for it, or stop it first.") from error
        except OSError as error:
            logging.getLogger("localgrad").warning(
                "%s cannot be locked (%s): nothing stops a second process from training there.", folder, error
            )
        yield
    finally:
        os.close(handle)
