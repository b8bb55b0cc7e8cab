"""What people write about disturbances, as data: ``0.05x4``, ``10min,5s``, ``24h``."""

import re

from localgrad.errors import LocalgradError
from localgrad.planning.simulate_conditions import Pauses, Stragglers

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_DURATION = re.compile(rf"{_NUMBER}\s*(us|ms|s|min|h|d)")
_STRAGGLERS = re.compile(rf"{_NUMBER}(%?)\s*x\s*{_NUMBER}")


def parse_duration(text: str, name: str) -> float:
    """Seconds of ``24h``, ``10min``, ``0.5s``. Raises LocalgradError, which begins with ``name``, for anything else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise LocalgradError(
            f"{name}: expected a time such as 24h, 10min or 0.5s, got {text!r}. Units are {', '.join(_UNITS)}."
        )
    return float(match[1]) * _UNITS[match[2]]


def parse_stragglers(text: str) -> Stragglers:
    """A share of the nodes and how many times as long they take: ``0.05x4``, ``5%x4``.

    Raises LocalgradError for anything else, a share above 1, and a factor below 1.
    """
    match = _STRAGGLERS.fullmatch(text.strip())
    share = 0.0 if match is None else float(match[1]) / (100 if match[2] else 1)
    if match is None or share > 1 or float(match[3]) < 1:
        raise LocalgradError(
            "stragglers: expected SHARExFACTOR, such as 0.05x4 or 5%x4 for one node in twenty that takes four times "
            f"as long; a share of at most 1, a factor of at least 1; got {text!r}."
        )
    return Stragglers(share, float(match[3]))


def parse_pauses(text: str) -> Pauses:
    """How long a node computes until it pauses, on average, and for how long: ``10min,5s``.

    Raises LocalgradError for anything else, and for pauses without a break.
    """
    every, comma, seconds = text.partition(",")
    if not comma:
        raise LocalgradError(
            f"pauses: expected how long a node computes in between, and for how long it pauses, such as 10min,5s, got "
            f"{text!r}."
        )
    found = Pauses(parse_duration(every, "pauses"), parse_duration(seconds, "pauses"))
    if found.every == 0:
        raise LocalgradError(f"pauses: a node must compute in between, got {text!r}.")
    return found


def in_words(seconds: float) -> str:
    """A time for people, in the unit that suits it."""
    if seconds == 0:
        return "0 s"
    for unit in ("d", "h", "min", "s", "ms"):
        if seconds >= _UNITS[unit]:
            return f"{seconds / _UNITS[unit]:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
