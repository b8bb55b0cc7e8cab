"""One mini-batch through all units in one process: units of their own, neuron groups of a span, cascades."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby

import torch
from torch import Tensor

from localgrad.runtime.cascades import Passed, Watch, step_cascades
from localgrad.spec import Batch
from localgrad.unit import Terms, Unit, Work
from localgrad.update import WHOLE, Part, Update

Around = Callable[[int], AbstractContextManager[object]]
"""A context for the work of unit i, by its place in the list of units."""


def nothing_around(_: int) -> AbstractContextManager[object]:
    """No context."""
    return nullcontext()


def largest_reach(units: Sequence[Unit]) -> int:
    """How many units one loss updates at most."""
    return max(unit.spec.reach for unit in units)


def spans(units: Sequence[Unit]) -> list[tuple[int, list[Unit]]]:
    """The units span by span, each with the place of its first one: more than one unit where a span has groups."""
    found, start = [], 0
    for _, group in groupby(units, key=lambda unit: unit.spec.index):
        members = list(group)
        found.append((start, members))
        start += len(members)
    return found


def step_units(
    units: Sequence[Unit],
    updates: Sequence[Update],
    batch: Batch,
    part: Part = WHOLE,
    *,
    around: Around = nothing_around,
    watch: Watch | None = None,
    passed: Passed | None = None,
) -> dict[int, Terms]:
    """Train every unit on one mini-batch (or a part of it); returns the loss terms of each.

    ``around(i)`` is entered whenever unit i works; ``watch`` is told where the gradients of cascades arrive,
    ``passed(i, h)`` what unit i hands on. No output is kept longer than the next span needs it.
    """
    if largest_reach(units) > 1:
        return step_cascades(units, updates, batch, part, around, watch, passed)
    h, terms = batch.x, dict[int, Terms]()
    for start, members in spans(units):
        if len(members) == 1:
            with around(start):
                h, terms[start] = members[0].step(h, batch, updates[start], part)
            if passed is not None:
                passed(start, h)
            continue
        works = [Work(unit, batch, updates[start + g], part) for g, unit in enumerate(members)]
        features, logits = [], []
        for g, work in enumerate(works):
            with around(start + g):
                features.append(work.forward(h))
        for g, work in enumerate(works):
            with around(start + g):
                logits.append(work.look(features))
        shared = [one for one in logits if one is not None]
        for g, work in enumerate(works):
            with around(start + g):
                terms[start + g] = work.learn(shared)
                work.apply()
            if passed is not None:
                passed(start + g, features[g])
        h = torch.cat(features, 1)
    return terms


def forward_units(units: Sequence[Unit], x: Tensor) -> Iterator[tuple[Unit, Tensor, list[Tensor]]]:
    """Every unit with its body's output for the images ``x`` and those of all groups of its span."""
    h = x
    for _, members in spans(units):
        features = [unit(h) for unit in members]
        for unit, own in zip(members, features, strict=True):
            yield unit, own, features
        h = features[0] if len(features) == 1 else torch.cat(features, 1)
