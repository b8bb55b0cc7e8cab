"""The verb that plans: a run over processes, or with --memory alone what fits one device."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import ArgumentParser

from localgrad.cli.fitting import fit_one_device
from localgrad.cli.options import make_run, parse, recipe_parser, run_settings, split_recipe
from localgrad.cli.recipes import find_recipe
from localgrad.cli.words import option, parameter_types
from localgrad.errors import LocalgradError
from localgrad.heap import keep_freed_memory
from localgrad.planning import (
    Plan,
    make_plan,
    parse_devices,
    parse_link,
    parse_size,
    predict,
    told,
    unit_costs,
    write_plan,
)
from localgrad.planning.balance import By
from localgrad.planning.costs import MACS_PER_SECOND
from localgrad.planning.links import SAME_MACHINE, Devices
from localgrad.planning.predict import MICRO_BATCHES
from localgrad.train import Run
from localgrad.train.runtimes import DistributedSpec, runtime_problems

Words = Sequence[str]

OWN: Mapping[str, Any] = {
    "ranks": int,
    "links": str,
    "devices": str,
    "memory": str,
    "balance": Literal["macs", "time"],
    "measure": bool,
    "gmacs": float,
    "microbatches": int,
    "output": Path,
}
"""The options of this verb and their types; replicas, wire and labels are those of a distributed run."""
CHOSEN_HERE = ("hosts", "plan", "processes")
"""Options of a distributed run that a plan answers."""
IN_THE_PLAN = ("runtime", "replicas", "wire")
"""Options that a run does not need any more when it has the plan."""


def plan(words: Words) -> int:
    """Choose a placement, and say what a run of it will do."""
    reference, rest = split_recipe("plan", words)
    recipe = find_recipe(reference)
    twice = sorted(OWN.keys() & inspect.signature(recipe).parameters.keys())
    if twice:
        raise LocalgradError(
            f"recipe {reference}: its parameters {', '.join(twice)} are options of `localgrad plan` as well. "
            "Rename them."
        )
    parser = recipe_parser("plan", reference, recipe)
    _add_own(parser)
    values = parse(parser, rest, {**OWN, **parameter_types(recipe, run_settings)})
    own = {name: values.pop(name) for name in OWN}
    if own["ranks"] is None:
        return fit_one_device(reference, recipe, values, rest, own)
    given = [name for name in CHOSEN_HERE if values[name] is not None]
    if given:
        raise LocalgradError(f"localgrad plan: {option(given[0])} says what a plan has to find: leave it out.")
    if values["runtime"] not in (None, "distributed"):
        raise LocalgradError(f"localgrad plan: a plan is for --runtime distributed, got {values['runtime']}.")
    run = make_run(reference, recipe, {**values, "runtime": "distributed"})
    found = plan_of(run, " ".join([reference, *_for_training(rest)]), own)
    prediction = predict(found, micro_batches=own["microbatches"])
    print(told(found, prediction))
    for note in _notes(run, own):
        print(f"note: {note}")
    if own["output"] is not None:
        write_plan(found, own["output"])
        print(f"{own['output']}: localgrad train {found.recipe} --runtime distributed --plan {own['output']}")
    return 0


def plan_of(run: Run, recipe: str, own: Mapping[str, Any]) -> Plan:
    """The plan of a Run on as many ranks, devices and links as ``own`` says."""
    spec = run.runtime
    assert isinstance(spec, DistributedSpec)
    link = SAME_MACHINE if own["links"] is None else parse_link(own["links"])
    devices = _devices(own["devices"])
    limit = None if own["memory"] is None else parse_size(own["memory"])
    by: By = own["balance"] or ("time" if own["measure"] else "macs")
    if by == "time" and not own["measure"]:
        raise LocalgradError("localgrad plan: --balance time needs the units' seconds: give --measure as well.")
    if not own["gmacs"] > 0:
        raise LocalgradError(f"localgrad plan: --gmacs must be above 0, got {own['gmacs']}.")
    if own["measure"]:
        device = run.torch_device()
        if device.type == "cpu":
            keep_freed_memory()
        net = run.network().to(device)
    else:
        with torch.device("meta"):
            net = run.network()
    costs = unit_costs(
        net,
        run.batch_size,
        replicas=spec.replicas,
        precision=run.precision,
        channels_last=run.channels_last,
        optimizer=run.optimizer,
        macs_per_second=own["gmacs"] * 1e9,
        measure=own["measure"],
    )
    return make_plan(
        net,
        costs,
        run.batch_size,
        own["ranks"],
        recipe=recipe,
        method=type(run.method).__name__,
        replicas=spec.replicas,
        devices=devices,
        link=link,
        wire=spec.wire,
        memory_limit=limit,
        by=by,
        labels=spec.labels == "travel",
    )


def _add_own(parser: ArgumentParser) -> None:
    parser.add_argument("--ranks", type=int | None, help="processes; without it, --memory finds what fits one device")
    parser.add_argument("--links", type=str | None, help="bandwidth and latency between them, such as 1Gbit,20ms")
    parser.add_argument(
        "--devices", type=str | None, help="speeds and numbers, such as 1:2,0.25:6 or fast:2,slow:6 (1 and 0.5)"
    )
    parser.add_argument("--memory", type=str | None, help="limit for each process or device, such as 4GiB")
    parser.add_argument("--balance", type=OWN["balance"] | None, help="what is made equal; time with --measure")
    parser.add_argument("--measure", action="store_true", help="time real steps of every unit here, on one thread")
    parser.add_argument(
        "--gmacs", type=float, default=MACS_PER_SECOND / 1e9, help="1e9 MACs per second of a device, if not measured"
    )
    parser.add_argument("--microbatches", type=int, default=MICRO_BATCHES, help="of the 1F1B pipeline to compare with")
    parser.add_argument("-o", "--output", type=Path | None, help="file for the plan")


def _for_training(words: Words) -> list[str]:
    """The words that `localgrad train RECIPE --plan FILE` takes: without those of this verb and those in the plan."""
    left_out = {*map(option, (*OWN, *IN_THE_PLAN)), "-o"}
    kept: list[str] = []
    keeping = True
    for word in words:
        if word.startswith("-"):
            keeping = word.partition("=")[0].replace("_", "-") not in left_out
        if keeping:
            kept.append(word)
    return kept


def _devices(text: str | None) -> tuple[Devices, ...]:
    return () if text is None else parse_devices(text)


def _notes(run: Run, own: Mapping[str, Any]) -> list[str]:
    """What was assumed, and why a run would be refused."""
    assumed = [kind for kind in _devices(own["devices"]) if kind.assumed]
    notes = [] if own["links"] is not None else ["no --links given: processes of one machine are assumed."]
    if assumed:
        told_speeds = ", ".join(f"{kind.name} is speed {kind.speed:g}" for kind in assumed)
        notes.append(f"{told_speeds}: assumed. Say it as {assumed[0].name}=SPEED:{assumed[0].count}.")
    with torch.device("meta"):
        refused = list(runtime_problems(run.runtime, vars(run), run.network()))
    return [*notes, *(f"`localgrad train` will refuse this: {problem}" for problem in refused)]
