"""The Queued runtime: every unit at its own pace, with a buffer of mini-batches before it (asynchronous DGL).

A simulation in one process, as in the paper: at every tick one unit is drawn and works on one mini-batch. Which one is
a function of (seed, tick), so a run can be repeated and continued bit for bit.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Literal, final, get_args

from torch import Tensor
from torch.optim import Optimizer

from localgrad.errors import LocalgradError, nearest
from localgrad.network import LocalNetwork
from localgrad.rng import derive_seed
from localgrad.runtime.apart import check_input, forward_frozen, make_updates, set_mode
from localgrad.runtime.buffers import FIELDS, Buffer
from localgrad.runtime.sequential import MakeOptimizer
from localgrad.spec import Batch, Shape
from localgrad.unit import Terms, network_input
from localgrad.update import Precision, free_gradients

Order = Literal["random", "round_robin"]
"""How the next unit is chosen: drawn by its speed, or one after the other."""
Home = Literal["device", "cpu"]
"""Where buffers lie."""


@final
@dataclass(frozen=True)
class Tick:
    """What one tick did: ``unit`` has ``learnt`` (then ``terms`` are its losses, detached), only ``forwarded`` a
    mini-batch, having made all its updates, or ``skipped``, because no mini-batch before it may be read again."""

    unit: int
    did: Literal["learnt", "forwarded", "skipped"]
    terms: Terms
    samples: int

    @property
    def losses(self) -> dict[str, float]:
        """``{term: value}`` as numbers."""
        return {name: float(value) for name, value in self.terms.items()}


@final
class Queued:
    """Asynchronous DGL (arXiv 1901.08164, algorithm 2 and section 5.3): units that do not wait for each other.

    ``buffer`` is the number of mini-batches kept between two units, read by priority LIFO (``buffers.py``); 0 is one
    mini-batch and units in turn, which equals ``Sequential`` bit for bit. The first 2K ticks are units 0, 0, 1, 1, 2,
    2, ...; then units are drawn with equal probability, but a unit in ``slowdown`` ({unit: S}) S times less often (S =
    1 / (1 - noise) of the released code). ``order="round_robin"`` takes them in turn from the first tick on.
    ``max_reuse`` bounds how often one unit reads one mini-batch; a unit that finds none left skips its turn, which
    ``skipped`` counts. ``quirk`` takes the released code's off-by-one in the choice of the newest mini-batch.
    ``home="cpu"`` keeps the buffers in the CPU's memory.

    Every unit's schedule is a function of its own updates: ``lr(u)`` is the learning rate of its update u, from 0.
    After ``updates`` updates it learns no more, and goes on forwarding in evaluation mode; ``finished`` tells when all
    have. ``reset_optimizer`` does what the released code does when a unit's learning rate drops: forgets its
    optimiser's state (momentum), and takes the units in the order of the first ticks once more, if they are drawn.
    Whatever is drawn inside a step is a function of (seed, unit, the mini-batch's step).

    Raises LocalgradError for settings that cannot be, and for units that cannot train apart from each other.
    """

    def __init__(
        self,
        net: LocalNetwork,
        optimizer: MakeOptimizer,
        *,
        buffer: int = 30,
        order: Order = "random",
        slowdown: Mapping[int, float] | None = None,
        max_reuse: int | None = None,
        quirk: bool = False,
        home: Home = "device",
        updates: int | None = None,
        lr: Callable[[int], float] | None = None,
        reset_optimizer: bool = False,
        precision: Precision | str = Precision.FLOAT32,
        clip: float | None = None,
        seed: int | None = None,
    ) -> None:
        self.updates = make_updates(net, optimizer, precision=precision, clip=clip, seed=seed, who="Queued")
        problems = queue_problems(len(self.updates), buffer, order, slowdown or {}, max_reuse, home)
        if updates is not None and updates < 1:
            problems.append(f"updates must be at least 1, got {updates}.")
        if reset_optimizer and lr is None:
            problems.append("reset_optimizer acts where the learning rate drops: give lr, or leave it out.")
        if problems:
            raise LocalgradError("\n".join(f"Queued: {problem}" for problem in problems))
        self.net = net
        self.precision = Precision(precision)
        self.limit = updates
        self.lr = lr
        self.reset_optimizer = reset_optimizer
        self.seed = self.updates[0].seed
        self.random = order == "random" and buffer > 0
        speeds = [1 / (slowdown or {}).get(unit, 1.0) for unit in range(len(self.updates))]
        self.shares = [speed / sum(speeds) for speed in speeds]
        self.bounds = list(accumulate(self.shares))
        self.buffers = [
            Buffer(max(buffer, 1), quirk=quirk, max_reads=max_reuse, on_cpu=home == "cpu") for _ in self.updates[1:]
        ]
        # A foreign network's body may change its input in place, and a buffer is read again.
        self.private = net.backbone.source is not None
        self.ticks = 0
        self.started = 0
        self.drawn = 0
        self.counts = [0] * len(self.updates)
        self.skipped = [0] * len(self.updates)
        self.fitting: set[Shape] = set()

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimisers in the order of the units."""
        return [update.optimizer for update in self.updates]

    @property
    def finished(self) -> bool:
        """Whether every unit has made all its updates; never without ``updates``."""
        return all(self.done(unit) for unit in range(len(self.counts)))

    def done(self, unit: int) -> bool:
        """Whether a unit has made all its updates."""
        return self.limit is not None and self.counts[unit] >= self.limit

    def unit_at(self, tick: int) -> int:
        """The unit that works at a tick, both from 0; with ``reset_optimizer``, if no learning rate drops before."""
        count = len(self.updates)
        if not self.random:
            return tick % count
        if 0 <= tick - self.started < 2 * count:
            return (tick - self.started) // 2
        draw = derive_seed(self.seed, "queued", tick) / 2**63
        # The last bound is 1 to rounding only.
        return min(bisect_right(self.bounds, draw), count - 1)

    def tick(self, next_batch: Callable[[], Batch]) -> Tick:
        """Let one unit work on one mini-batch. ``next_batch`` is called when it is the first unit's turn.

        Raises LocalgradError when a batch does not fit the network; what ``next_batch`` raises passes through. Nothing
        has changed then, and the same tick can be made again.
        """
        index = self.unit_at(self.ticks)
        batch = self._input(index, next_batch)
        self.ticks += 1
        if batch is None:
            self.skipped[index] += 1
            return Tick(index, "skipped", {}, 0)
        units = self.net.unit_list()
        unit, update = units[index], self.updates[index]
        h = network_input(units, batch) if index == 0 else batch.x
        if self.private and index > 0:
            h = h.clone()
        if self.done(index):
            if index < len(self.buffers):
                self._write(index, batch, forward_frozen(unit, h, update))
            return Tick(index, "forwarded", {}, len(h))
        self._set_lr(index)
        # Gradients that somebody else left, or a step that was interrupted, are no part of this step.
        free_gradients(update.optimizer)
        set_mode(unit, True)
        h_out, terms = unit.step(h, batch, update)
        self.counts[index] += 1
        if index < len(self.buffers):
            self._write(index, batch, h_out)
        return Tick(index, "learnt", terms, len(h))

    def _input(self, index: int, next_batch: Callable[[], Batch]) -> Batch | None:
        if index > 0:
            return self.buffers[index - 1].read(next(self.net.parameters()).device)
        batch = next_batch()
        check_input(self.net, batch, self.precision, self.fitting, "Queued.tick")
        self.drawn += 1
        return batch if batch.step is not None else replace(batch, step=self.drawn - 1)

    def _write(self, index: int, batch: Batch, h_out: Tensor) -> None:
        # Views are what the first unit reads; what comes of them is in x.
        kept = self.net.needs - {"views"}
        unread: dict[str, Any] = {name: None for name in FIELDS if name != "x" and name not in kept}
        self.buffers[index].write(replace(batch, x=h_out, **unread))

    def _set_lr(self, index: int) -> None:
        if self.lr is None:
            return
        count, optimizer = self.counts[index], self.updates[index].optimizer
        lr = self.lr(count)
        if self.reset_optimizer and count > 0 and lr < self.lr(count - 1):
            optimizer.state.clear()
            self.started = self.ticks
        for group in optimizer.param_groups:
            group["lr"] = lr

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What a checkpoint keeps besides weights and optimisers: plain data and tensors, the buffers' with them."""
        states = [buffer.state() for buffer in self.buffers]
        plain = {
            "ticks": self.ticks,
            "started": self.started,
            "drawn": self.drawn,
            "counts": list(self.counts),
            "skipped": list(self.skipped),
            "buffers": [plain for plain, _ in states],
        }
        return plain, {f"{n}.{key}": value for n, (_, own) in enumerate(states) for key, value in own.items()}

    def load_state(self, plain: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """What ``state`` gave, back."""
        self.ticks, self.started, self.drawn = plain["ticks"], plain["started"], plain["drawn"]
        self.counts, self.skipped = list(plain["counts"]), list(plain["skipped"])
        device = next(self.net.parameters()).device
        for n, (buffer, facts) in enumerate(zip(self.buffers, plain["buffers"], strict=True)):
            own = {key.removeprefix(f"{n}."): value for key, value in tensors.items() if key.startswith(f"{n}.")}
            buffer.load_state(facts, own, device)


def queue_problems(
    units: int, buffer: int, order: str, slowdown: object, max_reuse: int | None, home: str
) -> list[str]:
    """What is wrong with the settings of a queue before ``units`` units, each as one sentence or two."""
    found = []
    factors = slowdown if isinstance(slowdown, Mapping) else {}
    if not isinstance(slowdown, Mapping):
        found.append(f"slowdown must be {{unit: factor}}, such as {{3: 2.0}}, got {slowdown!r}.")
    if type(buffer) is not int or buffer < 0:
        found.append(f"buffer must be a whole number of mini-batches, 0 or more, got {buffer!r}.")
    if max_reuse is not None and (type(max_reuse) is not int or max_reuse < 1):
        found.append(f"max_reuse must be a whole number of reads, 1 or more, got {max_reuse!r}.")
    for name, word, words in (("order", order, get_args(Order)), ("home", home, get_args(Home))):
        if word not in words:
            found.append(f"{name} {word!r} is unknown. {nearest(str(word), words)}")
    for unit, factor in factors.items():
        if type(unit) is not int or not 0 <= unit < units:
            found.append(f"slowdown: there are units 0 to {units - 1}, got unit {unit!r}.")
        if type(factor) not in (int, float) or not 1 <= factor < float("inf"):
            found.append(f"slowdown: unit {unit!r} can be slower by a factor of 1 or more, got {factor!r}.")
    in_turn = order == "round_robin" or buffer == 0
    if in_turn and any(factor != 1 for factor in factors.values()):
        found.append("slowdown: units that take turns are equally fast; give a buffer and order='random'.")
    return found
