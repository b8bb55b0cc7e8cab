"""From feature maps of runs to the figure's data: titles, columns, cells, and the words around them."""

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, final

from torch import Tensor

from localgrad.analysis.maps import FeatureMap, Kind, Of, Target, normalised
from localgrad.report.map_sheet import Cell, Column, Group, Sheet
from localgrad.report.read import RunRecord, read_run
from localgrad.spec import Batch
from localgrad.train import Run
from localgrad.version import VERSION

LABEL = 14
"""Letters of a class name beside an image."""


@final
@dataclass(frozen=True)
class Part:
    """One run and its maps."""

    run: Run
    folder: Path
    maps: tuple[FeatureMap, ...]


def make_sheet(
    parts: Sequence[Part],
    batch: Batch,
    indices: Sequence[int],
    classes: Sequence[str],
    *,
    kind: Kind,
    of: Of,
    target: Target,
) -> Sheet:
    """The figure's data. ``batch`` holds the images, at ``indices`` of the test split, and their pixels."""
    assert batch.image is not None and batch.y is not None
    labels = [f"#{index}\n{short(classes[label])}" for index, label in zip(indices, batch.y.tolist(), strict=True)]
    cam = kind == "grad-cam"
    return Sheet(
        images=tuple(map(_pixels, batch.image.cpu())),
        labels=tuple(labels),
        groups=tuple(_group(part, kind, of, classes, batch.y.tolist()) for part in parts),
        low="0: nothing for the class" if cam else "lowest",
        high="most for the class" if cam else "highest",
        notes=tuple(_notes([part.run for part in parts], kind, of, target)),
    )


def method_words(method: object) -> str:
    """A method by its class, and the options that are not at their defaults: ``AugLocal(depth=3)``."""
    name = type(method).__name__
    if not is_dataclass(method):
        return name
    told = []
    for field in fields(method):
        value = getattr(method, field.name)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if field.init and value != default:
            text = method_words(value) if is_dataclass(value) else f"{value}"
            told.append(f"{field.name}={text if len(text) <= 24 else '...'}")
    return f"{name}({', '.join(told)})" if told else name


def short(text: str, most: int = LABEL) -> str:
    """A text of at most ``most`` letters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _group(part: Part, kind: Kind, of: Of, classes: Sequence[str], labels: Sequence[int]) -> Group:
    record = read_run(part.folder)
    heads = {} if record.last is None else record.last.units
    columns = []
    for one, following in zip(part.maps, [*part.maps[1:], None], strict=True):
        about = ["" if one.map_BHW is None else "x".join(map(str, one.map_BHW.shape[1:]))]
        if of == "unit" and heads:
            about.append(f"{heads[one.unit]:.1f} %" if one.unit in heads else "")
        border = of == "block" and following is not None and following.unit != one.unit
        columns.append(Column(one.name, tuple(about), tuple(_cells(one, kind, classes, labels)), one.missing, border))
    units = len({one.unit for one in part.maps})
    return Group(
        f"{method_words(part.run.method)}, {units} unit{'s' * (units > 1)}: {_accuracy(part.run, record)}",
        f"{part.folder.resolve().name}: {part.run.backbone.name} on {part.run.data.name}",
        tuple(columns),
    )


def _cells(one: FeatureMap, kind: Kind, classes: Sequence[str], labels: Sequence[int]) -> Iterator[Cell]:
    if one.map_BHW is None:
        return
    shown_BHW = normalised(one.map_BHW, from_zero=kind == "grad-cam")
    for number, map_HW in enumerate(shown_BHW):
        note = ""
        if one.predicted_B is not None:
            chosen, label = int(one.predicted_B[number]), labels[number]
            note = short(classes[chosen], 9) if chosen == label else f"✗ {short(classes[chosen], 7)}"
        empty = kind == "grad-cam" and not bool(map_HW.any())
        yield Cell(map_HW.numpy(), note, "none" if empty else "")


def _accuracy(run: Run, record: RunRecord) -> str:
    if "y" not in run.method.needs:
        return "learnt without labels"
    last = record.last
    if last is None or last.top1 is None:
        return "accuracy not recorded"
    return f"test top-1 {last.top1:.2f} % (epoch {last.number})"


def _pixels(image_CHW: Tensor) -> Any:
    """An image as matplotlib shows it: grey HW, or HW3; of other numbers of channels their mean."""
    if len(image_CHW) == 3:
        return image_CHW.permute(1, 2, 0).numpy()
    return image_CHW.mean(0).numpy()


def _notes(runs: Sequence[Run], kind: Kind, of: Of, target: Target) -> Iterator[str]:
    own = "the unit's own head, the network's on the last unit"
    if kind == "channel-mean":
        yield f"Mean over channels of the features behind every {of}, every map scaled by itself."
    else:
        chosen = "the image's label" if target == "label" else "the class that it chose"
        behind = "" if of == "unit" else ", through the blocks of its unit that follow"
        yield (
            f"Grad-CAM (Selvaraju et al. 2017) of the features behind every {of} for the logit of {chosen} in {own}"
            f"{behind}; every map scaled by itself from 0. Below a map: the class that the head chose, ✗ where it is "
            "wrong; none: nothing speaks for the class anywhere."
        )
    if of == "unit":
        yield f"Below a unit's name: size of the map; test top-1 of {own}, at the epoch in the title."
    else:
        yield "Below a block's name: size of the map. Lines: borders between units."
    precisions = ", ".join(dict.fromkeys(run.precision.value for run in runs))
    seeds = [str(run.seed) for run in runs]
    yield (
        f"#: place in the test split of {runs[0].data.name}, below it the label. Evaluation mode, {precisions}, "
        f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}; localgrad {VERSION}."
    )
