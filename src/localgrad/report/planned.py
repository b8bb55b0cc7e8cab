"""A placement plan as the report shows it: which stage hosts which units, and what goes between stages."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, final

from localgrad.report.json_files import finite, listed, text, texts, whole

PLAN_FILE = "plan.json"
_WIRES = {"float32": 4, "bfloat16": 2, "int8": 1}


@final
@dataclass(frozen=True)
class PlannedUnit:
    """One unit: the stage that hosts it, seconds of a mini-batch on that stage's device, and its live bytes."""

    name: str
    stage: int
    seconds: float
    memory: int


@final
@dataclass(frozen=True)
class Sent:
    """One channel of a step: ``size`` in bytes of all its messages."""

    source: int
    target: int
    what: str
    unit: str
    size: int


@final
@dataclass(frozen=True)
class Planned:
    """``plan.json`` in the report's words. ``link``: bytes per second, seconds of latency."""

    recipe: str
    network: str
    method: str
    batch_size: int
    stages: int
    replicas: int
    speeds: tuple[float, ...]
    units: tuple[PlannedUnit, ...]
    sent: tuple[Sent, ...]
    link: tuple[float, float]
    wire: str
    measured: bool
    backprop_seconds: float

    def units_of(self, stage: int) -> list[PlannedUnit]:
        """The units that a stage hosts, in order."""
        return [unit for unit in self.units if unit.stage == stage]


def plan_of(data: Mapping[str, Any]) -> Planned:
    """A plan as ``localgrad plan -o`` wrote it. Raises KeyError, TypeError or ValueError for anything else."""
    if data.get("format") != "localgrad plan" or data.get("version") != 1:
        raise ValueError(f"expected a localgrad plan, version 1, got {data.get('format')!r}, {data.get('version')!r}")
    hosts = tuple(map(whole, listed(data["placement"]["hosts"])))
    costs, speeds = listed(data["costs"]), tuple(map(finite, listed(data["speeds"])))
    stages, wire = len(speeds), text(data["wire"])
    if not hosts or len(hosts) != len(costs) or set(hosts) != set(range(stages)) or min(speeds) <= 0:
        raise ValueError("hosts, costs and speeds do not belong together")
    units = tuple(
        PlannedUnit(text(one["name"]), host, finite(one["seconds"]) / speeds[host], whole(one["memory"]))
        for one, host in zip(costs, hosts, strict=True)
    )
    batch = whole(data["batch_size"], 1)
    sent = tuple(_sent(one, units, stages, batch, _WIRES[wire]) for one in listed(data["transfers"]))
    return Planned(
        recipe=text(data["recipe"]),
        network=text(data["network"]),
        method=text(data["method"]),
        batch_size=batch,
        stages=stages,
        replicas=whole(data["placement"]["replicas"], 1),
        speeds=speeds,
        units=units,
        sent=sent,
        link=(finite(data["link"]["bytes_per_second"]), finite(data["link"]["latency"])),
        wire=wire,
        measured=data["measured"] is True,
        backprop_seconds=finite(data["backprop_seconds"]),
    )


def _sent(one: Mapping[str, Any], units: tuple[PlannedUnit, ...], stages: int, rows: int, width: int) -> Sent:
    kind, unit, source, target = text(one["kind"]), whole(one["unit"]), whole(one["source"]), whole(one["target"])
    if unit >= len(units) or max(source, target) >= stages:
        raise ValueError("a transfer names a unit or a stage that is not there")
    shape, image = tuple(map(whole, listed(one["shape"]))), tuple(map(whole, listed(one.get("image", []))))
    count, extras = whole(one.get("count", 1), 1), texts(one.get("extras", []))
    # The sizes of localgrad.placement.traffic, which the report may not import.
    if kind == "weights":
        size = 4 * prod(shape)
    elif kind == "cotangent":
        size = 4 * count * rows * prod(shape)
    else:
        scales = 4 * rows if width == 1 else 0
        more = 8 * ("y" in extras) + 4 * prod(image) * ("image" in extras)
        size = rows * prod(shape) * width + scales + rows * more
    words = {"y": "labels", "image": "images"}
    what = " and ".join([f"{kind} {'×'.join(map(str, shape))}", *(words.get(name, name) for name in extras)])
    return Sent(source, target, what, units[unit].name, size)
