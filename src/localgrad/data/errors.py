"""The error of this folder, and the import of optional packages."""

import importlib
import importlib.util
from types import ModuleType

from localgrad.errors import LocalgradError


class DataError(LocalgradError):
    """Something about the data is wrong. The text says what, where, expected, got and what to do."""


def missing_extra(package: str, purpose: str, group: str = "data") -> list[str]:
    """A line that says how to install ``package`` (with the extras ``group``), or nothing where it is installed.

    Imports nothing.
    """
    if importlib.util.find_spec(package) is not None:
        return []
    return [f'{purpose} needs the package {package}, which is not installed: pip install "localgrad[{group}]"']


def extra(module: str, purpose: str, group: str = "data") -> ModuleType:
    """Import an optional module when it is first needed; ``DataError`` with the install command where it is missing."""
    missing = missing_extra(module.partition(".")[0], purpose, group)
    if missing:
        raise DataError(missing[0])
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DataError(
            f"{purpose} needs {module}, which is installed but does not import ({error}): "
            f'pip install "localgrad[{group}]"'
        ) from error
