"""What people write about machines and networks, as numbers: ``1Gbit,20ms``, ``fast:2,slow:6``, ``4GiB``."""

import re
from dataclasses import dataclass
from typing import final

from localgrad.errors import LocalgradError
from localgrad.planning.plan import Link

SAME_MACHINE = Link(bytes_per_second=1.25e9, latency=50e-6)
"""What is taken where nothing is said: processes of one machine, 10 Gbit/s and 50 us."""
NAMED_SPEEDS = {"fast": 1.0, "slow": 0.5}
"""Speeds of devices that are given by one of these names alone."""

_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_RATE = re.compile(rf"{_NUMBER}\s*([kKMGT]?)(bit|b|Byte|B)(?:/s|ps)?")
_TIME = re.compile(rf"{_NUMBER}\s*(s|ms|us)")
_SIZE = re.compile(rf"{_NUMBER}\s*(?:([KMGT]i|[kKMGT]?)B)?")
_GROUP = re.compile(rf"(?:([A-Za-z]\w*)=)?(?:{_NUMBER}|([A-Za-z]\w*)):(\d+)")


@final
@dataclass(frozen=True)
class Devices:
    """``count`` devices of one kind; 1.0 is the speed of the device whose seconds the units' costs are.

    ``assumed``: the speed was not given, but stands for the name in ``NAMED_SPEEDS``.
    """

    name: str
    speed: float
    count: int
    assumed: bool = False


def parse_link(text: str) -> Link:
    """A bandwidth and, after a comma, a latency (else 0): ``1Gbit,20ms``, ``125MB/s,50us``, ``10Gbit``.

    ``bit`` or ``b`` are bits, ``Byte`` or ``B`` bytes, per second; k, M, G, T are powers of 1000.
    Raises LocalgradError for anything else, and for a bandwidth of 0.
    """
    rate, comma, latency = (part.strip() for part in text.partition(","))
    rated, timed = _RATE.fullmatch(rate), _TIME.fullmatch(latency)
    if rated is None:
        raise LocalgradError(
            f"links: expected a bandwidth such as 1Gbit or 125MB before the comma, got {rate!r} in {text!r}. Units are "
            "bit and B (bytes) per second, with k, M, G or T before them."
        )
    if comma and timed is None:
        raise LocalgradError(
            f"links: expected a latency such as 20ms after the comma, got {latency!r} in {text!r}. Units are s, ms, us."
        )
    bits = float(rated[1]) * _DECIMAL[rated[2].replace("K", "k")] * (1 if rated[3] in ("bit", "b") else 8)
    if bits == 0:
        raise LocalgradError(f"links: the bandwidth must be above 0, got {text!r}.")
    return Link(bits / 8, 0.0 if timed is None else float(timed[1]) * _SECONDS[timed[2]])


def parse_devices(text: str) -> tuple[Devices, ...]:
    """Kinds of devices with their number: ``fast:2,slow:6``, ``1.0:2,0.25:6`` or ``gpu=1:2,laptop=0.25:6``.

    Before the colon stands a speed, NAME=SPEED, or one of the names ``fast`` (1) and ``slow`` (0.5); after it how many
    there are. Raises LocalgradError for anything else, a speed or number of 0, and a name that comes twice.
    """
    found: list[Devices] = []
    for part in text.split(","):
        match = _GROUP.fullmatch(part.strip())
        if match is None:
            raise LocalgradError(
                f"devices: expected SPEED:COUNT or NAME=SPEED:COUNT, such as 1:2,0.25:6 or gpu=1:2,laptop=0.25:6, "
                f"got {part.strip()!r} in {text!r}."
            )
        label, number, name, count = match.groups()
        if number is None and (label is not None or name not in NAMED_SPEEDS):
            raise LocalgradError(
                f"devices: the speed of {label or name!r} is not known; only {' and '.join(NAMED_SPEEDS)} stand for "
                f"speeds. Write {label or name}=SPEED:{count}, where 1 is the device that the units were measured on."
            )
        speed = NAMED_SPEEDS[name] if number is None else float(number)
        if speed == 0 or int(count) == 0:
            raise LocalgradError(f"devices: speed and count must be above 0, got {part.strip()!r} in {text!r}.")
        own = label or name or f"{speed:g}"
        if own in [kind.name for kind in found]:
            raise LocalgradError(f"devices: {own!r} comes twice in {text!r}. Give every kind once, with its number.")
        found.append(Devices(own, speed, int(count), assumed=number is None))
    return tuple(found)


def parse_size(text: str) -> int:
    """A number of bytes: ``4GiB``, ``500MB``, ``1000000``. Raises LocalgradError for anything else, and for 0."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise LocalgradError(
            f"memory: expected a number of bytes such as 4GiB or 500MB, got {text!r}. Units are B with k, M, G, T "
            "(powers of 1000) or Ki, Mi, Gi, Ti (powers of 1024) before it."
        )
    unit = match[2] or ""
    factor = _BINARY.get(unit) or _DECIMAL[unit.replace("K", "k")]
    size = int(float(match[1]) * factor)
    if size == 0:
        raise LocalgradError(f"memory: the limit must be above 0, got {text!r}.")
    return size
