"""The verbs that train, evaluate and export: train, evaluate, export."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import Signals
from typing import Any, Literal

from jsonargparse import ArgumentParser

from localgrad.cli.launching import launch, processes_of
from localgrad.cli.options import parse, plain_parser, run_from_origin, run_from_words, split_recipe
from localgrad.cli.transferring import add_options, check_options, transfer
from localgrad.errors import LocalgradError, RunError
from localgrad.heap import keep_freed_memory
from localgrad.train import DistributedSpec, Run, export_weights
from localgrad.train import evaluate as evaluate_network
from localgrad.train import train as run_train
from localgrad.train.newest import load_trained
from localgrad.train.progress import OnConsole
from localgrad.train.record import read_run
from localgrad.train.setup import load_images, make_loaders, place
from localgrad.train.standing import load_standing

Words = Sequence[str]


def train(words: Words) -> int:
    """Train a recipe, or continue a run."""
    processes, words = processes_of(words)
    resume = any(word.partition("=")[0] == "--resume" for word in words)
    if resume:
        run = _resumed(words)
    else:
        reference, rest = split_recipe("train", words)
        run = run_from_words("train", reference, rest)
    if processes is not None:
        if not isinstance(run.runtime, DistributedSpec):
            raise LocalgradError("--processes: the run's runtime is another one; leave --runtime out, or --processes.")
        return launch(processes, run, resume, words)
    if run.device in ("cpu", "auto"):
        keep_freed_memory()
    result = run_train(run, resume=resume, reporter=OnConsole())
    return 0 if result.interrupted is None else 128 + Signals[result.interrupted].value


def _resumed(words: Words) -> Run:
    if {"-h", "--help"} & set(words):
        words = ["--help"]
    elif not words[0].startswith("-"):
        raise LocalgradError(
            f"localgrad train --resume RUN: a run continues with its own recipe and options, leave {words[0]!r} out."
        )
    parser = plain_parser("train --resume RUN", "Continue a run from its last checkpoint, bit for bit.")
    parser.add_argument("--resume", type=Path, required=True, help="the run's folder")
    _add_moved(parser)
    _add_placed(parser)
    values = parse(parser, words)
    return _run_of(values["resume"], values)


def _add_moved(parser: ArgumentParser) -> None:
    parser.add_argument("--data_root", type=Path | None, help="where the data lies now, if it was moved")
    parser.add_argument("--device", type=str | None, help="auto, cpu, cuda or cuda:N")


def _add_placed(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--runtime",
        type=Literal["sequential", "distributed"] | None,
        help="go on in one process, or in many: the results are the same",
    )
    parser.add_argument("--hosts", type=list[int] | None, help="the stage that hosts each unit, as [0,0,1,1]")
    parser.add_argument("--replicas", type=int | None, help="processes of every stage")
    parser.add_argument("--processes", type=int | None, help="start so many processes on this machine")


def _run_of(folder: Path, values: Mapping[str, Any]) -> Run:
    moved = {name: values.get(name) for name in ("data_root", "device", "runtime", "hosts", "replicas")}
    return run_from_origin(read_run(folder)["origin"], folder, moved)


def evaluate(words: Words) -> int:
    """Evaluate a run's last checkpoint on the test split, or another set's: the network and every unit's own head."""
    parser = plain_parser("evaluate", "Evaluate a run's last checkpoint on the test split, or on another data set.")
    parser.add_argument("run", type=Path, help="the run's folder")
    _add_moved(parser)
    add_options(parser)
    values = parse(parser, words)
    check_options(values)
    if values["data"] is not None:
        return transfer(values)
    run = _run_of(values["run"], values)
    problems = list(run.problems(resumed=True))
    if problems:
        raise RunError(problems)
    device = run.torch_device()
    net, standing = load_standing(run, values["run"])
    place(net, run, device)
    loaders = make_loaders(run, load_images(run), device)
    found = evaluate_network(net, loaders.test, precision=run.precision)
    print(f"test top-1 {found.top1:.2f} %  top-5 {found.top5:.2f} %  loss {found.loss:.4f}  ({found.samples} images)")
    for index, unit in enumerate(net.unit_list()):
        if index in found.units:
            print(f"  unit {index:>3} {unit.name:<12} own head top-1 {found.units[index]:.2f} %")
    for mode, value in found.ensemble.items():
        print(f"  ensemble {mode:<12} top-1 {value:.2f} %")
    for line in standing.lines("evaluation"):
        print(line)
    return 0


def export(words: Words) -> int:
    """Write a run's plain network: weights and constructor facts only."""
    parser = plain_parser("export", "Write a run's plain network as safetensors, without auxiliary networks.")
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("-o", "--output", type=Path, required=True, help="file to write")
    values = parse(parser, words)
    folder = values["run"]
    run = run_from_origin(read_run(folder)["origin"], folder, {})
    export_weights(load_trained(run, folder), values["output"])
    print(f"{values['output']}: {run.backbone.name}, {values['output'].stat().st_size} bytes")
    return 0
