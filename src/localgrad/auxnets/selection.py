"""Which later layers AugLocal's auxiliary networks copy, and how deep they are (methods.md 10.1). Pure functions."""

from collections.abc import Callable
from itertools import count


def uniform(layer: int, layers: int, depth: int) -> tuple[int, ...]:
    """``depth`` layers spread evenly over those after ``layer``, the last one always among them; 0-based indices.

    Python's rounding (half to even), as in the released code; all remaining layers when ``depth`` reaches their number.
    """
    remaining = layers - 1 - layer
    if depth >= remaining:
        return tuple(range(layer + 1, layers))
    return tuple(round(layer + remaining / depth * i) for i in range(1, depth + 1))


def sequential(layer: int, layers: int, depth: int) -> tuple[int, ...]:
    """The next ``depth`` layers, or as many as there are."""
    return tuple(range(layer + 1, min(layer + depth, layers - 1) + 1))


def pyramid_depths(units: int, depth: int, tau: float) -> tuple[int, ...]:
    """Number of copied layers for every unit but the last: linear from ``depth`` towards 1, of which a part ``tau``.

    ``units`` is the number of units that are trained, a joint tail counted once. tau=0 keeps ``depth`` everywhere.
    """
    steps = max(units - 2, 1)
    return tuple(max(1, round(depth * (1 - i * tau / steps) + i * tau / steps)) for i in range(units - 1))


def closest_width(macs: Callable[[int], int], target: int) -> int:
    """The width m >= 1 whose ``macs(m)``, growing in m, is closest to ``target``."""
    upper = next(1 << power for power in count() if macs(1 << power) >= target)
    lower = upper // 2
    while upper - lower > 1:
        middle = (upper + lower) // 2
        lower, upper = (middle, upper) if macs(middle) < target else (lower, middle)
    return upper if lower < 1 or macs(upper) - target <= target - macs(lower) else lower
