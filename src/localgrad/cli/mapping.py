"""``localgrad maps``: feature maps behind every unit for a few test images, runs side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from localgrad.analysis.maps import Kind, Of, Target, feature_maps
from localgrad.cli.map_sheet import Part, make_sheet
from localgrad.cli.options import parse, plain_parser
from localgrad.cli.trained import add_moved, run_of, split_loader, trained_network
from localgrad.errors import LocalgradError, RunError, located
from localgrad.report.figure_file import drawing, format_problems, write_figure
from localgrad.spec import Batch
from localgrad.train import Run
from localgrad.train.setup import load_images

Words = Sequence[str]
FILE = "maps.png"
MOST_IMAGES = 64


def maps(words: Words) -> int:
    """Draw what the features behind every unit of one or more runs respond to."""
    parser = plain_parser(
        "maps", "Feature maps behind every unit for a few test images, the runs one below the other, as a figure."
    )
    parser.add_argument("runs", type=Path, nargs="*", help="the folders of one or more runs on one data set")
    parser.add_argument(
        "-o", "--output", type=Path | None, help=f"file to write: .png, .svg or .pdf; of a single run RUN/{FILE}"
    )
    parser.add_argument("--images", type=int, default=4, help="how many, the first of the test split")
    parser.add_argument("--index", type=str | None, help="instead: places in the test split, from 0, such as 3,17,5")
    parser.add_argument(
        "--kind",
        type=Kind,
        default="channel-mean",
        help="mean over channels, or channels weighted by what they do for a logit of the unit's own head",
    )
    parser.add_argument("--of", type=Of, default="unit", help="a column per unit, or per block")
    parser.add_argument(
        "--target", type=Target, default="label", help="grad-cam: the logit of the label, or of the head's own choice"
    )
    parser.add_argument(
        "--skip_tokens", type=int, default=0, help="class tokens and registers in front of a grid of tokens"
    )
    add_moved(parser)
    values = parse(parser, words, {"kind": Kind, "of": Of, "target": Target})
    folders: list[Path] = values["runs"]
    out = _output(folders, values["output"])
    runs = [run_of(folder, values) for folder in folders]
    indices = _indices(values["index"], values["images"])
    problems = list(_problems(runs, folders, out, values))
    if problems:
        raise RunError(problems)
    drawer = drawing("map_figure", "maps")
    batches, names = _batches(runs, folders, indices)
    parts = []
    for run, folder, batch in zip(runs, folders, batches, strict=True):
        with located(str(folder)):
            found = feature_maps(
                trained_network(run, folder),
                batch.x,
                batch.y,
                kind=values["kind"],
                of=values["of"],
                target=values["target"],
                skip_tokens=values["skip_tokens"],
                precision=run.precision,
            )
        parts.append(Part(run, folder, found))
    sheet = make_sheet(parts, batches[0], indices, names, kind=values["kind"], of=values["of"], target=values["target"])
    write_figure(drawer.draw(sheet), out, "maps")
    for part in parts:
        for one in part.maps:
            if one.missing:
                print(f"{part.folder}: no map behind {one.name}: {one.missing}")
    print(f"wrote {out}")
    return 0


def _output(folders: Sequence[Path], given: Path | None) -> Path:
    if not folders:
        raise LocalgradError("localgrad maps RUN [RUN...]: expected the folders of one or more runs, got none.")
    if given is None and len(folders) > 1:
        raise LocalgradError(f"localgrad maps: with {len(folders)} runs say where the figure goes: -o FILE.png.")
    return folders[0] / FILE if given is None else given


def _indices(words: str | None, count: int) -> list[int]:
    """Places of the images in the test split. Raises LocalgradError for anything but different whole numbers."""
    if words is None:
        if not 1 <= count <= MOST_IMAGES:
            raise LocalgradError(f"--images: expected 1 to {MOST_IMAGES}, got {count}.")
        return list(range(count))
    places = [word.strip() for word in words.strip("[]").split(",")]
    if not all(place.isdecimal() for place in places) or len(set(map(int, places))) < len(places):
        raise LocalgradError(f"--index: expected different whole numbers from 0, such as 3,17,5, got {words!r}.")
    if len(places) > MOST_IMAGES:
        raise LocalgradError(f"--index: expected at most {MOST_IMAGES} images, got {len(places)}.")
    return list(map(int, places))


def _problems(runs: Sequence[Run], folders: Sequence[Path], out: Path, values: Mapping[str, Any]) -> list[str]:
    found = format_problems(out, "maps")
    for run, folder in zip(runs[1:], folders[1:], strict=True):
        if run.data.name != runs[0].data.name:
            found.append(
                f"maps: expected runs on the same images, got {folders[0]} on {runs[0].data.name} and {folder} on "
                f"{run.data.name}."
            )
    if values["kind"] == "grad-cam":
        found += [
            f"maps: Grad-CAM asks for a class, and {folder} ({type(run.method).__name__}) learnt without labels: no "
            "unit has a classifier. Take --kind channel-mean."
            for run, folder in zip(runs, folders, strict=True)
            if "y" not in run.method.needs
        ]
    elif values["target"] != "label":
        found.append("maps: --target is about Grad-CAM: give --kind grad-cam with it.")
    if values["skip_tokens"] < 0:
        found.append(f"maps: --skip-tokens must be 0 or more, got {values['skip_tokens']}.")
    return found


def _batches(
    runs: Sequence[Run], folders: Sequence[Path], indices: Sequence[int]
) -> tuple[list[Batch], tuple[str, ...]]:
    """The chosen test images as each run reads them, with their pixels; and the names of the classes.

    Raises LocalgradError for places that are not there, and when pixels or labels are not the same for every run.
    """
    made: list[Batch] = []
    names: tuple[str, ...] = ()
    for run, folder in zip(runs, folders, strict=True):
        images = load_images(run)
        names = names or tuple(images.classes)
        loader = split_loader(run, images, "test", batch_size=1, pixels=True)
        beyond = [index for index in indices if index >= len(loader)]
        if beyond:
            raise LocalgradError(
                f"maps: the test split of {images.name} has {len(loader)} images, from 0 to {len(loader) - 1}: there "
                f"is none at {', '.join(map(str, beyond))}."
            )
        made.append(_together([loader.batch(0, index) for index in indices]))
        if not (_same(made[0].image, made[-1].image) and _same(made[0].y, made[-1].y)):
            raise LocalgradError(
                f"maps: {folder} reads other test images of {images.name} than {folders[0]} (their size, pixels or "
                "labels differ): its maps cannot stand beside those."
            )
    return made, names


def _together(batches: Sequence[Batch]) -> Batch:
    def joined(name: str) -> Tensor:
        return torch.cat([getattr(batch, name) for batch in batches])

    return Batch(x=joined("x"), y=joined("y"), image=joined("image"))


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and one.shape == other.shape and torch.equal(one.cpu(), other.cpu())
