"""Reading JSON that may be damaged, half-written or hostile: what is not as expected is a problem in words."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WRONG = (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError)
"""What the strict readers below raise for data of another form."""


def read_object(path: Path, problems: list[str]) -> Mapping[str, Any]:
    """A JSON object from a file, empty when there is none that can be read."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {error.strerror or error}")
    except (ValueError, RecursionError):
        problems.append(f"{path.name} is damaged: it is no whole JSON document")
    else:
        if isinstance(document, dict):
            return document
        problems.append(f"{path.name} is damaged: expected a JSON object")
    return {}


def mapping(value: object) -> Mapping[str, Any]:
    """A JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def number(value: object) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def finite(value: object) -> float:
    """A finite number. Raises ValueError for anything else."""
    found = number(value)
    if found is None:
        raise ValueError(f"expected a finite number, got {shown(value)}")
    return found


def whole(value: object, least: int = 0) -> int:
    """A whole number of at least ``least``. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
        raise ValueError(f"expected a whole number of at least {least}, got {shown(value)}")
    return value


def text(value: object) -> str:
    """A string. Raises ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError(f"expected a text, got {shown(value)}")
    return value


def listed(value: object) -> list[Any]:
    """A list. Raises ValueError for anything else."""
    if not isinstance(value, list):
        raise ValueError(f"expected a list, got {shown(value)}")
    return value


def texts(value: object) -> tuple[str, ...]:
    """A list of strings. Raises ValueError for anything else."""
    return tuple(map(text, listed(value)))


def matrix(value: object, rows: int, columns: int) -> tuple[tuple[float, ...], ...]:
    """Rows of finite numbers. Raises ValueError for another form."""
    found = tuple(tuple(map(finite, listed(row))) for row in listed(value))
    if len(found) != rows or any(len(row) != columns for row in found):
        raise ValueError(f"expected {rows} rows of {columns} numbers")
    return found


def shown(value: object) -> str:
    """The beginning of a value, for an error."""
    words = repr(value)
    return words if len(words) <= 40 else words[:37] + "..."
