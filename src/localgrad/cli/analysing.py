"""The verbs that look at what trained networks make of images, with frozen weights: cka, probe."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from rich import box
from rich.table import Table
from rich.text import Text
from torch import Tensor

from localgrad.analysis.cka import BlockSimilarity, block_similarity
from localgrad.analysis.features import BlockFeatures, block_features
from localgrad.analysis.knn import NEIGHBOURS, TEMPERATURE, knn_top1
from localgrad.analysis.probe import TOLERANCE, BlockPlace, block_places, fit_probes
from localgrad.cli.options import parse, plain_parser, run_from_origin
from localgrad.cli.tables import console
from localgrad.data import Batches, Images, Part
from localgrad.errors import LocalgradError, RunError
from localgrad.heap import keep_freed_memory
from localgrad.network import LocalNetwork
from localgrad.train import Run
from localgrad.train.newest import load_trained
from localgrad.train.record import conditions, read_run, write_atomic
from localgrad.train.setup import EVAL_BATCH, EVAL_PIXELS, load_images, place

Words = Sequence[str]


def cka(words: Words) -> int:
    """How alike the blocks of two runs are on the test images; the whole matrix as JSON with -o."""
    parser = plain_parser("cka", "Linear CKA of the blocks of two runs on the test images (Kornblith et al. 2019).")
    parser.add_argument("runs", type=Path, nargs="*", help="the folders of two runs on one data set")
    parser.add_argument("-o", "--output", type=Path | None, help="file for the matrix of all blocks with all, as JSON")
    parser.add_argument("--minibatch", type=int, default=256, help="images per mini-batch of the unbiased version")
    parser.add_argument("--seed", type=int, default=0, help="of the order in which images come into mini-batches")
    _add_moved(parser)
    values = parse(parser, words)
    if len(values["runs"]) != 2:
        raise LocalgradError(
            f"localgrad cka RUN RUN [-o FILE]: expected the folders of two runs, got {len(values['runs'])}."
        )
    folders: tuple[Path, Path] = tuple(values["runs"])
    runs = [_run(folder, values) for folder in folders]
    if runs[0].data.name != runs[1].data.name:
        raise LocalgradError(
            f"localgrad cka: expected runs on the same images, got {folders[0]} on {runs[0].data.name} and "
            f"{folders[1]} on {runs[1].data.name}."
        )
    features = [_test_features(run, folder) for run, folder in zip(runs, folders, strict=True)]
    found = block_similarity(*features, minibatch=values["minibatch"], seed=values["seed"])
    if not found.shared and values["output"] is None:
        raise LocalgradError(
            f"localgrad cka: no block of {folders[0]} ({_few(found.first)}) has the name of a block of {folders[1]} "
            f"({_few(found.second)}). With -o FILE all blocks are compared with all."
        )
    _print_similarity(found, folders, runs)
    if values["output"] is not None:
        document = {
            "kind": "localgrad cka 1",
            "runs": [str(folder) for folder in folders],
            "data": runs[0].data.name,
            "split": "test",
            "features": "mean over positions",
            "samples": found.samples,
            "minibatch": found.minibatch,
            "seed": values["seed"],
            "blocks": [found.first, found.second],
            "matched": found.shared,
            "exact": _rows(found.exact_PQ),
            "unbiased": _rows(found.minibatch_PQ),
            "conditions": conditions(runs[0].torch_device()),
        }
        _write(values["output"], document, "the similarities")
    return 0


def probe(words: Words) -> int:
    """How well every block's frozen features tell classes apart: linear probes and nearest neighbours."""
    parser = plain_parser(
        "probe", "Linear probes and weighted nearest neighbours on the frozen features of every block."
    )
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("-o", "--output", type=Path | None, help="file for the figures, as JSON")
    parser.add_argument("--neighbours", type=int, default=NEIGHBOURS, help="nearest neighbours that vote")
    parser.add_argument("--temperature", type=float, default=TEMPERATURE, help="of the votes; lower: nearer ones count")
    parser.add_argument("--c", type=float, default=1.0, help="inverse weight of the probes' L2 penalty")
    _add_moved(parser)
    values = parse(parser, words)
    folder = values["run"]
    run = _run(folder, values)
    images = load_images(run)
    classes = len(images.classes)
    net = place(load_trained(run, folder), run, run.torch_device())
    train = block_features(net, _loader(run, images, "train"), precision=run.precision)
    test = block_features(net, _loader(run, images, "test"), precision=run.precision)
    # Before the fit, which takes longest: it refuses too many neighbours.
    near = knn_top1(train, test, classes=classes, neighbours=values["neighbours"], temperature=values["temperature"])
    probes = fit_probes(train, classes=classes, c=values["c"])
    places = block_places(net)
    figures = {
        where.block: {"train": learnt, "test": tested, "knn": near[where.block]}
        for where, learnt, tested in zip(places, probes.top1(train).values(), probes.top1(test).values(), strict=True)
    }
    out = console()
    out.print(f"{folder}: {run.backbone.name} on {run.data.name}", markup=False, highlight=False)
    out.print(_probe_table(places, figures))
    out.print(
        f"Top-1 in percent, {len(test.labels_N)} test images; probes and neighbours from {len(train.labels_N)} "
        "training images, not augmented. Features: each block's mean over positions, BatchNorm frozen. probe: "
        f"multinomial logistic regression, L2 1/(2 c N) with c={values['c']:g}; kNN: cosine, k={values['neighbours']}, "
        f"temperature {values['temperature']:g}. Behind a block with ---- a unit ends.",
        markup=False,
        highlight=False,
    )
    if not probes.converged:
        print(f"The probes have not converged: largest gradient {probes.gradient:.1e}, wanted {TOLERANCE:.0e}.")
    if values["output"] is not None:
        document = {
            "kind": "localgrad probe 1",
            "run": str(folder),
            "data": run.data.name,
            "samples": {"train": len(train.labels_N), "test": len(test.labels_N)},
            "c": values["c"],
            "neighbours": values["neighbours"],
            "temperature": values["temperature"],
            "converged": probes.converged,
            "blocks": [
                {"block": one.block, "units": one.units, "border": one.border, **figures[one.block]} for one in places
            ],
            "conditions": conditions(run.torch_device()),
        }
        _write(values["output"], document, "the figures")
    return 0


