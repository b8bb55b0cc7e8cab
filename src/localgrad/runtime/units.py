"""One mini-batch through all units in one process: units of their own, neuron groups of a span, cascades."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor

from localgrad.runtime.cascades import Passed, Watch, step_cascades
from localgrad.runtime.fused import FusedSpan, step_fused
from localgrad.spec import Batch
from localgrad.unit import Terms, Unit, Work, network_input, spans
from localgrad.update import WHOLE, Part, Update

Around = Callable[[int], AbstractContextManager[object]]
"""A context for the work of unit i, by its place in the list of units."""


NOT_FUSED: Mapping[int, FusedSpan] = {}
"""No span's groups run as one."""


def nothing_around(_: int) -> AbstractContextManager[object]:
    """No context."""
    return nullcontext()


def largest_reach(units: Sequence[Unit]) -> int:
    """How many units one loss updates at most."""
    return max(unit.spec.reach for unit in units)


def step_units(
    units: Sequence[Unit],
    updates: Sequence[Update],
    batch: Batch,
    part: Part = WHOLE,
    *,
    around: Around = nothing_around,
    watch: Watch | None = None,
    passed: Passed | None = None,
    fused: Mapping[int, FusedSpan] = NOT_FUSED,
    draws: bool = True,
) -> dict[int, Terms]:
    """Train every unit on one mini-batch (or a part of it); returns the loss terms of each.

    ``around(i)`` is entered whenever unit i works; ``watch`` is told where the gradients of cascades arrive,
    ``passed(i, h)`` what unit i hands on; neuron groups of ``fused`` spans run as one.
    ``draws=False``: no unit draws random numbers, and the random state is left alone. No output is kept longer than the
    next span needs it.
    """
    for unit in units:
        unit.remember()
    if largest_reach(units) > 1:
        return step_cascades(units, updates, batch, part, around, watch, passed, draws=draws)
    h, terms = network_input(units, batch), dict[int, Terms]()
    for start, members in spans(units):
        # What the span before made is in `h`; its groups' own tensors go.
        outputs, learnt = list[Tensor](), list[Terms]()
        work_of = partial(Work, batch=batch, part=part, draws=draws)
        pairs = list(zip(members, updates[start:], strict=False))
        inside = [partial(around, start + g) for g in range(len(members))]
        if start in fused:
            h, learnt = step_fused(fused[start], [work_of(unit, update=update) for unit, update in pairs], h)
            outputs = list(torch.split(h, list(members[0].span.groups), 1))
        elif any(unit.spec.shares_features or unit.spec.shares_outputs for unit in members):
            outputs, learnt = step_in_phases([work_of(unit, update=update) for unit, update in pairs], h, inside)
            h = torch.cat(outputs, 1)
        else:
            # One group after the other: the activations of one are alive at a time.
            for (unit, update), entered in zip(pairs, inside, strict=True):
                with entered():
                    own, own_terms = unit.step(h, batch, update, part, draws=draws)
                outputs.append(own)
                learnt.append(own_terms)
            h = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)
        terms |= dict(enumerate(learnt, start))
        if passed is not None:
            for place, made in enumerate(outputs, start):
                passed(place, made)
    return terms


def step_in_phases(
    works: Sequence[Work], h: Tensor, inside: Sequence[Callable[[], AbstractContextManager[object]]]
) -> tuple[list[Tensor], list[Terms]]:
    """One step of groups that send each other features or logits: the detached output and the loss terms of each."""
    pairs = list(zip(works, inside, strict=True))
    features, logits, terms = list[Tensor](), list[Tensor](), list[Terms]()
    for work, entered in pairs:
        with entered():
            features.append(work.forward(h))
    for work, entered in pairs:
        with entered():
            sent = work.look(features)
        logits += [] if sent is None else [sent]
    for work, entered in pairs:
        with entered():
            terms.append(work.learn(logits))
            work.apply()
    return features, terms
