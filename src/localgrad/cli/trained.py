"""What the verbs that look at trained networks share: the Run of a folder, its images as they are evaluated, files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from localgrad.cli.options import run_from_origin
from localgrad.cli.output_file import make_folder
from localgrad.data import Batches, Images, Part
from localgrad.errors import RunError
from localgrad.heap import keep_freed_memory
from localgrad.network import LocalNetwork
from localgrad.train import Run
from localgrad.train.newest import load_trained
from localgrad.train.record import read_run, write_atomic
from localgrad.train.setup import evaluation_loader, place
from localgrad.train.standing import Standing, load_standing


def add_moved(parser: ArgumentParser) -> None:
    """The options for what lies elsewhere now."""
    parser.add_argument("--data_root", type=Path | None, help="where the data lies now, if it was moved")
    parser.add_argument("--device", type=str | None, help="auto, cpu, cuda or cuda:N")


def run_of(folder: Path, values: Mapping[str, Any]) -> Run:
    """The Run of a folder. Raises LocalgradError, RunError when it cannot be read any more."""
    moved = {name: values[name] for name in ("data_root", "device")}
    run = run_from_origin(read_run(folder)["origin"], folder, moved)
    problems = list(run.problems(resumed=True))
    if problems:
        raise RunError(problems)
    if run.torch_device().type == "cpu":
        keep_freed_memory()
    return run


def trained_network(run: Run, folder: Path) -> LocalNetwork:
    """The network of a run's newest checkpoint, on its device. Raises LocalgradError when there is none."""
    return place(load_trained(run, folder), run, run.torch_device())


def trained_standing(run: Run, folder: Path) -> tuple[LocalNetwork, Standing]:
    """The same, and of which moment of the run the weights are."""
    net, standing = load_standing(run, folder)
    return place(net, run, run.torch_device()), standing


def split_loader(
    run: Run, images: Images, part: Part, *, batch_size: int | None = None, pixels: bool = False
) -> Batches:
    """Images of a split in its own order, as they are evaluated; what the run held out is no part of train.

    ``pixels`` adds ``Batch.image``, the images in [0, 1].
    """
    return evaluation_loader(run, images, part, run.torch_device(), batch_size=batch_size, pixels=pixels)


def write_document(path: Path, document: Mapping[str, object], what: str) -> None:
    """Write JSON, whole or not at all, and say where; its folder is made."""
    make_folder(path)
    write_atomic(path, json.dumps(document, indent=1).encode(), what)
    print(f"wrote {path}")
