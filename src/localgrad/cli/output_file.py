"""Whether a file can be written, judged before the work whose result it is to hold."""

import os
from contextlib import suppress
from pathlib import Path

from localgrad.errors import LocalgradError
from localgrad.train.record import why


def output_problems(path: Path, option: str, name: str) -> list[str]:
    """What is wrong with a path: it is a folder (``name`` is then a good file in it), or its folder cannot be made.

    Nothing is made here; ``make_folder`` does that when there is something to write.
    """
    try:
        # Path.exists and is_dir call a name that is too long one of nothing, in some versions of Python.
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
        if path.is_dir():
            return [f"{option}: expected a file, got the folder {path}. Give a file in it, such as {path / name}."]
        above = next(parent for parent in path.absolute().parents if parent.exists())
    except OSError as error:  # such as a name that is too long
        return [f"{option}: {path} cannot be a file: {why(error)}. Give another one."]
    if not above.is_dir():
        return [f"{option}: {path} cannot be written, {above} is a file and no folder. Give a file in a folder."]
    if not os.access(above, os.W_OK | os.X_OK):
        return [f"{option}: {path} cannot be written, you may not write into {above}. Give a file elsewhere."]
    return []


def make_folder(path: Path) -> None:
    """Make the folder of a file. Raises LocalgradError when that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalgradError(f"the folder {path.parent} cannot be made: {why(error)}.") from error
