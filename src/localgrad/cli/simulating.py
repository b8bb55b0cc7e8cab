"""``localgrad simulate``: what unequal speeds, slow links, stragglers and losses make of a plan."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from localgrad.cli import planning
from localgrad.cli.options import make_run, parse, plain_parser, recipe_parser, run_settings, split_recipe
from localgrad.cli.recipes import find_recipe
from localgrad.cli.words import option, parameter_types
from localgrad.errors import LocalgradError
from localgrad.planning.costs import MACS_PER_SECOND
from localgrad.planning.links import parse_link
from localgrad.planning.plan import Plan
from localgrad.planning.plan_file import read_plan
from localgrad.planning.simulate import simulate as run_simulation
from localgrad.planning.simulate import simulate_rivals
from localgrad.planning.simulate_conditions import Conditions, Losses
from localgrad.planning.simulate_told import simulation_told
from localgrad.planning.simulate_words import parse_duration, parse_pauses, parse_stragglers

Words = Sequence[str]

PLANNED: Mapping[str, Any] = {
    name: planning.OWN[name] for name in ("ranks", "devices", "memory", "balance", "measure", "gmacs")
}
"""Options that make a plan of a recipe, and their types: a plan from a file has them already."""
WORLD: Mapping[str, Any] = {
    "batches": int,
    "links": str,
    "replica_links": str,
    "queue": int,
    "jitter": float,
    "link_jitter": float,
    "stragglers": str,
    "pauses": str,
    "losses": str,
    "restart": str,
    "checkpoint_every": int,
    "checkpoint_time": str,
    "forward_share": float,
    "microbatches": int,
    "alone": bool,
    "simulation_seed": int,
}
"""Options that say what happens to the run."""


def simulate(words: Words) -> int:
    """Simulate a recipe or a plan, print what came of it."""
    reference, rest = split_recipe("simulate", words)
    if reference.endswith(".json"):
        plan, values = _of_file(Path(reference), rest)
    else:
        plan, values = _of_recipe(reference, rest)
    conditions = _conditions(values)
    if values["alone"]:
        print(simulation_told(plan, conditions, run_simulation(plan, conditions), None))
    else:
        found = simulate_rivals(plan, conditions, values["microbatches"])
        print(simulation_told(plan, conditions, found.local, found))
    return 0


def _of_file(path: Path, words: Words) -> tuple[Plan, Mapping[str, Any]]:
    """The plan of a file, other links put in its place where they are given, and the options."""
    for word in words:
        name = word.partition("=")[0]
        if name in map(option, (*PLANNED, "replicas", "wire", "labels")):
            raise LocalgradError(f"localgrad simulate: {name}: {path} says that already; leave it out.")
    parser = plain_parser(f"simulate {path}", "Simulate a plan that `localgrad plan -o FILE` wrote.")
    _add_world(parser)
    parser.add_argument("--ema_delay", type=int | None, help="steps by which MLAAN's copies may be late")
    values = parse(parser, words, {**WORLD, "ema_delay": int})
    plan = read_plan(path)
    return plan if values["links"] is None else replace(plan, link=parse_link(values["links"])), values


def _of_recipe(reference: str, words: Words) -> tuple[Plan, Mapping[str, Any]]:
    """The plan that `localgrad plan` makes of a recipe, and the options."""
    recipe = find_recipe(reference)
    own = {**PLANNED, **WORLD}
    twice = sorted(own.keys() & inspect.signature(recipe).parameters.keys())
    if twice:
        raise LocalgradError(
            f"recipe {reference}: its parameters {', '.join(twice)} are options of `localgrad simulate` as well. Write "
            f"a plan with `localgrad plan {reference} -o FILE.json` and simulate that."
        )
    parser = recipe_parser("simulate", reference, recipe)
    _add_planned(parser)
    _add_world(parser)
    values = parse(parser, words, {**own, **parameter_types(recipe, run_settings)})
    mine = {name: values.pop(name) for name in own}
    for name in planning.CHOSEN_HERE:
        if values[name] is not None:
            raise LocalgradError(f"localgrad simulate: {option(name)} is not taken here: leave it out.")
    if values["runtime"] not in (None, "distributed"):
        raise LocalgradError(
            f"localgrad simulate: simulated is --runtime distributed, got {values['runtime']}: leave it out."
        )
    run = make_run(reference, recipe, {**values, "runtime": "distributed"})
    return planning.plan_of(run, reference, mine), {**mine, "ema_delay": values["ema_delay"]}


def _conditions(values: Mapping[str, Any]) -> Conditions:
    """The disturbances that the options describe."""
    return Conditions(
        batches=values["batches"],
        depth=values["queue"],
        forward_share=values["forward_share"],
        ema_delay=values["ema_delay"],
        jitter=values["jitter"],
        link_jitter=values["link_jitter"],
        stragglers=None if values["stragglers"] is None else parse_stragglers(values["stragglers"]),
        pauses=None if values["pauses"] is None else parse_pauses(values["pauses"]),
        losses=_losses(values),
        replica_link=None if values["replica_links"] is None else parse_link(values["replica_links"]),
        seed=values["simulation_seed"],
    )


def _losses(values: Mapping[str, Any]) -> Losses | None:
    """Losses and checkpoints; None without either."""
    if values["losses"] is None and values["checkpoint_time"] is None:
        return None
    return Losses(
        every=None if values["losses"] is None else parse_duration(values["losses"], "losses"),
        restart=parse_duration(values["restart"], "restart"),
        checkpoint_every=values["checkpoint_every"],
        checkpoint_seconds=parse_duration(values["checkpoint_time"] or "0s", "checkpoint-time"),
    )


def _add_planned(parser: ArgumentParser) -> None:
    parser.add_argument("--ranks", type=int, required=True, help="nodes, all replicas together")
    parser.add_argument("--devices", type=str | None, help="speeds and numbers, as fast:2,slow:6 or 1:2,0.25:6")
    parser.add_argument("--memory", type=str | None, help="limit for each node, as 4GiB")
    parser.add_argument("--balance", type=PLANNED["balance"] | None, help="what is made equal; time with --measure")
    parser.add_argument("--measure", action="store_true", help="time the units here instead of counting MACs")
    parser.add_argument(
        "--gmacs", type=float, default=MACS_PER_SECOND / 1e9, help="1e9 MACs per second of a node, if not measured"
    )


def _add_world(parser: ArgumentParser) -> None:
    parser.add_argument("--batches", type=int, default=1000, help="mini-batches to run")
    parser.add_argument("--links", type=str | None, help="bandwidth and latency of all links, as 1Gbit,20ms")
    parser.add_argument("--replica_links", type=str | None, help="the same between replicas; as --links by default")
    parser.add_argument("--queue", type=int, default=2, help="depth of the queues between stages")
    parser.add_argument("--jitter", type=float, default=0.0, help="spread of compute times: 0.1 is a tenth")
    parser.add_argument("--link_jitter", type=float, default=0.0, help="spread of the times of messages")
    parser.add_argument("--stragglers", type=str | None, help="share of slow nodes and how slow, as 0.05x4")
    parser.add_argument("--pauses", type=str | None, help="nodes pause now and then, as 10min,5s")
    parser.add_argument("--losses", type=str | None, help="mean time until a given node is lost, as 24h")
    parser.add_argument("--restart", type=str, default="60s", help="time until all run again after a loss")
    parser.add_argument("--checkpoint_every", type=int, default=100, help="steps between checkpoints")
    parser.add_argument("--checkpoint_time", type=str | None, help="time that a node takes to save, as 2s")
    parser.add_argument("--forward_share", type=float | None, help="share of a unit's step before its output goes on")
    parser.add_argument("--microbatches", type=int, default=8, help="of the 1F1B pipeline beside it")
    parser.add_argument("--alone", action="store_true", help="no 1F1B and data parallel training beside it")
    parser.add_argument("--simulation_seed", type=int, default=0, help="what is drawn is a function of it")
