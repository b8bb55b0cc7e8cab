"""Plans as files: there and back, and whatever is no plan."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from localgrad import LocalNetwork, localize, methods
from localgrad.errors import LocalgradError
from localgrad.method import Method
from localgrad.placement import Kind, Transfer, Wire
from localgrad.planning import Plan, make_plan, parse_devices, plan_problems, read_plan, unit_costs, write_plan
from tests.conftest import tiny_resnet


def on_meta(method: Method, modules: int) -> LocalNetwork:
    with torch.device("meta"):
        return localize(tiny_resnet(), method, modules)


def plan_of(net: LocalNetwork, ranks: int = 2, **keywords: Any) -> Plan:
    return make_plan(net, unit_costs(net, 8), 8, ranks, recipe="exp.py:tiny --layers 14", method="M", **keywords)


@pytest.fixture(scope="module")
def net() -> LocalNetwork:
    return on_meta(methods.DGL(), 7)


@pytest.fixture(scope="module")
def plan(net: LocalNetwork) -> Plan:
    return plan_of(net)


def test_there_and_back(plan: Plan, tmp_path: Path) -> None:
    decoded = plan_of(
        on_meta(methods.InfoPro(loss="softmax", lambdas=methods.Lambdas(first=(2, 0.5), last=(0.5, 1))), 7),
        3,
        devices=parse_devices("fast:1,slow:2"),
        wire=Wire.INT8,
        memory_limit=10**9,
    )
    grouped = replace(
        plan, transfers=(Transfer(Kind.FEATURES, 0, 0, 1, (2,)), Transfer(Kind.COTANGENT, 0, 1, 0, (3,), 2))
    )
    for one in (plan, decoded, grouped):
        write_plan(one, tmp_path / "plan.json")
        assert read_plan(tmp_path / "plan.json") == one


def refusal(path: Path) -> str:
    with pytest.raises(LocalgradError) as error:
        read_plan(path)
    return str(error.value).replace(str(path), "FILE")


def test_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    assert refusal(path) == (
        "plan: FILE cannot be read: No such file or directory. `localgrad plan RECIPE --ranks N -o FILE` makes a plan."
    )
    path.write_text("{")
    assert refusal(path).startswith("plan FILE is no JSON file: Expecting property name")
    path.write_text("[1]")
    assert refusal(path) == 'plan FILE: expected a JSON object with "format": "localgrad plan".'
    path.write_bytes(b"\xff\xfe\x00")
    assert refusal(path).startswith("plan FILE is no JSON file")
    with pytest.raises(LocalgradError, match="cannot be written: Is a directory"):
        write_plan(plan_of(on_meta(methods.DGL(), 7)), tmp_path)


CHANGES = [
    (("version",), 2, "plan FILE has version 2, this localgrad reads version 1: make it again with `localgrad plan`."),
    (("batch_size",), "8", "plan FILE: plan.batch_size must be a whole number, got '8'."),
    (("batch_size",), True, "plan.batch_size must be a whole number, got True."),
    (("batch_size",), 0, "batch_size must be above 0, got 0."),
    (("wire",), "int9", "plan.wire 'int9' is unknown. Did you mean int8?"),
    (("placement", "hosts"), 3, "plan.placement.hosts must be a list, got 3."),
    (("placement", "hosts", 0), 0.5, "plan.placement.hosts[0] must be a whole number, got 0.5."),
    (("placement", "hosts"), [0, 1], "placement.hosts must name a stage for each of the 7 units, got 2."),
    (("placement", "hosts"), [0, 0, 0, 2, 2, 2, 2], "placement.hosts must name every stage from 0 on"),
    (("placement", "replicas"), 0, "placement.replicas must be above 0, got 0."),
    (("speeds",), [1.0], "speeds must have one number for each of the 2 stages, got 1."),
    (("speeds", 1), -1, "speeds[1] must be above 0, got -1.0."),
    (("costs", 2, "seconds"), None, "plan.costs[2].seconds must be a number, got None."),
    (("costs", 2, "seconds"), float("nan"), "plan.costs[2].seconds must be a number, got nan."),
    (("costs", 1), 4, "plan.costs[1] must be an object, got 4."),
    (("costs", 1, "forward"), 1.5, "costs[1]: seconds below 0, a forward share outside 0 to 1, or a reach below 1."),
    (("costs", 1, "memory"), -5, "costs[1]: MACs, bytes and parameters must be at least 0."),
    (("link", "speed"), 4, "plan.link has 'speed', which is unknown. There are: bytes_per_second, latency."),
    (("transfers", 0, "target"), 7, "transfers[0] is about a unit or a stage that is not there."),
    (("transfers", 0, "count"), 0, "transfers[0].count must be at least 1, got 0."),
    (("measured",), 1, "plan.measured must be true or false, got 1."),
    (("recipe",), 1, "plan.recipe must be a text, got 1."),
]


@pytest.mark.parametrize(("where", "value", "said"), CHANGES, ids=[".".join(map(str, c[0])) for c in CHANGES])
def test_a_plan_with_something_wrong(plan: Plan, tmp_path: Path, where, value, said: str) -> None:
    path = tmp_path / "plan.json"
    write_plan(plan, path)
    data = json.loads(path.read_text())
    inside = data
    for key in where[:-1]:
        inside = inside[key]
    inside[where[-1]] = value
    path.write_text(json.dumps(data))
    assert said in refusal(path)


def test_units_that_take_no_time(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_plan(replace(plan, costs=tuple(replace(unit, seconds=0.0) for unit in plan.costs)), path)
    assert refusal(path) == "plan FILE: costs: the seconds of all units must add up to more than 0."


def test_a_field_too_few(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_plan(plan, path)
    data = json.loads(path.read_text())
    del data["costs"][3]["macs"]
    path.write_text(json.dumps(data))
    assert refusal(path) == "plan FILE: plan.costs[3] has no 'macs'."


def test_a_plan_of_another_run(plan: Plan, net: LocalNetwork) -> None:
    assert list(plan_problems(plan, net, 8)) == []
    again = "Plan again: localgrad plan exp.py:tiny --layers 14 --ranks 2, with the options of this run."
    assert list(plan_problems(plan, net, 9)) == [f"the plan is for mini-batches of 8, the run has 9. {again}"]
    (other,) = plan_problems(plan, on_meta(methods.GNDGL(), 7), 8)
    assert other == f"the plan is for another network: it has 'stem' as unit 0, the network has 'stem.g0'. {again}"
    with torch.device("meta"):
        wide = localize(tiny_resnet(image=(3, 16, 16)), methods.DGL(), 7)
    assert list(plan_problems(plan, wide, 8)) == [
        f"the plan sends other messages than this network needs on 2 stages. {again}"
    ]
    shorter = replace(plan, costs=plan.costs[:-1])
    assert "it has 6 units, the network has 7." in next(plan_problems(shorter, net, 8))
    silent = plan_of(net, labels=False)
    assert silent.transfers != plan.transfers
    assert list(plan_problems(silent, net, 8)) == []
