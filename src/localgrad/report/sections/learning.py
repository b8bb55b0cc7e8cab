"""Learning curves: of the network, and of every unit."""

from collections.abc import Callable, Mapping, Sequence

from localgrad.report.curves import Curve, Points, last_unit, per_epoch, per_unit_epoch, wide
from localgrad.report.drawing.canvas import Drawing
from localgrad.report.drawing.lines import Lines, UnitLines
from localgrad.report.groups import Group
from localgrad.report.read import Epoch
from localgrad.report.sections.section import Section, labels_of, over_seeds

MANY = 6
"""More figures of units than these are folded."""


def learning(groups: Sequence[Group]) -> Section | None:
    """Test accuracy and training loss, and what judges features of runs without labels, over the epochs."""
    names = labels_of(groups)
    shown: list[tuple[str, str, str, list[Curve]]] = [
        ("top1", "Test top-1, %", "the trained network, after every epoch", per_epoch(groups, lambda e: e.top1)),
        ("loss", "Training loss of the last unit", "mean over the epoch", per_epoch(groups, lambda e: e.loss)),
        (
            "knn",
            "kNN top-1, %",
            "nearest neighbours in the last unit’s frozen features, test against training split",
            per_epoch(groups, lambda e: last_unit(e.knn)),
        ),
        (
            "linear",
            "Linear evaluation, top-1 %",
            "a linear classifier on the last unit’s frozen features, test split",
            per_epoch(groups, lambda e: last_unit(e.linear)),
        ),
    ]
    drawings = []
    for key, title, about, curves in shown:
        # One evaluation is no curve: it stands in the table and over depth.
        if curves and (key != "linear" or any(len(curve.mean) > 1 for curve in curves)):
            log = key == "loss" and wide(curves)
            lines = Lines(curves, names, "epoch", log=log, points=key == "linear")
            drawings.append(Drawing(key, title, about + (", logarithmic" if log else ""), lines))
    if not drawings:
        return None
    several = any(len(group.runs) > 1 for group in groups)
    notes = ("Bold: mean over the seeds. Thin: single seeds.",) if several else ()
    return Section("Learning curves", tuple(drawings), (*notes, f"{over_seeds(groups)}."), tuple(groups))


def per_unit(groups: Sequence[Group]) -> Section | None:
    """The same for every unit: how early and late units learn."""
    names = labels_of(groups)
    kinds: tuple[tuple[str, str, str, Callable[[Epoch], Mapping[int, float]]], ...] = (
        ("test", "own heads, top-1 %", "test split", lambda e: e.units),
        ("loss", "training loss", "mean over the epoch", lambda e: e.losses),
        ("knn", "kNN top-1, %", "every unit’s frozen features", lambda e: e.knn),
        ("linear", "linear evaluation, top-1 %", "every unit’s frozen features", lambda e: e.linear),
    )
    drawings = []
    for group in groups:
        for key, what, where, values in kinds:
            units = per_unit_epoch(group, values)
            if len(units) > 1 and max(map(len, units.values())) > 1:
                lines = UnitLines(group.index, units, log=key == "loss" and _wide(units))
                title = f"{names[group.index]}: {what}"
                about = f"{len(units)} units, {where}" + (", logarithmic" if lines.log else "")
                drawings.append(Drawing(f"units-{key}-{group.index}", title, about, lines, (3.9, 2.6)))
    if not drawings:
        return None
    notes = ("Faint: the first unit. Full: the last. The numbers are those of the units; means over the seeds.",)
    folded = f"{len(drawings)} figures" if len(drawings) > MANY else None
    return Section("Learning curves of every unit", tuple(drawings), notes, folded=folded)


def _wide(units: Mapping[int, Points]) -> bool:
    values = [value for points in units.values() for value in points.values()]
    return min(values) > 0 and max(values) > 20 * min(values)
