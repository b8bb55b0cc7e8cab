"""Accuracy against what it costs: one bubble per method."""

from collections.abc import Sequence

from localgrad.report.drawing.bubbles import Bubbles, Point
from localgrad.report.drawing.canvas import Drawing
from localgrad.report.groups import Group
from localgrad.report.sections.section import Section, differing, labels_of, over_seeds
from localgrad.report.tradeoffs import Bubble, bubbles
from localgrad.report.words import mib, si

ABOUT_MACS = "MACs of the largest node, per sample, forward, with its auxiliary network"
ABOUT_LIVE = "live memory of a training step at its peak"


def tradeoff(groups: Sequence[Group]) -> Section | None:
    """Accuracy against MACs per node and against live memory; the bubble's area is the other of the two."""
    found = bubbles(groups)
    if len(found) < 2:
        return None
    names = labels_of(groups)
    heaviest, hungriest = max(found, key=lambda one: one.macs), max(found, key=lambda one: one.live)

    def point(one: Bubble, x: float, third: float) -> Point:
        how = f" ({one.score.how.partition(' ')[0]})" if one.score.how else ""
        return Point(one.group, names[one.group] + how, x, one.score.top1.mean, one.score.top1.std or 0.0, third)

    by_macs = Bubbles(
        [point(one, one.macs / 1e6, one.live) for one in found], "10⁶ MACs of the largest node", "test top-1 %"
    )
    by_live = Bubbles([point(one, one.live / 2**20, one.macs) for one in found], "live MiB", "test top-1 %")
    drawings = (
        Drawing(
            "accuracy-macs",
            "Accuracy against MACs per node",
            f"area: {ABOUT_LIVE}; the largest is {mib(hungriest.live)} MiB ({names[hungriest.group]})",
            by_macs,
        ),
        Drawing(
            "accuracy-memory",
            "Accuracy against live memory",
            f"area: MACs of the largest node; the largest is {si(heaviest.macs)} ({names[heaviest.group]})",
            by_live,
        ),
    )
    shown = [group for group in groups if group.index in {one.group for one in found}]
    hows = {one.score.how for one in found} - {""}
    notes = [
        f"Top-1 of the last epoch, mean and sample standard deviation; {over_seeds(shown)}.",
        f"x of the first: {ABOUT_MACS}, the pace of a pipeline with one worker per node.",
    ]
    if hows:
        notes.append(
            f"In brackets: what judged frozen features, {' or '.join(sorted(hows))}, instead of a classifier of the "
            "run’s own."
        )
    unlike = differing(shown)
    if unlike:
        notes.append(f"These runs do not share everything: {unlike}. Read their accuracies with that.")
    missing = [group.name for group in groups if group not in shown]
    if missing:
        notes.append(f"Without a bubble, since accuracy or cost is not known: {', '.join(missing)}.")
    return Section("Accuracy and what it costs", drawings, tuple(notes))
