"""Loading a user's own Python file or module; what goes wrong in it is told with the user's own lines."""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from localgrad.errors import LocalgradError

HERE = str(Path(__file__).parent)


@contextmanager
def blamed(what: str) -> Iterator[None]:
    """Turn any exception inside the block into a LocalgradError that shows where in the user's code it was raised."""
    try:
        yield
    except LocalgradError:
        raise
    except Exception as error:
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if not frame.filename.startswith((HERE, "<frozen")) and "importlib" not in frame.filename
        ]
        told = traceback.format_list(frames) + traceback.format_exception_only(error)
        raise LocalgradError(f"{what}:\n{''.join(told).rstrip()}") from error


def load_module(reference: str) -> ModuleType:
    """A module from a ``.py`` file or by its import name. Raises LocalgradError when it is not there or fails."""
    return load_file(Path(reference)) if reference.endswith(".py") else import_named(reference)


def load_file(path: Path) -> ModuleType:
    """The module of one file; as for a script, files beside it can be imported."""
    if not path.is_file():
        raise LocalgradError(f"recipe file {path} does not exist (looked in {Path.cwd()}).")
    path = path.resolve()
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None:
        if getattr(loaded, "__file__", None) == str(path):
            return loaded
        raise LocalgradError(f"recipe file {path}: a module {name!r} is in use already. Give the file another name.")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # As `import` does: dataclasses with postponed annotations look their module up.
    sys.modules[name] = module
    search(path.parent)
    try:
        with blamed(f"recipe file {path} raised an exception while it was loaded"):
            spec.loader.exec_module(module)
    except LocalgradError:
        del sys.modules[name]
        raise
    return module


def import_named(reference: str) -> ModuleType:
    """A module by its import name, also from the current folder."""
    search(Path.cwd())
    with blamed(f"recipe module {reference} raised an exception while it was imported"):
        try:
            return importlib.import_module(reference)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{reference}.".startswith(f"{error.name}."):
                raise LocalgradError(
                    f"recipe module {reference!r} was not found: there is no module {error.name!r}. "
                    "A file is given as FILE.py:FUNCTION."
                ) from error
            raise


def search(folder: Path) -> None:
    """Let Python look in ``folder`` for modules, first of all."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