def _add_moved(parser: ArgumentParser) -> None:
    parser.add_argument("--data_root", type=Path | None, help="where the data lies now, if it was moved")
    parser.add_argument("--device", type=str | None, help="auto, cpu, cuda or cuda:N")


def _run(folder: Path, values: Mapping[str, Any]) -> Run:
    """The Run of a folder. Raises LocalgradError, RunError when it cannot be read any more."""
    moved = {name: values[name] for name in ("data_root", "device")}
    run = run_from_origin(read_run(folder)["origin"], folder, moved)
    problems = list(run.problems(resumed=True))
    if problems:
        raise RunError(problems)
    if run.torch_device().type == "cpu":
        keep_freed_memory()
    return run


def _test_features(run: Run, folder: Path) -> BlockFeatures:
    net: LocalNetwork = place(load_trained(run, folder), run, run.torch_device())
    return block_features(net, _loader(run, load_images(run), "test"), precision=run.precision)


def _loader(run: Run, images: Images, part: Part) -> Batches:
    """Images of a split in its own order, as they are evaluated; what the run held out is no part of train."""
    if run.val_fraction > 0:
        images = images.hold_out(run.val_fraction, run.seed)
    found = images.loader(
        part,
        training=False,
        batch_size=max(1, min(EVAL_BATCH, EVAL_PIXELS // (images.image[1] * images.image[2]))),
        seed=run.seed,
        device=run.torch_device(),
        needs=frozenset(),
        views=None,
        channels_last=run.channels_last,
        drop_last=False,
    )
    assert found is not None  # every set has a train and a test split
    return found


def _print_similarity(found: BlockSimilarity, folders: tuple[Path, Path], runs: Sequence[Run]) -> None:
    title = f"linear CKA of {folders[0]} and {folders[1]}, {found.samples} test images of {runs[0].data.name}"
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("block", no_wrap=True)
    for heading in ("exact", "unbiased"):
        table.add_column(heading, justify="right", no_wrap=True)
    pairs = [found.of(name) for name in found.shared]
    for name, pair in zip(found.shared, pairs, strict=True):
        table.add_row(Text(name), *(f"{value:.4f}" for value in pair))
    if pairs:
        table.add_row("mean", *(f"{sum(column) / len(pairs):.4f}" for column in zip(*pairs, strict=True)))
    out = console()
    out.print(title, markup=False, highlight=False)
    out.print(table)
    for folder, own, other in ((folders[0], found.first, found.second), (folders[1], found.second, found.first)):
        lonely = [name for name in own if name not in other]
        if lonely:
            out.print(f"only in {folder}, without a row: {', '.join(lonely)}", markup=False, highlight=False)
    out.print(
        "Features: each block's mean over positions, BatchNorm frozen. exact: on all images at once; unbiased: HSIC_1 "
        f"averaged over mini-batches of at least {found.minibatch} images (Nguyen et al. 2021).",
        markup=False,
        highlight=False,
    )


def _probe_table(places: Sequence[BlockPlace], figures: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("block", "unit", "border"):
        table.add_column(heading, no_wrap=heading != "unit")
    for heading in ("probe train", "probe test", "kNN test"):
        table.add_column(heading, justify="right", no_wrap=True)
    for where in places:
        own = figures[where.block]
        table.add_row(
            Text(where.block),
            Text(" ".join(where.units)),
            "----" if where.border else "",
            *(f"{own[key]:.2f}" for key in ("train", "test", "knn")),
        )
    return table


def _few(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _rows(matrix_PQ: Tensor) -> list[list[float]]:
    return [[float(value) for value in row] for row in matrix_PQ]


def _write(path: Path, document: Mapping[str, object], what: str) -> None:
    write_atomic(path, json.dumps(document, indent=1).encode(), what)
    print(f"wrote {path}")
