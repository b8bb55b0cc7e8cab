"""Cascades: losses that update k consecutive units (MLAAN), without computing anything twice.

A cascade ends at a unit, whose auxiliary network its loss looks through, and goes down k - 1 borders. Its forward pass
has the values that the units have anyway (BatchNorm sees the same batch), so every body runs once and its graph is kept
until the last cascade over it has come down. On the way, each cascade asks a body for the gradient of its input alone;
the parameters are asked once, with the sum of all cotangents. For k = 3 that is one forward pass, two input gradients
and one parameter gradient per unit, instead of four forward and four backward passes.

No fewer: a cascade's gradient may not be added to another's before it has left the unit, because the two end at
different units. And no two of them in one batched call: the second arrives from above, where it would have to wait for
a third one, and so on up to the last unit; all graphs would be kept, as in backpropagation.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import final

from torch import Tensor

from localgrad.spec import Batch
from localgrad.unit import Terms, Unit, Work, network_input
from localgrad.update import Part, Update

Watch = Callable[[int, Tensor, Tensor], None]
"""Told (unit whose loss it is, output of a body, cotangent) wherever a gradient arrives at a body's output."""

Passed = Callable[[int, Tensor], None]
"""Told (unit, its detached output)."""


@final
class Sum:
    """The sum of cotangents at one body's output."""

    def __init__(self) -> None:
        self.value: Tensor | None = None
        self.own = False

    def add(self, cotangent: Tensor) -> None:
        """In place only where the tensor was made here: autograd may give one tensor to several of its callers."""
        if self.value is None:
            self.value = cotangent
        elif self.own:
            self.value += cotangent
        else:
            self.value, self.own = self.value + cotangent, True


def lowest(units: Sequence[Unit]) -> list[int]:
    """For every unit, the first of the units that its losses update."""
    return [last - unit.spec.reach + 1 for last, unit in enumerate(units)]


def step_cascades(
    units: Sequence[Unit],
    updates: Sequence[Update],
    batch: Batch,
    part: Part,
    around: Callable[[int], AbstractContextManager[object]],
    watch: Watch | None,
    passed: Passed | None,
    *,
    draws: bool = True,
) -> dict[int, Terms]:
    """Train every unit on one mini-batch; returns the loss terms of each that has a loss.

    A unit updates when the last cascade over it has come down: in the order of the network, and before any later unit.
    """
    low, places = lowest(units), range(len(units))
    # Up to which unit the graph of a body is kept, and whether anybody asks for the gradient of its input.
    kept = [max(last for last in places[place:] if low[last] <= place or last == place) for place in places]
    crossed = [any(low[last] < place for last in places[place:]) for place in places]
    works: dict[int, Work] = {}
    sums = [Sum() for _ in units]
    terms: dict[int, Terms] = {}

    def arrive(origin: int, place: int, cotangent: Tensor) -> None:
        if watch is not None:
            watch(origin, works[place].h, cotangent)
        sums[place].add(cotangent)

    # Functions, so that no local name keeps a feature map alive while the next unit works. The cotangent is taken out
    # in here: an argument may live as long as the call, and does where torch.compile has hooked into Python's frames.
    def descend(last: int, reach: int, cotangents: dict[int, Tensor]) -> None:
        cotangent = cotangents.pop(reach)
        for place in range(last, last - reach + 1, -1):
            with around(place):
                cotangent = works[place].below(cotangent)
            arrive(last, place - 1, cotangent)

    def finish(place: int) -> None:
        work, total = works.pop(place), sums[place].value
        sums[place] = Sum()
        with around(place):
            if total is not None:  # None: no loss depends on this unit; an audit says so
                work.pull(total)
            work.apply()

    h = network_input(units, batch)
    for last, unit in enumerate(units):
        works[last] = Work(unit, batch, updates[last], part, draws=draws)
        with around(last):
            h = works[last].forward(h, passes_on=crossed[last])
            works[last].cut_top()
            works[last].look()
            cotangents, found = works[last].cotangents()
        if unit.spec.objectives:
            terms[last] = found
        if passed is not None:
            passed(last, h)
        for at_top in cotangents.values():
            arrive(last, last, at_top)
            del at_top
        for reach in sorted(cotangents):
            descend(last, reach, cotangents)
        for place in [place for place in works if kept[place] == last]:
            finish(place)
    return terms
