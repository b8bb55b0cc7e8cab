"""From command line words to a Run: the options of a recipe are its parameters, those of every Run come on top."""

import inspect
import re
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import ArgumentParser

from localgrad.cli.recipes import Recipe, absolute, call_recipe, find_recipe
from localgrad.cli.runtimes import DISTRIBUTED, divide, runtime_from
from localgrad.cli.words import Dashes, described, option, option_names, parameter_types
from localgrad.errors import LocalgradError, RunError, nearest
from localgrad.facts import plain
from localgrad.partition import EqualBlocks, EqualMacs, EqualMemory
from localgrad.planning.plan_file import plan_problems, read_plan
from localgrad.runtime.queued import Home
from localgrad.train import Origin, Run
from localgrad.update import Precision

Words = Sequence[str]


def run_settings(
    out: Path | None = None,
    precision: Literal["float32", "bfloat16", "float16"] | None = None,
    runtime: Literal["sequential", "queued", "greedy", "distributed"] | None = None,
    buffer: int | None = None,
    slow_unit: int | None = None,
    slowdown: float | None = None,
    max_reuse: int | None = None,
    lifo_quirk: bool | None = None,
    buffer_home: Home | None = None,
    processes: int | None = None,
    hosts: list[int] | None = None,
    plan: Path | None = None,
    replicas: int | None = None,
    wire: Literal["float32", "bfloat16", "int8"] | None = None,
    labels: Literal["travel", "loader"] | None = None,
    ema_delay: int | None = None,
    sync_batchnorm: bool | None = None,
    timeout: float | None = None,
    save_every: int | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    val_fraction: float | None = None,
    knn_every: int | None = None,
    linear_every: int | None = None,
    accumulate: int | None = None,
    workers: int | None = None,
    compile: str | None = None,  # noqa: A002  (the field of a Run)
    graph: bool | None = None,
    streams: int | None = None,
    clip: float | None = None,
    reset_optimizer: bool | None = None,
    drop_last: bool | None = None,
    channels_last: bool | None = None,
    recompute: bool | None = None,
    update: Literal["unit", "fused"] | None = None,
    init_from: Path | None = None,
    cut: Literal["equal_blocks", "equal_macs", "equal_memory"] | None = None,
) -> None:
    """Settings of every run; what is not given stays as the recipe has it.

    Args:
        out: folder to write the run to; runs/RECIPE-seedN by default
        precision: number format of forward and backward
        runtime: all units on every batch; each at its own pace (asynchronous DGL); one unit after the other; or units
            on many processes, which torchrun or --processes start
        buffer: queued: batches kept between two units; 0 is one, and units in turn
        slow_unit: queued: unit, from 0, that is slower than the others
        slowdown: queued: how many times slower, 1 or more
        max_reuse: queued: how often one unit may read one batch
        lifo_quirk: queued: choose batches with the off-by-one of the released code
        buffer_home: queued: where buffers lie
        processes: start so many processes on this machine and train distributed; when one is killed they start again
        hosts: distributed: the stage that hosts each unit, as [0,0,1,1]; by default as many MACs for each
        plan: distributed: file of `localgrad plan -o FILE` that says the same, and replicas and wire
        replicas: distributed: processes of every stage, which share the rows of a batch
        wire: distributed: number format between processes; all but float32 lose something
        labels: distributed: labels travel with the activations, or come from every stage's own loader
        ema_delay: distributed: steps by which MLAAN's copies may be late behind blocks of later stages
        sync_batchnorm: distributed: BatchNorm statistics over all replicas (CUDA)
        timeout: distributed: seconds without a sign of life after which a process counts as gone
        save_every: distributed: steps between checkpoints, beside those of every epoch
        device: auto, cpu, cuda or cuda:N
        batch_size: samples per step
        val_fraction: share of the training split held out; the best epoch is then chosen on it
        knn_every: epochs after which nearest neighbours judge the frozen features of every unit; 0 is never
        linear_every: epochs after which linear classifiers do; 0 is never
        accumulate: parts that every batch is split into, gradients added up
        workers: CPU threads that step units at the same time, faster where units are small
        compile: true, false or a backend of torch.compile; what cannot be compiled runs eagerly and is named
        graph: capture a training step in a CUDA graph and replay it
        streams: units that overlap on streams of the GPU
        clip: bound of the gradient norm of each unit
        reset_optimizer: forget momentum wherever the learning rate falls
        drop_last: leave the short last batch of every epoch out of training
        channels_last: memory format of images and weights
        recompute: recompute activations in the backward pass where that saves memory
        update: one optimiser per unit (least memory) or one for all
        init_from: exported file, run folder or checkpoint to take the network's weights from
        cut: where --modules cuts: spans of as many blocks, or of as much computation or memory, not the papers' table
    """


