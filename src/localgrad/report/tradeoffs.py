"""What accuracy costs: for every group its accuracy, MACs of its largest node and live memory, where they are known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from localgrad.report.comparison import Spread, spread
from localgrad.report.groups import Group
from localgrad.report.read import RunRecord


@final
@dataclass(frozen=True)
class Score:
    """Top-1 in percent over the seeds. ``how``: empty for the trained classifier, else what judged the features."""

    top1: Spread
    count: int
    how: str


@final
@dataclass(frozen=True)
class Bubble:
    """One group with all three quantities: top-1, MACs per sample of the largest node, live bytes of a step."""

    group: int
    name: str
    score: Score
    macs: int
    live: int


def score_of(group: Group) -> Score | None:
    """Of the last epoch: the classifier's top-1, else linear evaluation, else a linear probe, else kNN.

    Where a comparison judged the frozen features of all its methods, so does this. Runs without labels have no
    classifier; their figures are of the last unit's (or block's) frozen features.
    """
    if group.row is not None and group.judge:
        return Score(group.row.top1, len(group.row.scores), group.judge)
    for how, way in WAYS:
        values = [value for run in group.runs if (value := way(run)) is not None]
        if values:
            return Score(spread(values), len(values), how)
    return None


def best_of(group: Group) -> Spread | None:
    """Top-1 of the best epoch over the seeds."""
    if group.row is not None and group.judge:
        return group.row.best_top1
    values = [run.best[1] for run in group.runs if run.best is not None]
    return spread(values) if values else None


def macs_of(group: Group) -> int | None:
    """MACs of the largest node."""
    if group.cost is not None:
        return group.cost.own.macs_max_node
    return None if group.row is None else group.row.macs_max_node


def live_of(group: Group) -> int | None:
    """Live bytes of a step at their peak."""
    if group.cost is not None:
        return group.cost.own.peak
    return None if group.row is None else group.row.live_bytes


def bubbles(groups: Sequence[Group]) -> list[Bubble]:
    """The groups of which everything is known."""
    found = []
    for group in groups:
        score, macs, live = score_of(group), macs_of(group), live_of(group)
        if score is not None and macs is not None and live is not None:
            found.append(Bubble(group.index, group.name, score, macs, live))
    return found


def _classifier(run: RunRecord) -> float | None:
    return None if run.last is None else run.last.top1


def _linear(run: RunRecord) -> float | None:
    values = next((epoch.linear for epoch in reversed(run.epochs) if epoch.linear), {})
    return values[max(values)] if values else None


def _probe(run: RunRecord) -> float | None:
    return None if run.sides.probe is None else run.sides.probe.blocks[-1].test


def _knn(run: RunRecord) -> float | None:
    values = next((epoch.knn for epoch in reversed(run.epochs) if epoch.knn), {})
    return values[max(values)] if values else None


WAYS: tuple[tuple[str, Callable[[RunRecord], float | None]], ...] = (
    ("", _classifier),
    ("linear evaluation", _linear),
    ("linear probe", _probe),
    ("kNN", _knn),
)
"""What may judge a run, the first that there is: its own classifier, else something on its frozen features."""
