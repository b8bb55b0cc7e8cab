"""Numbers of the figures: one curve per group, its seeds and their mean."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import final

from localgrad.report.groups import Group
from localgrad.report.read import Epoch, RunRecord
from localgrad.report.sides import ProbedBlock

Points = Mapping[int, float]


@final
@dataclass(frozen=True)
class Curve:
    """``mean`` is over the points that all seeds have."""

    group: int
    mean: Points
    seeds: tuple[Points, ...]


def per_epoch(groups: Sequence[Group], value: Callable[[Epoch], float | None]) -> list[Curve]:
    """``value`` of every epoch."""

    def points(run: RunRecord) -> Points:
        return {epoch.number: found for epoch in run.epochs if (found := value(epoch)) is not None}

    return _curves(groups, lambda _, run: points(run))


def by_blocks(groups: Sequence[Group]) -> bool:
    """Whether for every group it is known which blocks its units hold."""
    return all(group.spans is not None for group in groups)


def over_depth(groups: Sequence[Group], of: Callable[[Epoch], Points] = lambda epoch: epoch.units) -> list[Curve]:
    """A figure of every unit at the last epoch, of its own head unless ``of`` says otherwise.

    Over the blocks up to the unit's end, or where these are not known over units from 1.
    A seed that stands at an earlier epoch than another of its group is left out.
    """
    blocks = by_blocks(groups)

    def points(group: Group, run: RunRecord) -> Points:
        newest = max((other.last.number for other in group.runs if other.last is not None), default=0)
        heads = of(run.last) if run.last is not None and run.last.number == newest else {}
        if not blocks or group.spans is None:
            return {unit + 1: value for unit, value in sorted(heads.items())}
        spans = group.spans
        return {spans[unit][1]: value for unit, value in sorted(heads.items()) if unit < len(spans)}

    return _curves(groups, points)


def wide(curves: Sequence[Curve]) -> bool:
    """Whether the values are above 0 and span more than a factor of 20: then a logarithmic axis shows more."""
    values = [value for curve in curves for seed in curve.seeds for value in seed.values()]
    return bool(values) and min(values) > 0 and max(values) > 20 * min(values)


def _curves(groups: Sequence[Group], points: Callable[[Group, RunRecord], Points]) -> list[Curve]:
    curves = []
    for group in groups:
        seeds = tuple(own for run in group.runs if (own := points(group, run)))
        if seeds:
            common = sorted(set[int].intersection(*(set(own) for own in seeds)))
            curves.append(Curve(group.index, {x: fmean(own[x] for own in seeds) for x in common}, seeds))
    return curves


def last_unit(values: Points) -> float | None:
    """The value of the highest unit: that of the network's final features."""
    return values[max(values)] if values else None


def per_unit_epoch(group: Group, values: Callable[[Epoch], Points]) -> dict[int, Points]:
    """For every unit the mean over the seeds, in the epochs that all seeds have."""
    found: dict[int, list[dict[int, float]]] = {}
    for run in group.runs:
        own: dict[int, dict[int, float]] = {}
        for epoch in run.epochs:
            for unit, value in values(epoch).items():
                own.setdefault(unit, {})[epoch.number] = value
        for unit, points in own.items():
            found.setdefault(unit, []).append(points)
    means: dict[int, Points] = {}
    for unit, seeds in sorted(found.items()):
        common = sorted(set[int].intersection(*map(set, seeds)))
        if common:
            means[unit] = {x: fmean(points[x] for points in seeds) for x in common}
    return means


def over_blocks(
    groups: Sequence[Group], blocks: Sequence[str], value: Callable[[ProbedBlock], float | None]
) -> list[Curve]:
    """A figure of every probed block, at its place from 1 in ``blocks``."""

    def points(run: RunRecord) -> Points:
        probe = run.sides.probe
        found = {} if probe is None else {one.block: value(one) for one in probe.blocks}
        places = {name: place for place, name in enumerate(blocks, 1)}
        return {places[name]: one for name, one in found.items() if one is not None and name in places}

    return _curves(groups, lambda _, run: points(run))
