"""``localgrad cka``: how alike what two trained networks make of the same images is, block by block."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal, final

from rich import box
from rich.table import Table
from rich.text import Text
from torch import Tensor

from localgrad.analysis.cka import LEAST_UNBIASED, BlockSimilarity, block_similarity
from localgrad.analysis.features import BlockFeatures, block_features
from localgrad.analysis.probe import BlockPlace, block_places
from localgrad.cli.cka_file import default_file, relative
from localgrad.cli.map_sheet import method_words
from localgrad.cli.options import parse, plain_parser
from localgrad.cli.output_file import output_problems
from localgrad.cli.tables import console
from localgrad.cli.trained import add_moved, run_of, split_loader, trained_standing, write_document
from localgrad.data.first_images import FirstImages
from localgrad.errors import LocalgradError, RunError
from localgrad.report.cka_matrix import CkaMatrix
from localgrad.report.figure_file import drawing, format_problems, write_figure
from localgrad.train import Run
from localgrad.train.record import conditions
from localgrad.train.setup import load_images
from localgrad.train.standing import Standing
from localgrad.version import VERSION

Words = Sequence[str]
Describe = Literal["mean", "flat"]
Show = Literal["exact", "unbiased"]
MINIBATCH = 256
"""Images per mini-batch, unless there are fewer."""
TOLD: Mapping[Describe, str] = {"mean": "mean over positions", "flat": "all features, flattened"}
WHY_FOUR = "since the unbiased version divides by the number of images less 3"
FLAT_BYTES = 4 * 2**30
"""Most that flattened features of both runs may take: more is refused instead of filling the memory."""


@final
@dataclass(frozen=True)
class Side:
    """One of the two runs and its features."""

    run: Run
    folder: Path
    places: tuple[BlockPlace, ...]
    features: BlockFeatures
    standing: Standing

    @property
    def borders(self) -> tuple[bool, ...]:
        """Behind which blocks a unit ends."""
        return tuple(place.border for place in self.places)

    @property
    def name(self) -> str:
        """The run in few words."""
        return f"{self.folder.resolve().name}: {method_words(self.run.method)}, {self.run.backbone.name}"


def cka(words: Words) -> int:
    """How alike the blocks of two runs are on the test images; the whole matrix as JSON, and as a figure."""
    parser = plain_parser("cka", "Linear CKA of the blocks of two runs on the test images (Kornblith et al. 2019).")
    parser.add_argument("runs", type=Path, nargs="*", help="the folders of two runs on one data set")
    parser.add_argument(
        "-o",
        "--output",
        type=Path | None,
        help="file for the matrix of all blocks with all, as JSON; by default cka-OTHER.json in the first run's "
        "folder, with the name of the folder above where that file is about another run of the same name",
    )
    parser.add_argument("--figure", type=Path | None, help="file for the matrix as a heat map: .png, .svg or .pdf")
    parser.add_argument("--show", type=Show, default="exact", help="which version the heat map shows")
    parser.add_argument(
        "--features", type=Describe, default="mean", help="mean over positions, or all features of a block"
    )
    parser.add_argument("--images", type=int | None, help="how many, the first of the test split; all by default")
    parser.add_argument(
        "--minibatch",
        type=int | None,
        help=f"images per mini-batch of the unbiased version; by default {MINIBATCH}, or all where there are fewer",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order in which images come into mini-batches")
    add_moved(parser)
    values = parse(parser, words, {"show": Show, "features": Describe})
    if len(values["runs"]) != 2:
        raise LocalgradError(
            f"localgrad cka RUN RUN [-o FILE]: expected the folders of two runs, got {len(values['runs'])}."
        )
    folders: tuple[Path, Path] = tuple(values["runs"])
    runs = [run_of(folder, values) for folder in folders]
    output, others = (values["output"], ()) if values["output"] is not None else default_file(*folders)
    problems = list(_problems(runs, folders, values)) + output_problems(output, "-o", "cka.json")
    if problems:
        raise RunError(problems)
    drawer = None if values["figure"] is None else drawing("cka_figure", "cka")
    sides = [_side(run, folder, values) for run, folder in zip(runs, folders, strict=True)]
    minibatch = values["minibatch"] or min(MINIBATCH, len(sides[0].features.labels_N))
    found = block_similarity(*(side.features for side in sides), minibatch=minibatch, seed=values["seed"])
    _print(found, sides, values)
    if not found.shared:
        print(f"No block of {folders[0]} has the name of a block of {folders[1]}: see all with all in {output}.")
    for path in others:
        print(f"{path} is not about {folders[1]}: it is kept, and the file is {output}.")
    write_document(output, _document(found, sides, values), "the similarities")
    if drawer is not None:
        write_figure(drawer.draw(_matrix(found, sides, values)), values["figure"], "cka")
        print(f"wrote {values['figure']}")
    return 0


def _problems(runs: Sequence[Run], folders: Sequence[Path], values: Mapping[str, Any]) -> list[str]:
    found = []
    if runs[0].data.name != runs[1].data.name:
        found.append(
            f"localgrad cka: expected runs on the same images, got {folders[0]} on {runs[0].data.name} and "
            f"{folders[1]} on {runs[1].data.name}."
        )
    if values["figure"] is not None:
        found += format_problems(values["figure"], "cka") or output_problems(values["figure"], "--figure", "cka.svg")
    for name in ("images", "minibatch"):
        if values[name] is not None and values[name] < LEAST_UNBIASED:
            found.append(f"--{name}: expected {LEAST_UNBIASED} or more, {WHY_FOUR}, got {values[name]}.")
    if None not in (values["images"], values["minibatch"]) and LEAST_UNBIASED <= values["images"] < values["minibatch"]:
        found.append(
            f"--minibatch: expected at most the {values['images']} images of --images, got {values['minibatch']}."
        )
    return found


def _side(run: Run, folder: Path, values: Mapping[str, Any]) -> Side:
    images, (net, standing) = load_images(run), trained_standing(run, folder)
    loader = split_loader(run, images, "test")
    count = min(len(loader.split), values["images"] or len(loader.split))
    _check_count(count, folder, values)
    flat = values["features"] == "flat"
    if flat:
        # Both runs' features in float32; what CKA makes of them, in float64, is at most as wide as there are samples.
        widths = [prod(shape) for shape in net.backbone.shapes(images.image)]
        taken = 2 * count * sum(4 * width + 8 * min(width, count) for width in widths)
        if taken > FLAT_BYTES:
            raise LocalgradError(
                f"localgrad cka: all features of {count} images behind every block of {folder} take about "
                f"{taken / 2**30:.1f} GiB for two runs, more than {FLAT_BYTES / 2**30:.0f} GiB. Take fewer with "
                f"--images, such as {max(4, int(count * FLAT_BYTES / taken / 2))}, or --features mean."
            )
    first = FirstImages(loader, count)
    features = block_features(net, first, describe=_flat if flat else None, precision=run.precision)
    return Side(run, folder, tuple(block_places(net)), features, standing)


def _check_count(count: int, folder: Path, values: Mapping[str, Any]) -> None:
    """Raise LocalgradError where the images are too few, before any features are made."""
    if count < LEAST_UNBIASED:
        raise LocalgradError(
            f"localgrad cka: expected {LEAST_UNBIASED} or more test images, {WHY_FOUR}, the data of "
            f"{folder} has {count}."
        )
    if values["minibatch"] is not None and values["minibatch"] > count:
        raise LocalgradError(
            f"--minibatch: expected at most the {count} test images that there are, got {values['minibatch']}. "
            f"Leave it out to take {min(count, MINIBATCH)}."
        )


def _flat(h: Tensor) -> Tensor:
    return h.flatten(1)


def _document(found: BlockSimilarity, sides: Sequence[Side], values: Mapping[str, Any]) -> dict[str, object]:
    return {
        "kind": "localgrad cka 1",
        "runs": [str(side.folder) for side in sides],
        "other": relative(*(side.folder for side in sides)),
        "names": [side.folder.resolve().name for side in sides],
        "methods": [method_words(side.run.method) for side in sides],
        "backbones": [side.run.backbone.name for side in sides],
        "checkpoints": [side.standing.row() for side in sides],
        "data": sides[0].run.data.name,
        "split": "test",
        "features": TOLD[values["features"]],
        "samples": found.samples,
        "minibatch": found.minibatch,
        "seed": values["seed"],
        "blocks": [found.first, found.second],
        "units": [[place.units for place in side.places] for side in sides],
        "borders": [side.borders for side in sides],
        "matched": found.shared,
        "constant": found.constant,
        "exact": _rows(found.exact_PQ),
        "unbiased": _rows(found.minibatch_PQ),
        "conditions": conditions(sides[0].run.torch_device()),
    }


def _matrix(found: BlockSimilarity, sides: Sequence[Side], values: Mapping[str, Any]) -> CkaMatrix:
    exact = values["show"] == "exact"
    chosen = found.exact_PQ if exact else found.minibatch_PQ
    how = "on all at once" if exact else f"HSIC_1 over mini-batches of at least {found.minibatch}"
    data = sides[0].run.data.name
    notes = [
        f"Rows, from the bottom up: {sides[0].name}. Columns: {sides[1].name}.",
        f"{found.samples} test images of {data}, {how}. Features: {TOLD[values['features']]}, evaluation mode, "
        f"{sides[0].run.precision.value}. Lines: borders between units. Numbers: blocks of the same name. Seeds "
        f"{sides[0].run.seed} and {sides[1].run.seed}; localgrad {VERSION}.",
    ]
    notes += [
        f"Constant, the same for all images and shown as 0: {', '.join(names)} of {side.name.partition(': ')[0]}."
        for side, names in zip(sides, found.constant, strict=True)
        if names
    ]
    lowest = float(chosen.min())
    if lowest < 0:
        notes.append(f"The unbiased version can be negative: the lowest here is {lowest:.3f}, shown as 0.")
    return CkaMatrix(
        title=f"Linear CKA, {values['show']}",
        row_run=sides[0].folder.resolve().name,
        column_run=sides[1].folder.resolve().name,
        rows=found.first,
        columns=found.second,
        row_borders=sides[0].borders,
        column_borders=sides[1].borders,
        values_PQ=chosen.numpy(),
        notes=tuple(notes),
    )


def _print(found: BlockSimilarity, sides: Sequence[Side], values: Mapping[str, Any]) -> None:
    folders = [side.folder for side in sides]
    data = sides[0].run.data.name
    title = f"linear CKA of {folders[0]} and {folders[1]}, {found.samples} test images of {data}"
    out = console()
    out.print(title, markup=False, highlight=False)
    for side in sides:
        for line in side.standing.lines("comparison"):
            out.print(f"{side.folder}: {line}", markup=False, highlight=False)
    out.print(_table(found, sides))
    for folder, names in zip(folders, found.constant, strict=True):
        if names:
            out.print(
                f"constant in {folder}, the same for all images: {', '.join(names)}", markup=False, highlight=False
            )
    if len(found.comparable) < len(found.shared):
        left = f"the mean leaves them out, and is over {len(found.comparable)} of {len(found.shared)} blocks."
        out.print(
            "Constant features are like nothing, not even like themselves (0 in the file): "
            + (left if found.comparable else "there is no mean."),
            markup=False,
            highlight=False,
        )
    for folder, own, other in ((folders[0], found.first, found.second), (folders[1], found.second, found.first)):
        lonely = [name for name in own if name not in other]
        if lonely:
            out.print(f"only in {folder}, without a row: {', '.join(lonely)}", markup=False, highlight=False)
    capped = ""
    if values["minibatch"] is None and found.minibatch < MINIBATCH:
        capped = f" (all that there are, fewer than the usual {MINIBATCH})"
    out.print(
        f"Features of every block: {TOLD[values['features']]}, BatchNorm frozen. exact: on all images at once; "
        f"unbiased: HSIC_1 averaged over mini-batches of at least {found.minibatch} images{capped} "
        "(Nguyen et al. 2021). border: in which run a unit ends behind the block.",
        markup=False,
        highlight=False,
    )


def _table(found: BlockSimilarity, sides: Sequence[Side]) -> Table:
    """A row for every block that both runs have, and the mean over those that can be compared."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("block", no_wrap=True)
    for heading in ("exact", "unbiased"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("border", no_wrap=True)
    ends = [{place.block for place in side.places if place.border} for side in sides]
    for name in found.shared:
        border = {0: "", 1: "first", 2: "second", 3: "both"}[(name in ends[0]) + 2 * (name in ends[1])]
        own = [f"{value:.4f}" for value in found.of(name)] if name in found.comparable else ["constant"] * 2
        table.add_row(Text(name), *own, border)
    pairs = [found.of(name) for name in found.comparable]
    if pairs:
        table.add_row("mean", *(f"{sum(column) / len(pairs):.4f}" for column in zip(*pairs, strict=True)))
    return table


def _rows(matrix_PQ: Tensor) -> list[list[float]]:
    return [[float(value) for value in row] for row in matrix_PQ]
