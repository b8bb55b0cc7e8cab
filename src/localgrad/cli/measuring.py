"""`localgrad report --measure`: writes into folders of runs what can be known of them without training or data."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch

from localgrad.analysis import audit
from localgrad.cli.inspecting import random_batch
from localgrad.cli.options import run_from_origin
from localgrad.cli.run_memory import run_memory
from localgrad.cost import macs, macs_data, memory_data
from localgrad.errors import LocalgradError, RunError
from localgrad.methods import Backprop
from localgrad.partition import EqualBlocks
from localgrad.placement import Placement, placement_problems, transfers
from localgrad.planning import Plan, unit_costs
from localgrad.planning.links import SAME_MACHINE
from localgrad.planning.plan_file import FORMAT, VERSION
from localgrad.report.json_files import read_object
from localgrad.report.planned import PLAN_FILE
from localgrad.report.read import RunRecord
from localgrad.report.sides import AUDIT_FILE, AUDIT_KIND, COST_FILE, COST_KIND
from localgrad.train import Run
from localgrad.train.record import conditions, read_run, write_atomic
from localgrad.train.runtimes import DistributedSpec

Document = dict[str, Any]


def measure_missing(records: Iterable[RunRecord]) -> bool:
    """Write ``cost.json`` and ``audit.json`` where there is none that is whole, and ``plan.json`` of distributed runs.

    Runs that differ by seed share them. What cannot be measured is said on the standard error, and the others are.
    Returns whether all was measured.
    """
    made: dict[tuple[str, str], Document] = {}
    whole = True
    for record in records:
        settings = repr(record.conditions.get("hosts"))
        settings += repr({name: value for name, value in record.facts.items() if name != "seed"})
        wrote: list[str] = []
        for file, make in _missing(record):
            path = record.folder / file
            try:
                if read_object(path, []):
                    raise LocalgradError(
                        "there is one, but not in a form that this localgrad knows; it was left alone. Remove it to "
                        "have it measured again."
                    )
                if (file, settings) not in made:
                    made[file, settings] = make(_run(record))
                write_atomic(path, json.dumps(made[file, settings], indent=1).encode(), "what was measured")
            except LocalgradError as error:
                whole = False
                print(f"{record.folder}: {file} was not measured: {error}", file=sys.stderr)
            else:
                wrote.append(file)
        if wrote:
            print(f"wrote {', '.join(wrote)} in {record.folder}")
    return whole


def _missing(record: RunRecord) -> Iterator[tuple[str, Callable[[Run], Document]]]:
    """Files that a run's folder lacks, and what makes their content."""
    if record.sides.cost is None:
        yield COST_FILE, cost_document
    if record.sides.audit is None:
        yield AUDIT_FILE, audit_document
    hosts = record.conditions.get("hosts")
    if record.sides.plan is None and isinstance(hosts, list) and all(isinstance(host, int) for host in hosts):
        yield PLAN_FILE, partial(plan_document, hosts=tuple(hosts))


def _run(record: RunRecord) -> Run:
    """The Run of a folder. Raises LocalgradError where ``run.json`` does not say how it was made."""
    origin = read_run(record.folder)["origin"]
    parts = {"recipe": str, "arguments": dict, "overrides": dict}
    if origin is not None and not (
        isinstance(origin, dict) and all(isinstance(origin.get(name), kind) for name, kind in parts.items())
    ):
        raise LocalgradError(f"{record.folder / 'run.json'} is damaged: origin must have {', '.join(parts)}.")
    return run_from_origin(origin, record.folder, {})


def cost_document(run: Run) -> Document:
    """MACs and live memory of a training step on one device, and of the same network trained end to end."""
    with torch.device("meta"):
        nets = {"own": run.network(), "baseline": baseline(run).network()}
    own, other = ({"macs": macs_data(macs(net)), "memory": memory_data(run_memory(run, net))} for net in nets.values())
    units = nets["own"].unit_list()
    return {
        "kind": COST_KIND,
        "batch_size": run.batch_size,
        "precision": run.precision.value,
        "update": run.update,
        "accumulate": run.accumulate,
        "optimizer": type(run.optimizer).__name__,
        "units": [unit.name for unit in units],
        "spans": [[unit.span.start, unit.span.stop] for unit in units],
        **own,
        "baseline": {"name": type(baseline(run).method).__name__, **other},
        "conditions": _conditions("live bytes of tensors in a step of the sequential runtime, on fake tensors"),
    }


def baseline(run: Run) -> Run:
    """The same network trained end to end: by backpropagation, or without labels by the method as one unit."""
    if "y" in run.method.needs:
        return replace(run, method=Backprop(), modules=None, partition=None, groups=None, recompute=False)
    return replace(run, modules=None, partition=EqualBlocks(1), recompute=False)


def audit_document(run: Run) -> Document:
    """Which loss reaches the parameters of which unit, on random images."""
    net = run.network()
    found = audit(net, random_batch(net, run.seed))
    return {"kind": AUDIT_KIND, **asdict(found), "conditions": _conditions("real steps on 8 random images")}


def plan_document(run: Run, hosts: tuple[int, ...]) -> Document:
    """What hosted what in a distributed run and what was sent, as a plan; times are by MACs, links are assumed."""
    spec = run.runtime if isinstance(run.runtime, DistributedSpec) else DistributedSpec()
    with torch.device("meta"):
        net = run.network()
    placement = Placement(hosts, spec.replicas)
    problems = list(placement_problems(placement, net.unit_list()))
    if problems:
        raise RunError(problems)
    costs = unit_costs(
        net,
        run.batch_size,
        replicas=spec.replicas,
        precision=run.precision,
        channels_last=run.channels_last,
        optimizer=run.optimizer,
    )
    plan = Plan(
        recipe="" if run.origin is None else run.origin.recipe,
        network=run.backbone.name,
        method=type(run.method).__name__,
        batch_size=run.batch_size,
        placement=placement,
        costs=costs.units,
        transfers=transfers(net, placement, labels=spec.labels == "travel"),
        speeds=(1.0,) * placement.stages,
        link=SAME_MACHINE,
        wire=spec.wire,
        measured=costs.measured,
        backprop_seconds=costs.backprop_seconds,
        backprop_macs=costs.backprop_macs,
        backprop_parameters=costs.backprop_parameters,
    )
    return {"format": FORMAT, "version": VERSION, **asdict(plan)}


def _conditions(how: str) -> Mapping[str, object]:
    return {**conditions(torch.device("cpu")), "how": how}
