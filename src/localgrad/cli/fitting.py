"""``localgrad plan RECIPE --memory 4GiB``: the cut that fits one device."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from localgrad.cli.options import make_run
from localgrad.cli.recipes import Recipe
from localgrad.cli.run_memory import run_memory
from localgrad.cli.words import option
from localgrad.errors import LocalgradError
from localgrad.heap import keep_freed_memory
from localgrad.method import regrouped
from localgrad.network import LocalNetwork, localize
from localgrad.planning import fit
from localgrad.planning.fit import DeepMethod, Fit, network_of, partition_of, step_macs_ratio
from localgrad.planning.fit_words import told_fit
from localgrad.planning.seconds import unit_seconds
from localgrad.segments import whole_words
from localgrad.train import Run

FOUND_HERE = ("modules", "cut")
"""Options of a recipe and of every run that the search answers."""


def fit_one_device(
    reference: str, recipe: Recipe, values: Mapping[str, Any], words: Sequence[str], own: Mapping[str, Any]
) -> int:
    """Print what fits into ``own["memory"]``; ``values`` are the parsed options, ``words`` those given."""
    for name in ("links", "devices", "balance", "output"):
        if own[name] is not None:
            raise LocalgradError(f"localgrad plan: {option(name)} is for a plan over processes: give --ranks as well.")
    if own["memory"] is None:
        raise LocalgradError(
            "localgrad plan: give --ranks N for a plan over processes, or --memory 4GiB for what fits one device."
        )
    given = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in words if word.startswith("--")}
    for name in FOUND_HERE:
        if name in given:
            raise LocalgradError(f"localgrad plan: {option(name)} is what --memory finds: leave it out.")
    run = make_run(reference, recipe, values)
    if run.runtime != "sequential":
        raise LocalgradError(
            "localgrad plan --memory: without --ranks the plan is for one process, runtime sequential."
        )
    if run.accumulate != 1:
        raise LocalgradError(
            f"localgrad plan --memory: accumulate={run.accumulate} keeps the gradients of all units, which is not "
            "counted. Leave it out, and give the batch of one part."
        )
    found = fit_run(run, own["memory"], None if values.get("recompute") is None else run.recompute)
    print(f"{reference}: {run.backbone.name}, {type(run.method).__name__}, batch {run.batch_size}, {run.precision}")
    macs = step_macs_ratio(run.backbone, found.chosen.choice)
    print(told_fit(found, macs, measured(run, found) if own["measure"] else None))
    for line in whole_words(network_of(run.backbone, found.chosen.choice)[0].kept_whole()):
        print(line)
    print(" ".join(["localgrad train", reference, *_kept(words), *_options(recipe, found)]))
    return 0


def fit_run(run: Run, limit: str, recompute: bool | None) -> Fit:
    """What fits of the run's network and method, with its batch, precision, memory format and optimiser."""

    def peak(net: LocalNetwork) -> int:
        return run_memory(run, net).peak

    return fit(run.backbone, regrouped(run.method, run.groups), limit, peak, recompute=recompute)


def measured(run: Run, found: Fit) -> tuple[float, float]:
    """Seconds of a step of what was chosen, and of backpropagation, on this machine and one thread."""
    device, choice = run.torch_device(), found.chosen.choice
    if device.type == "cpu":
        keep_freed_memory()
    spans = partition_of(run.backbone, choice.method, choice.modules)
    net = localize(run.backbone, choice.method, partition=spans, recompute=choice.recompute).to(device)
    seconds = unit_seconds(net, run.batch_size, run.precision, run.channels_last, run.optimizer)
    return sum(unit.step for unit in seconds.units), seconds.backprop


def _kept(words: Sequence[str]) -> list[str]:
    """The words without those of this verb, and without what is found."""
    kept: list[str] = []
    keeping = True
    for word in words:
        if word.startswith("-"):
            keeping = word.partition("=")[0].replace("_", "-") not in (
                "--memory",
                "--measure",
                "--recompute",
                "--depth",
            )
        if keeping:
            kept.append(word)
    return kept


def _options(recipe: Recipe, found: Fit) -> list[str]:
    """The choice as options of ``localgrad train``."""
    own, choice = inspect.signature(recipe).parameters, found.chosen.choice
    words: list[str] = []
    if "modules" in own:
        words += ["--modules", str(choice.modules)]
        words += ["--cut", "equal_memory"] if found.chosen.origin.startswith("equal_memory") else []
    if isinstance(choice.method, DeepMethod) and "depth" in own:
        words += ["--depth", str(choice.method.depth)]
    return [*words, "--recompute", "true"] if choice.recompute else words
