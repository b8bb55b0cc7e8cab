"""A Plan as a JSON file and back; whatever is not a plan is refused with the place and what was expected there."""

import json
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from localgrad.errors import LocalgradError, nearest
from localgrad.network import LocalNetwork
from localgrad.placement import transfers
from localgrad.planning.plan import Plan

FORMAT = "localgrad plan"
VERSION = 1

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def write_plan(plan: Plan, path: Path) -> None:
    """Write ``plan`` to a JSON file. Raises LocalgradError where nothing can be written."""
    text = json.dumps({"format": FORMAT, "version": VERSION, **asdict(plan)}, indent=1)
    try:
        path.write_text(text + "\n")
    except OSError as error:
        raise LocalgradError(f"plan: {path} cannot be written: {error.strerror}.") from error


def read_plan(path: Path) -> Plan:
    """The Plan of a file that ``write_plan`` made.

    Raises LocalgradError for a file that cannot be read or is no plan: says where in it, what was expected, what is
    there. Whether it fits a network is ``plan_problems``.
    """
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise LocalgradError(
            f"plan: {path} cannot be read: {error.strerror}. `localgrad plan RECIPE --ranks N -o FILE` makes a plan."
        ) from error
    except ValueError as error:
        raise LocalgradError(f"plan {path} is no JSON file: {error}.") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise LocalgradError(f'plan {path}: expected a JSON object with "format": "{FORMAT}".')
    if data.get("version") != VERSION:
        raise LocalgradError(
            f"plan {path} has version {data.get('version')!r}, this localgrad reads version {VERSION}: make it again "
            "with `localgrad plan`."
        )
    try:
        plan = _read({name: value for name, value in data.items() if name not in ("format", "version")}, Plan, "plan")
    except _WrongError as error:
        raise LocalgradError(f"plan {path}: {error}") from error
    assert isinstance(plan, Plan)
    problem = next(_value_problems(plan), None)
    if problem is not None:
        raise LocalgradError(f"plan {path}: {problem}")
    return plan


def plan_problems(plan: Plan, net: LocalNetwork, batch_size: int) -> Iterator[str]:
    """Why a plan is not one for this network (which may be on the meta device) and mini-batches; each a sentence."""
    units = [unit.name for unit in net.unit_list()]
    planned = [unit.name for unit in plan.costs]
    again = f"Plan again: localgrad plan {plan.recipe} --ranks {plan.placement.ranks}, with the options of this run."
    if planned != units:
        place = next((i for i, (a, b) in enumerate(zip(planned, units, strict=False)) if a != b), None)
        where = (
            f"{len(planned)} units, the network has {len(units)}"
            if place is None
            else f"{planned[place]!r} as unit {place}, the network has {units[place]!r}"
        )
        yield f"the plan is for another network: it has {where}. {again}"
        return
    if plan.batch_size != batch_size:
        yield f"the plan is for mini-batches of {plan.batch_size}, the run has {batch_size}. {again}"
    labels = {transfers(net, plan.placement, labels=labels) for labels in (True, False)}
    if plan.transfers not in labels:
        yield f"the plan sends other messages than this network needs on {plan.placement.stages} stages. {again}"


class _WrongError(Exception):
    """What was found is not what belongs there."""


def _read(data: Any, kind: Any, where: str) -> Any:
    """``data`` as a value of the type ``kind``."""
    if is_dataclass(kind):
        return _read_fields(data, kind, where)
    if get_origin(kind) is UnionType:  # X | None
        if data is None:
            return None
        (kind,) = (one for one in get_args(kind) if one is not NoneType)
    if get_origin(kind) is tuple:
        if not isinstance(data, list):
            raise _WrongError(f"{where} must be a list, got {data!r}.")
        return tuple(_read(item, get_args(kind)[0], f"{where}[{place}]") for place, item in enumerate(data))
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = [one.value for one in kind]
        if data not in choices:
            raise _WrongError(f"{where} {data!r} is unknown. {nearest(str(data), choices)}")
        return kind(data)
    if kind is float and type(data) is int:
        data = float(data)
    if type(data) is not kind or (kind is float and not isfinite(data)):
        raise _WrongError(f"{where} must be {_WORDS[kind]}, got {data!r}.")
    return data


def _read_fields(data: Any, kind: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise _WrongError(f"{where} must be an object, got {data!r}.")
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    missing = [name for name in names if name not in data]
    if missing:
        raise _WrongError(f"{where} has no {missing[0]!r}.")
    unknown = [name for name in data if name not in names]
    if unknown:
        raise _WrongError(f"{where} has {unknown[0]!r}, which is unknown. {nearest(unknown[0], names)}")
    return kind(**{name: _read(data[name], hints[name], f"{where}.{name}") for name in names})


def _value_problems(plan: Plan) -> Iterator[str]:
    """Numbers that no plan has."""
    hosts, placement = plan.placement.hosts, plan.placement
    if len(hosts) != len(plan.costs):
        yield f"placement.hosts must name a stage for each of the {len(plan.costs)} units, got {len(hosts)}."
        return
    if not hosts or sorted(set(hosts)) != list(range(max(hosts) + 1)):
        yield f"placement.hosts must name every stage from 0 on, got {list(hosts)}."
        return
    positive: dict[str, float] = {"batch_size": plan.batch_size, "placement.replicas": placement.replicas}
    positive |= {"link.bytes_per_second": plan.link.bytes_per_second, "backprop_seconds": plan.backprop_seconds}
    positive |= {f"speeds[{stage}]": speed for stage, speed in enumerate(plan.speeds)}
    for name, value in positive.items():
        if not value > 0:
            yield f"{name} must be above 0, got {value!r}."
    if len(plan.speeds) != placement.stages:
        yield f"speeds must have one number for each of the {placement.stages} stages, got {len(plan.speeds)}."
    for place, unit in enumerate(plan.costs):
        if unit.seconds < 0 or not 0 <= unit.forward <= 1 or min(unit.reaches, default=1) < 1:
            yield f"costs[{place}]: seconds below 0, a forward share outside 0 to 1, or a reach below 1."
        if min(unit.macs, unit.memory, unit.parameters, unit.resident, unit.kept) < 0:
            yield f"costs[{place}]: MACs, bytes and parameters must be at least 0."
    if not sum(unit.seconds for unit in plan.costs) > 0:
        yield "costs: the seconds of all units must add up to more than 0."
    for place, transfer in enumerate(plan.transfers):
        if transfer.unit not in range(len(hosts)) or not {transfer.source, transfer.target} <= set(hosts):
            yield f"transfers[{place}] is about a unit or a stage that is not there."
        elif transfer.count < 1:
            yield f"transfers[{place}].count must be at least 1, got {transfer.count}."
