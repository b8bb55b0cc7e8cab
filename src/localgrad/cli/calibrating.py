"""The verb that finds how similar a trained network finds pairs of views: calibrate."""

import json
from collections.abc import Sequence
from pathlib import Path

from localgrad.analysis.pair_quantiles import pair_quantiles
from localgrad.cli.options import parse, plain_parser, run_from_origin
from localgrad.errors import LocalgradError, RunError
from localgrad.facts import plain
from localgrad.heap import keep_freed_memory
from localgrad.methods import Calibration
from localgrad.methods.calibration import POINTS
from localgrad.train import Run
from localgrad.train.newest import load_trained
from localgrad.train.record import read_run, write_atomic
from localgrad.train.setup import load_images, make_loaders, place

Words = Sequence[str]


def calibrate(words: Words) -> int:
    """Write the quantiles of the similarities of a SimCLR run's pairs, that thresholds of DGSSL-LLM are read from."""
    parser = plain_parser("calibrate", "Quantiles of the similarities of pairs of views under a trained SimCLR.")
    parser.add_argument("run", type=Path, help="the folder of a SimCLR run: DGSSL of one module")
    parser.add_argument("-o", "--output", type=Path, required=True, help="file to write")
    parser.add_argument("--epochs", type=int, default=1, help="passes over the training images, each with other views")
    parser.add_argument("--data_root", type=Path | None, help="where the data lies now, if it was moved")
    parser.add_argument("--device", type=str | None, help="auto, cpu, cuda or cuda:N")
    values = parse(parser, words)
    folder = values["run"]
    moved = {name: values[name] for name in ("data_root", "device")}
    run = run_from_origin(read_run(folder)["origin"], folder, moved)
    check(run, folder, values["epochs"])
    device = run.torch_device()
    if device.type == "cpu":
        keep_freed_memory()
    net = place(load_trained(run, folder), run, device)
    train = make_loaders(run, load_images(run), device).train
    found = pair_quantiles(net, train, epochs=values["epochs"], points=POINTS)
    calibration = Calibration(
        positives=found.positives,
        negatives=found.negatives,
        network=json.dumps(plain(run.backbone)),
        views=json.dumps(plain(run.views)),
        data=json.dumps(run.data.name),
        run=str(folder),
        pairs=found.pairs,
    )
    write_atomic(values["output"], calibration.to_json().encode(), "the calibration")
    middle = POINTS // 2
    print(
        f"{values['output']}: {found.pairs[0]} positive pairs, median cosine {found.positives[middle]:.3f}; "
        f"{found.pairs[1]} negative pairs, median {found.negatives[middle]:.3f}"
    )
    for ratio in (0.95, 0.85):
        print(f"  keeping {ratio:.0%}: alpha {calibration.alpha(ratio):.3f}, beta {calibration.beta(ratio):.3f}")
    return 0


def check(run: Run, folder: Path, epochs: int) -> None:
    """Raise LocalgradError for a run that is no SimCLR, RunError for one that cannot be read any more."""
    problems = list(run.problems(resumed=True))
    if problems:
        raise RunError(problems)
    if epochs < 1:
        raise LocalgradError(f"localgrad calibrate: --epochs must be at least 1, got {epochs}.")
    name = type(run.method).__name__
    if "views" not in run.method.needs:
        raise LocalgradError(
            f"localgrad calibrate {folder}: {name} compares no views of images. Give a run of SimCLR, such as "
            "digits.simclr or cifar10.simclr_resnet50."
        )
    units = len(run.network().units)
    if units > 1:
        raise LocalgradError(
            f"localgrad calibrate {folder}: the run has {units} modules, and difficulty is what a network trained end "
            "to end says it is. Give a run of one module: SimCLR."
        )
