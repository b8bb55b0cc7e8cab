"""One unit's step without the others: what they would send is made up, in the right shapes.

A process of a pipeline does just this, so its memory and its time are counted here on the real code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from localgrad.network import LocalNetwork
from localgrad.placement import unit_shapes
from localgrad.runtime.cascades import Sum
from localgrad.spec import Batch, Shape
from localgrad.unit import Unit, Work
from localgrad.update import Update

Make = Callable[[Shape, torch.dtype], Tensor]
"""A tensor of samples of this shape, of the batch size that is measured."""


def nothing(_: Tensor) -> None:
    """For a step that nobody watches."""


@final
@dataclass(frozen=True)
class Surroundings:
    """What others send a unit in one step, as shapes of one sample.

    ``features`` are those of all groups of the span, where the unit reads them; ``classes`` the length of the logits
    that its ``groups`` share, 0 if they do not. ``cascades``: losses of this network go down several units;
    ``arriving`` has an entry per cascade of a later unit that reaches this one, True where it goes on below.
    """

    h_in: Shape
    groups: int = 1
    features: tuple[Shape, ...] = ()
    classes: int = 0
    cascades: bool = False
    arriving: tuple[bool, ...] = ()
    passes_on: bool = False


def surroundings(net: LocalNetwork) -> list[Surroundings]:
    """Those of every unit; ``net`` may be on the meta device."""
    units, shapes = net.unit_list(), unit_shapes(net)
    inputs = [net.backbone.image, *net.backbone.shapes()]
    reaches = [{objective.reach for objective in unit.spec.objectives} for unit in units]
    cascades = max(unit.spec.reach for unit in units) > 1
    found = []
    for place, unit in enumerate(units):
        members = [other for other, one in enumerate(units) if one.spec.index == unit.spec.index]
        lowest = [last - reach + 1 for last in range(place + 1, len(units)) for reach in sorted(reaches[last])]
        arriving = tuple(low < place for low in lowest if low <= place) if cascades else ()
        found.append(
            Surroundings(
                h_in=inputs[unit.span.start],
                groups=len(members),
                features=tuple(shapes[other] for other in members) if unit.spec.shares_features else (),
                classes=net.backbone.num_classes if unit.spec.shares_outputs else 0,
                cascades=cascades,
                arriving=arriving,
                passes_on=any(arriving) or any(place > 0 and reach > 1 for reach in reaches[place]),
            )
        )
    return found


def batch_of(net: LocalNetwork, unit: Unit, h_in: Tensor, make: Make) -> Batch:
    """What the unit's losses read of a mini-batch; its images are the unit's own input, which no loss looks at."""
    needs, rows = unit.spec.needs, len(h_in)
    return Batch(
        x=h_in,
        y=torch.zeros(rows, dtype=torch.int64, device=h_in.device) if "y" in needs else None,
        image=make(net.backbone.image, next(net.parameters()).dtype) if "image" in needs else None,
        pair_similarity=torch.zeros((rows, rows), device=h_in.device) if "pair_similarity" in needs else None,
        step=0,
    )


def step_alone(
    unit: Unit,
    others: Surroundings,
    h_in: Tensor,
    batch: Batch,
    update: Update,
    make: Make,
    *,
    sent: Callable[[Tensor], None] = nothing,
    waiting: Callable[[Tensor], None] = nothing,
) -> Tensor:
    """One training step of ``unit``; returns its detached output.

    ``sent`` is told the output when it would be handed on, ``waiting`` when the unit has done all it can before what
    other groups or the cascades of later units send has come.
    """
    unit.remember()
    work = Work(unit, batch, update)
    h_out = work.forward(h_in, passes_on=others.passes_on)
    sent(h_out)
    if others.cascades:
        _cascades(work, others, h_out, make, waiting)
    else:
        logits = work.look(_with_own(others.features, unit.spec.group, h_out, make))
        shapes = ((others.classes,),) * others.groups if logits is not None else ()
        if others.features or others.classes:
            waiting(h_out)
        work.learn([] if logits is None else _with_own(shapes, unit.spec.group, logits, make))
    work.apply()
    return h_out


def _with_own(shapes: Sequence[Shape], group: int, own: Tensor, make: Make) -> list[Tensor]:
    return [own if place == group else make(shape, own.dtype) for place, shape in enumerate(shapes)]


def _cascades(work: Work, others: Surroundings, h: Tensor, make: Make, waiting: Callable[[Tensor], None]) -> None:
    work.cut_top()
    work.look()
    cotangents, _ = work.cotangents()
    total = Sum()
    for reach in sorted(cotangents):
        cotangent = cotangents.pop(reach)
        total.add(cotangent)
        if reach > 1 and others.passes_on:
            work.below(cotangent)
        del cotangent
    waiting(h)
    for goes_on in others.arriving:
        cotangent = make(tuple(h.shape[1:]), h.dtype)
        total.add(cotangent)
        if goes_on:
            work.below(cotangent)
        del cotangent
    if total.value is not None:
        work.pull(total.value)
