"""The command line: ``localgrad VERB ...``."""

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from localgrad.errors import LocalgradError, nearest
from localgrad.version import VERSION

MODULES = {
    "recipes": "listing",
    "train": "training",
    "compare": "comparing",
    "evaluate": "training",
    "probe": "analysing",
    "cka": "similarity",
    "maps": "mapping",
    "calibrate": "calibrating",
    "export": "training",
    "cost": "inspecting",
    "audit": "inspecting",
    "plan": "planning",
    "simulate": "simulating",
    "report": "comparing",
    "reproduce": "reproducing",
}
"""Every verb and the module of this package that has a function of its name."""
VERBS = tuple(MODULES)


RECIPE_VERBS = {
    "train": """usage: localgrad train RECIPE [options]
       localgrad train --resume RUN [--data-root DIR] [--device DEVICE]

Train a recipe, or continue a run from its last checkpoint, bit for bit. RECIPE is a name that `localgrad recipes`
lists, or FILE.py:FUNCTION, or MODULE:FUNCTION: a function that returns a Run. RUN is the folder of a run.

`localgrad train RECIPE --help` shows the options of a recipe, `localgrad train --resume --help` those of
continuing.""",
    "cost": """usage: localgrad cost RECIPE [options]
       localgrad cost --all [options]
       localgrad cost --table gndgl|auglocal [options]

MACs, parameters and live memory of a recipe beside those of backpropagation, without training. The options are those
of `localgrad train RECIPE`, such as --depth, --modules and --batch-size; `localgrad cost RECIPE --help` shows them.
--all puts every method side by side, --table prints a paper's table of arithmetic; `localgrad cost --all --help` says
more.""",
    "audit": """usage: localgrad audit RECIPE [options]

Which loss reaches the parameters of which unit, found by running a step; exit status 1 when that is not what the
method declares. The options are those of `localgrad train RECIPE`; `localgrad audit RECIPE --help` shows them.""",
    "plan": """usage: localgrad plan RECIPE --ranks N [--links 1Gbit,20ms] [--devices fast:2,slow:6] [-o FILE] [options]
       localgrad plan RECIPE --memory 4GiB [--batch-size N] [--measure] [options]

Which of N processes hosts which unit, balanced by MACs or measured time within a memory limit; what is sent; predicted
time, speed-ups and memory; and the break-even with a pipeline of backpropagation. `localgrad train RECIPE --runtime
distributed --plan FILE` runs exactly the plan. The other options are those of `localgrad train RECIPE`; `localgrad plan
RECIPE --help` shows all.

Without --ranks: the fewest modules (and for AugLocal the deepest auxiliary networks) whose training step fits the
memory of one device, whether that takes recomputation, and what it costs beside backpropagation.""",
    "simulate": """usage: localgrad simulate RECIPE --ranks N [--replicas D] [options]
       localgrad simulate PLAN.json [options]

What would become of a distributed run on N nodes, thousands if you like: unequal speeds, slow links, stragglers,
pauses, losses. A discrete-event simulation of what the runtime does, fed with unit times that --measure takes on this
machine, else with times proportional to MACs; beside it the same nodes with a 1F1B pipeline and data parallel
training. PLAN.json is what `localgrad plan RECIPE -o PLAN.json` wrote.

  localgrad simulate cifar10.dgl_resnet32 --modules 16 --ranks 16 --links 1Gbit,20ms --jitter 0.1
  localgrad simulate PLAN.json --stragglers 0.05x4 --pauses 10min,5s --losses 24h --restart 60s

`localgrad simulate RECIPE --help` and `localgrad simulate PLAN.json --help` show all options.""",
}
"""What the verbs that begin with a recipe say about themselves, before there is a recipe."""


def main(words: Sequence[str] | None = None) -> int:
    """Run one verb; errors of the user are printed as text, with exit status 2."""
    words = sys.argv[1:] if words is None else words
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0
    if words[0] == "--version":
        print(VERSION)
        return 0
    if words[0] in RECIPE_VERBS and (len(words) == 1 or words[1] in ("-h", "--help")):
        print(RECIPE_VERBS[words[0]])
        return 0 if len(words) > 1 else 2
    try:
        with no_collections():
            verb = find_verb(words[0])
        return verb(words[1:])
    except LocalgradError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except SystemExit as stop:  # argparse, after --help
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


@contextmanager
def no_collections() -> Iterator[None]:
    """No garbage collections inside: there is none while modules are imported, and to look for it takes a quarter."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def find_verb(word: str) -> Callable[[Sequence[str]], int]:
    """The function of a verb. Raises LocalgradError that names the nearest one."""
    if word not in VERBS:
        raise LocalgradError(f"localgrad {word}: there is no such command. {nearest(word, VERBS)}")
    # Imported here: torch takes seconds, `--help` needs none of it, and each verb only its own part.
    verb: Callable[[Sequence[str]], int] = getattr(import_module(f"localgrad.cli.{MODULES[word]}"), word)
    return verb


def usage() -> str:
    """What `localgrad --help` prints."""
    return """usage: localgrad VERB ...

Train PyTorch networks with local learning: every unit has its own loss, no gradient crosses a border.

  recipes [--paper NAME]         list what can be trained, by paper and table, with the papers' figures
  train RECIPE [options]         train a recipe: digits.auglocal --depth 3 --seed 1, or your own FILE.py:FUNCTION
  train --resume RUN             continue a run from its last checkpoint, bit for bit
  compare RECIPE... [options]    train several recipes with several seeds, print one table
  evaluate RUN                   accuracy of a run on its test split, network and units
  evaluate RUN --data NAME       the same on another data set, without training: stl10, svhn, folder, ...
  probe RUN                      how well the features of every block tell classes apart: linear probes, kNN
  cka RUN RUN                    how alike the blocks of two runs are; the whole matrix as JSON, as a figure
  maps RUN...                    feature maps behind every unit for a few images, runs side by side
  calibrate RUN -o FILE          how similar a SimCLR run finds pairs of views: thresholds for DGSSL-LLM
  export RUN -o FILE             the trained network alone, as safetensors
  cost RECIPE [options]          MACs, parameters and live memory beside backpropagation, without training
  cost --all                     the same of every method, side by side
  cost --table gndgl|auglocal    the papers' tables of arithmetic
  audit RECIPE [options]         which loss reaches which unit, found by machine
  plan RECIPE --ranks N          which process hosts which unit, what is sent, what to expect
  simulate RECIPE|PLAN.json      what unequal, slow, failing nodes make of a distributed run, thousands of them
  report RUN... -o FILE          one HTML page about runs; --measure adds memory over a step and reach of every loss
  reproduce TABLE                a paper's table, ours beside theirs: auglocal:1; as recorded, or small in 15 minutes

`localgrad VERB --help` and `localgrad train RECIPE --help` say more."""
