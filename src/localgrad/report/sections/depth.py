"""Accuracy over depth: what units' own heads, linear probes and nearest neighbours make of every block."""

from collections.abc import Callable, Sequence

from localgrad.report.curves import Points, by_blocks, over_blocks, over_depth
from localgrad.report.drawing.canvas import Drawing
from localgrad.report.drawing.lines import Lines
from localgrad.report.groups import Group
from localgrad.report.read import Epoch
from localgrad.report.sections.section import Section, labels_of, over_seeds
from localgrad.report.standing import standing_note


def depth(groups: Sequence[Group]) -> Section | None:
    """Heads of units over the blocks below them; probes of every block with the borders of units marked."""
    drawings = [*_units(groups), *_probes(groups)]
    if not drawings:
        return None
    probed = [group for group in groups if group.probed]
    judged = {curve.group for *_, of in WAYS for curve in over_depth(groups, of)}
    shown = [group for group in groups if group.index in judged or group.probed]
    notes = [f"Units: {over_seeds(shown)}."]
    if probed:
        _, probe = probed[0].probed[0]
        counts = ", ".join(
            f"{group.name}: seed {', '.join(str(run.seed) for run, _ in group.probed)}" for group in probed
        )
        notes.append(
            f"Probes: {probe.data}, fitted on {probe.train_images} training images, top-1 of {probe.test_images} test "
            f"images; frozen features, mean over positions. {counts}."
        )
        notes += [
            note
            for group in probed
            for run, own in group.probed
            if (note := standing_note(f"{run.folder.name}: probe", own.checkpoint, run.last and run.last.number))
        ]
    return Section("Accuracy over depth", tuple(drawings), tuple(notes), tuple(shown))


WAYS: tuple[tuple[str, str, str, Callable[[Epoch], Points]], ...] = (
    ("depth", "Own heads, top-1 %", "every unit’s own head, test top-1, last epoch", lambda epoch: epoch.units),
    ("depth-linear", "Linear evaluation of every unit, top-1 %", "frozen features, last epoch", lambda e: e.linear),
    ("depth-knn", "kNN on every unit, top-1 %", "frozen features, last epoch", lambda epoch: epoch.knn),
)
"""Key, title, caption and figures of what the rows of epochs say about units."""


def _units(groups: Sequence[Group]) -> list[Drawing]:
    x = "blocks up to the unit’s end" if by_blocks(groups) else "unit"
    names = labels_of(groups)
    return [
        Drawing(key, title, about, Lines(curves, names, x, points=True))
        for key, title, about, of in WAYS
        if (curves := over_depth(groups, of))
    ]


def _probes(groups: Sequence[Group]) -> list[Drawing]:
    """One figure for every list of block names: blocks of different networks have no common axis."""
    layouts: dict[tuple[str, ...], list[Group]] = {}
    for group in groups:
        if group.probed:
            layouts.setdefault(tuple(one.block for one in group.probed[0][1].blocks), []).append(group)
    drawings = []
    for place, (blocks, own) in enumerate(layouts.items()):
        names = labels_of(own)
        borders = {
            group.index: frozenset(
                at for at, one in enumerate(group.probed[0][1].blocks, 1) if one.border and at < len(blocks)
            )
            for group in own
        }
        more = f" ({', '.join(names.values())})" if len(layouts) > 1 else ""
        for key, title, value in (
            ("probe", "Linear probe of every block, top-1 %", lambda one: one.test),
            ("probe-knn", "kNN on every block, top-1 %", lambda one: one.knn),
        ):
            curves = over_blocks(own, blocks, value)
            if curves:
                lines = Lines(curves, names, "block", marked=borders, ticks=blocks)
                about = "marked: a unit ends behind this block"
                drawings.append(Drawing(f"{key}-{place}", title + more, about, lines))
    return drawings