def summary(recipe: Recipe) -> str:
    """First line of a recipe's docstring."""
    return (inspect.getdoc(recipe) or "").partition("\n")[0]


def recipe_parser(command: str, reference: str, recipe: Recipe) -> ArgumentParser:
    """A parser whose options are the recipe's parameters and the settings of every run.

    Raises LocalgradError for parameters that no word can give.
    """
    parser = ArgumentParser(
        prog=f"localgrad {command} {reference}",
        usage=f"localgrad {command} {reference} [options]",
        exit_on_error=False,
        formatter_class=Dashes,
    )
    own: set[str | int] = set(inspect.signature(recipe).parameters)
    try:
        parameter_types(recipe)
        parser.add_function_arguments(recipe, fail_untyped=False)
    except (ValueError, TypeError, NameError) as error:
        raise LocalgradError(
            f"recipe {reference}: its parameters {', '.join(map(str, own))} cannot all be options: {error}. Numbers, "
            "texts, paths, true or false and Literals can."
        ) from error
    # There is nothing to cut where a recipe does not take the number of modules.
    parser.add_function_arguments(run_settings, skip=own if "modules" in own else own | {"cut"})
    return parser


def underscored(words: Words) -> list[str]:
    """Option names with underscores, as Python has them; values stay as they are."""
    result = []
    for word in words:
        name, equals, value = word.partition("=")
        result.append("--" + name[2:].replace("-", "_") + equals + value if word.startswith("--") else word)
    return result


