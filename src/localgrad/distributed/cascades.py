"""Cascades over stages: the gradient of a later stage's loss comes down to the units of this one, exactly.

The order of sums is that of ``runtime/cascades.py``, so the results are, too. A unit starts its next step when the last
cascade over it has come down: stages work on different mini-batches only as far as that allows.
"""

from typing import final

import torch
from torch import Tensor

from localgrad.distributed.wire import Item, Message
from localgrad.distributed.worker import Worker
from localgrad.placement import Kind
from localgrad.runtime.cascades import Sum, lowest
from localgrad.spec import Batch
from localgrad.unit import Terms, Work


@final
class CascadeStep:
    """One mini-batch through the hosted units ``first`` to ``top`` of a method with cascades."""

    def __init__(self, worker: Worker, item: Item) -> None:
        self.worker, self.item = worker, item
        self.units = worker.units
        self.low = lowest(self.units)
        places = range(len(self.units))
        self.kept = [max(p for p in places[place:] if self.low[p] <= place or p == place) for place in places]
        self.crossed = [any(self.low[p] < place for p in places[place:]) for place in places]
        mine = [place for span in worker.hosted for place in span.mine]
        self.first, self.top = mine[0], mine[-1]
        self.works: dict[int, Work] = {}
        self.sums = {place: Sum() for place in mine}

    def run(self, own: Batch | None) -> dict[int, Terms]:
        """Forward through the hosted units, then what comes down from later stages."""
        worker, terms = self.worker, dict[int, Terms]()
        h, batch = worker.input(worker.hosted[0], self.item, {}, own)
        part = worker.part(self.item.rows)
        for place in range(self.first, self.top + 1):
            self.units[place].remember()
        for place in range(self.first, self.top + 1):
            with worker.named(place):
                work = self.works[place] = Work(self.units[place], batch, worker.updates[place], part)
                h = work.forward(h, passes_on=self.crossed[place])
                if place == self.top:
                    worker.send(place, self.item, batch, h)
                work.cut_top()
                work.look()
                cotangents, found = work.cotangents()
                if self.units[place].spec.objectives:
                    terms[place] = found
                for at_top in cotangents.values():
                    self.sums[place].add(at_top)
                for reach in sorted(cotangents):
                    self.descend(place, place, reach, cotangents.pop(reach))
                self.finish(place)
        del h
        self.take_from_above()
        return terms

    def take_from_above(self) -> None:
        """The cascades of later stages' units that come down to here, in the order of those units."""
        for last in range(self.top + 1, len(self.units)):
            for reach in sorted({objective.reach for objective in self.units[last].spec.objectives}):
                if last - reach + 1 <= self.top:
                    message = self.worker.take(Kind.COTANGENT, self.top, self.item)
                    cotangent = message.tensors["h"]
                    self.sums[self.top].add(cotangent)
                    self.descend(last, self.top, reach, cotangent)
            self.finish(last)

    def descend(self, last: int, place: int, reach: int, cotangent: Tensor) -> None:
        """Carry the gradient at the output of ``place`` down to the lowest unit that the cascade updates."""
        while place > last - reach + 1:
            with self.worker.named(place):
                cotangent = self.works[place].below(cotangent)
            place -= 1
            if place < self.first:
                self.worker.send_to(Kind.COTANGENT, place, Message(self.item, {"h": cotangent}))
                return
            self.sums[place].add(cotangent)

    def finish(self, last: int) -> None:
        """Update the units over which the cascades that end at ``last`` were the last ones."""
        for place in [place for place in self.works if self.kept[place] == last]:
            work, total = self.works.pop(place), self.sums[place].value
            self.sums[place] = Sum()
            with self.worker.named(place):
                if total is not None:
                    work.pull(total)
                self.worker.late.give(place, self.item.step)
                work.apply()


def train_cascades(worker: Worker, item: Item, own: Batch | None) -> dict[int, Terms]:
    """``Worker.train`` for a method with cascades."""
    with torch.enable_grad():
        terms = CascadeStep(worker, item).run(own)
    worker.late.tell(item.step + 1)
    return terms
