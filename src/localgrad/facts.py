"""Frozen specs as plain nested data (JSON), and where two of them differ."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import FunctionType

from localgrad.errors import LocalgradError
from localgrad.spec import Backbone

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


def plain(value: object) -> Plain:
    """``value`` as JSON data: a dataclass becomes its fields and its class name under "kind".

    A Backbone becomes its constructor facts, a function its module and name. Raises LocalgradError for anything that
    has no description, such as a lambda or a built module.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Backbone):
        return {"kind": "Backbone", **{name: plain(fact) for name, fact in value.facts().items()}}
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        return {"kind": type(value).__qualname__, **own}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return [plain(item) for item in sorted(value)]
    if isinstance(value, FunctionType) and "<" not in value.__qualname__:
        return f"{value.__module__}:{value.__qualname__}"
    raise LocalgradError(
        f"a Run holds specs only, so that it can be saved and compared; got {value!r} ({type(value).__name__}). "
        "Use a frozen dataclass or a function defined at the top of a module."
    )


def differences(before: Plain, now: Plain, path: str = "") -> Iterator[str]:
    """One line ``path: before -> now`` for every leaf in which two plain values differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            where = f"{path}.{key}" if path else key
            if key not in before:
                yield f"{where}: not there -> {now[key]!r}"
            elif key not in now:
                yield f"{where}: {before[key]!r} -> not there"
            else:
                yield from differences(before[key], now[key], where)
    # 1 and 1.0 are one number: a default written 1 comes back from the command line as the float that it is declared.
    elif before != now or isinstance(before, bool) is not isinstance(now, bool):
        yield f"{path}: {before!r} -> {now!r}"
