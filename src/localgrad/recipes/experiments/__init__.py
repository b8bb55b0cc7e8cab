"""From a figure of a paper's table to the experiment that reproduces it."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

from localgrad.facts import plain
from localgrad.recipes.experiments.auglocal import auglocal
from localgrad.recipes.experiments.dgl import dgl
from localgrad.recipes.experiments.experiment import Experiment as Experiment
from localgrad.recipes.experiments.experiment import NotCovered as NotCovered
from localgrad.recipes.experiments.experiment import Verb as Verb
from localgrad.recipes.experiments.experiment import options as options
from localgrad.recipes.experiments.experiment import written as written
from localgrad.recipes.experiments.gndgl import gndgl
from localgrad.recipes.experiments.infopro import infopro
from localgrad.recipes.experiments.mlaan import mlaan
from localgrad.recipes.experiments.predsim import predsim
from localgrad.reported import Row
from localgrad.train import Origin, Run

PAPERS: Mapping[str, Callable[[Row], Experiment | NotCovered]] = {
    "dgl": dgl,
    "predsim": predsim,
    "infopro": infopro,
    "gndgl-v1": gndgl,
    "gndgl-v2": gndgl,
    "thesis": gndgl,
    "auglocal": auglocal,
    "mlaan": mlaan,
}
COST = ("gpu_memory", "flops", "train_speedup", "inference_speedup", "theoretical_overhead")
TIME = ("walltime_overhead", "wallclock_overhead")


def experiment(row: Row) -> Experiment | NotCovered:
    """The recipe and keywords that make the row's figure, or the reason why there are none. Pure."""
    found = PAPERS[row.paper](row)
    if isinstance(found, NotCovered):
        return found
    verb: Verb = "evaluate" if found.data else verb_of(row.metric)
    given, defaults = dict(found.keywords), defaults_of(found.recipe)
    assert given.keys() <= defaults.keys(), found
    keywords = tuple((name, given[name]) for name in defaults if name in given and given[name] != defaults[name])
    figure = found.figure if verb == "train" else ""
    return replace(found, keywords=keywords, figure=figure, verb=verb)


def verb_of(metric: str) -> Verb:
    """What gives a figure of this metric."""
    if metric.startswith(COST):
        return "cost"
    return "compare" if metric.startswith(TIME) else "train"


def run_of(recipe: str, keywords: Mapping[str, object], **more: object) -> Run:
    """The recipe's Run, with its origin, so that every verb can make it again.

    ``more`` are keywords such as seed and data_root that come on top where the recipe has them.
    """
    defaults = defaults_of(recipe)
    given = {**keywords, **{name: value for name, value in more.items() if name in defaults}}
    module, _, name = recipe.partition(".")
    run = getattr(importlib.import_module(f"localgrad.recipes.{module}"), name)(**given)
    assert isinstance(run, Run)
    return replace(run, origin=Origin(recipe, {name: plain(value) for name, value in {**defaults, **given}.items()}))


@cache
def defaults_of(recipe: str) -> Mapping[str, object]:
    """Defaults of a recipe's parameters by name."""
    module, _, name = recipe.partition(".")
    function = getattr(importlib.import_module(f"localgrad.recipes.{module}"), name)
    return {one.name: one.default for one in inspect.signature(function).parameters.values()}