def parse(parser: ArgumentParser, words: Words, types: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Values by name. Raises LocalgradError for unknown options (with the nearest ones) and values of another type.

    ``types`` are those of the options, for the error.
    """
    known = option_names(parser)
    for word in words:
        name = word.partition("=")[0].replace("_", "-")
        if name.startswith("--") and name not in known:
            raise LocalgradError(f"{parser.prog}: option {name} is unknown. {nearest(name, known)}")
    try:
        namespace = parser.parse_args(underscored(words))
    except ArgumentError as error:
        raise LocalgradError(f"{parser.prog}: {told(error, types or {})}") from error
    # Not vars(): it holds names such as `update`, which are methods of the namespace, under other keys.
    return dict(namespace.as_dict())


def told(error: ArgumentError, types: Mapping[str, Any]) -> str:
    """The parser's error in one line, in terms of options."""
    text = " ".join(str(error).split())
    named = re.search(r'Parser key "(\w+)"', text)
    if named is None:
        missing = text.partition("arguments are required: ")[2]
        return f"{', '.join(map(required, missing.split(', ')))} must be given." if missing else text
    if named[1] not in types:
        return text.replace(named[0], option(named[1]))
    value = re.search(r"(?:Got|Given) value: (.*)$", text)
    got = "" if value is None else f", got {value[1]!r}"
    return f"{option(named[1])}: expected {described(types[named[1]])}{got}."


def required(name: str) -> str:
    """How a missing argument is given: positional ones are in capitals."""
    return name.upper() if name in ("run", "runs") else option(name)


def make_run(reference: str, recipe: Recipe, values: Mapping[str, Any]) -> Run:
    """The Run that a recipe and parsed values describe, with its origin."""
    own = inspect.signature(recipe).parameters
    # Absolute, so that the run can be continued from any folder.
    values = {k: v.absolute() if isinstance(v, Path) and k != "out" else v for k, v in values.items()}
    arguments = {name: value for name, value in values.items() if name in own}
    run = call_recipe(recipe, reference, arguments)
    settings = {name: value for name, value in values.items() if name not in own and value is not None}
    origin = Origin(
        absolute(reference),
        {name: plain(value) for name, value in arguments.items()},
        {name: plain(value) for name, value in settings.items() if name != "out"},
    )
    chosen, settings = divide(settings)
    if "precision" in settings:
        settings["precision"] = Precision(settings["precision"])
    if settings.get("compile") in ("true", "false"):
        settings["compile"] = settings["compile"] == "true"
    if "cut" in settings:
        settings |= cut_evenly(settings.pop("cut"), run)
    run = replace(run, origin=origin, runtime=runtime_from(chosen, run.runtime), **settings)
    if "plan" in chosen:
        check_plan(chosen["plan"], run)
    if run.out is None:
        name = reference.rpartition("/")[2].replace(".py:", ".").replace(":", ".")
        run = replace(run, out=Path("runs") / f"{name}-seed{run.seed}")
    return run


def check_plan(path: Path, run: Run) -> None:
    """Raise RunError when the plan in a file is one of another network or batch size."""
    try:
        with torch.device("meta"):
            net = run.network()
    except LocalgradError:
        return  # said with everything else that is wrong
    problems = [f"--plan {path}: {problem}" for problem in plan_problems(read_plan(path), net, run.batch_size)]
    if problems:
        raise RunError(problems)


def cut_evenly(cut: Literal["equal_blocks", "equal_macs", "equal_memory"], run: Run) -> dict[str, object]:
    """The fields of a Run that cut into its number of modules evenly. Raises LocalgradError when it has none."""
    if run.modules is None:
        raise LocalgradError(f"--cut {cut} cuts into as many spans as --modules says: give it.")
    rule = {"equal_blocks": EqualBlocks, "equal_macs": EqualMacs, "equal_memory": EqualMemory}[cut]
    return {"modules": None, "partition": rule(run.modules)}


def run_from_words(command: str, reference: str, words: Words) -> Run:
    """The Run of ``localgrad COMMAND RECIPE words...``."""
    recipe = find_recipe(reference)
    parser = recipe_parser(command, reference, recipe)
    return make_run(reference, recipe, parse(parser, words, parameter_types(recipe, run_settings)))


def run_from_origin(origin: Mapping[str, Any] | None, folder: Path, moved: Mapping[str, Any]) -> Run:
    """The Run that a run folder was made from. ``moved`` are settings that say where, such as data_root and device."""
    if origin is None:
        raise LocalgradError(
            f"{folder} was made by a Python program, not by a recipe: make its Run there and call "
            "train(run, resume=True)."
        )
    reference = str(origin["recipe"])
    recipe = find_recipe(reference)
    parser = recipe_parser("train", reference, recipe)
    types = parameter_types(recipe, run_settings)
    saved = {**origin["arguments"], **origin["overrides"]}
    changed = f"recipe {reference} has changed since {folder} was made"
    gone = sorted(saved.keys() - types.keys())
    if gone:
        raise LocalgradError(
            f"{changed}: it no longer has the parameters {', '.join(gone)}. Use the version of the recipe that made "
            "the run."
        )
    now = {name: value for name, value in moved.items() if value is not None}
    if "runtime" in now:
        # What belongs to the runtime of before does not come along.
        saved = {name: value for name, value in saved.items() if name not in DISTRIBUTED}
    foreign = sorted(now.keys() - types.keys())
    if foreign:
        raise LocalgradError(f"recipe {reference} has no option {', '.join(map(option, foreign))}.")
    try:
        namespace = parser.parse_object({**saved, **now})
    except ArgumentError as error:
        raise LocalgradError(f"{changed}: {told(error, types)}") from error
    return replace(make_run(reference, recipe, namespace.as_dict()), out=folder)


def plain_parser(verb: str, description: str) -> ArgumentParser:
    """A parser for the words of a verb that takes no recipe's options."""
    return ArgumentParser(
        prog=f"localgrad {verb}", description=description, exit_on_error=False, formatter_class=Dashes
    )


def split_recipe(verb: str, words: Words) -> tuple[str, Words]:
    """The recipe's reference, and the rest. Raises LocalgradError when there is no recipe."""
    if not words or words[0].startswith("-"):
        raise LocalgradError(f"localgrad {verb} RECIPE [options]: give a recipe first. `localgrad recipes` lists them.")
    return words[0], words[1:]
