"""Cascades: losses that update k consecutive units (MLAAN), without computing anything twice.

A cascade ends at a unit, whose auxiliary network its loss looks through, and goes down k - 1 borders. Its forward pass
has the values that the units have anyway (BatchNorm sees the same batch), so every body runs once and its graph is kept
until the last cascade over it has come down. On the way, each cascade asks a body for the gradient of its input alone;
the parameters are asked once, with the sum of all cotangents. For k = 3 that is one forward pass, two input gradients
and one parameter gradient per unit, instead of four forward and three full backward passes.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from torch import Tensor

from localgrad.spec import Batch
from localgrad.unit import Terms, Unit, Work
from localgrad.update import Part, Update

Watch = Callable[[int, Tensor, Tensor], None]
"""Told (unit whose loss it is, output of a body, cotangent) wherever a gradient arrives at a body's output."""

Passed = Callable[[int, Tensor], None]
"""Told (unit, its detached output)."""


def step_cascades(
    units: Sequence[Unit],
    updates: Sequence[Update],
    batch: Batch,
    part: Part,
    around: Callable[[int], AbstractContextManager[object]],
    watch: Watch | None,
    passed: Passed | None,
) -> dict[int, Terms]:
    """Train every unit on one mini-batch; returns the loss terms of each.

    A unit updates when the last cascade over it has come down, so later units always see it before its update.
    """
    window = max(unit.spec.reach for unit in units)
    works: dict[int, Work] = {}
    sums: dict[int, Tensor] = {}
    terms: dict[int, Terms] = {}

    def arrive(origin: int, unit: int, cotangent: Tensor) -> None:
        if watch is not None:
            watch(origin, works[unit].h, cotangent)
        sums[unit] = sums[unit] + cotangent if unit in sums else cotangent

    h = batch.x
    for last, unit in enumerate(units):
        work = works[last] = Work(unit, batch, updates[last], part)
        with around(last):
            h = work.forward(h, passes_on=last > 0)
            work.cut_top()
            work.look()
            cotangents, terms[last] = work.cotangents()
        if passed is not None:
            passed(last, h)
        # Cascades of one unit that go down equally far go down together.
        by_reach: dict[int, Tensor] = {}
        for objective in unit.spec.objectives:
            reach, cotangent = objective.reach, cotangents[objective.name]
            by_reach[reach] = by_reach[reach] + cotangent if reach in by_reach else cotangent
        for reach, at_top in by_reach.items():
            arrive(last, last, at_top)
            cotangent = at_top
            for place in range(last, last - reach + 1, -1):
                with around(place):
                    cotangent = works[place].below(cotangent)
                arrive(last, place - 1, cotangent)
        finished = range(len(units)) if last == len(units) - 1 else range(last - window + 2)
        for place in finished:
            if place in works:
                with around(place):
                    works[place].pull(sums.pop(place))
                    works.pop(place).apply()
    return terms
