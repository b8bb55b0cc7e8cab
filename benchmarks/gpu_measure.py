"""Building, checking, measuring and timing the rows of benchmarks/gpu.py."""

import contextlib
import copy
import gc
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from types import FrameType
from typing import Any, final

import torch
from gpu_rows import NETWORKS, WHOLE, Row

import localgrad as lg
from localgrad.cost import StepTime, memory
from localgrad.runtime.graphs import WARM_UP

MIB = 2**20
CHECKED = {"cuda": WARM_UP + 3, "cpu": 3}
"""Steps that are compared with the eager row's: a few more than those before the capture of a graph."""
LOSS_LIMIT = {"float32": 5e-3, "bfloat16": 3e-2}
"""Largest relative difference of a unit's loss in the first step (convolutions may use TF32)."""
UPDATE_LIMIT = {"float32": 0.1, "bfloat16": 0.3}
"""Largest difference of all weights after these steps, as a share of how far the eager row has moved; in bfloat16 at
least as much as eager bfloat16 and eager float32 differ, where both ran. A missed step is a share of about 1/6."""
LR = 1e-3
"""Small, so that rounding does not grow from step to step into other trainings; time does not depend on it."""


class OutOfTimeError(BaseException):
    """A row takes longer than it may. No Exception, so that nothing that falls back to eager on errors catches it."""


@final
@dataclass(frozen=True)
class Result:
    """What was found about a row. Bytes: on a GPU what its allocator says, else ``live`` by localgrad.cost."""

    row: Row
    units: int = 0
    first_s: float = 0.0
    time: StepTime | None = None
    allocated: int = 0
    reserved: int = 0
    live: int = 0
    loss_difference: float | None = None
    update_difference: float | None = None
    notes: tuple[str, ...] = ()
    error: str | None = None


@final
@dataclass
class Running:
    """A row that has made its first steps."""

    loop: lg.Sequential
    batch: lg.Batch
    losses: list[float] = field(default_factory=list)
    weights: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    step_s: float = 0.0


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError inside the block when it takes longer; compilers and CUDA return to Python often enough."""

    def ring(_: int, __: FrameType | None) -> None:
        raise OutOfTimeError(f"not ready within {seconds:.0f} s")

    found = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, found)


def weights(net: lg.LocalNetwork) -> torch.Tensor:
    """All parameters as one vector on the CPU."""
    return torch.cat([parameter.detach().float().flatten().cpu() for parameter in net.parameters()])


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@final
class Bench:
    """All rows of one network: built one after the other, then timed in turns."""

    def __init__(self, name: str, device: torch.device, batch: int | None, say: Callable[[str], None]) -> None:
        self.name, self.network, self.device, self.say = name, NETWORKS[name], device, say
        on_gpu = device.type == "cuda"
        self.batch_size = batch or (self.network.batch if on_gpu else self.network.cpu_batch)
        self.pixels = self.network.pixels if on_gpu else self.network.cpu_pixels
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(self.batch_size, 3, self.pixels, self.pixels, generator=generator)
        labels = torch.randint(0, self.network.classes, (self.batch_size,), generator=generator)
        self.images = {
            True: images.to(device, memory_format=torch.channels_last),
            False: images.to(device),
        }
        self.labels = labels.to(device)
        self.nets: dict[tuple[str, str], lg.LocalNetwork] = {}
        self.results: dict[Row, Result] = {}
        self.running: dict[Row, Running] = {}

    def make_net(self, row: Row) -> lg.LocalNetwork:
        """The row's network on the CPU; made once per method."""
        key = row.method, str(row.network_options)
        if key not in self.nets:
            built = self.network.build(0)
            example = None if isinstance(built, lg.Backbone) else self.images[False][:2].cpu()
            modules = None if row.method in WHOLE else self.network.modules
            options: dict[str, Any] = dict(row.network_options)
            method = self.network.methods[row.method]
            self.nets[key] = lg.localize(built, method, modules, example=example, **options)
        return copy.deepcopy(self.nets[key])

    def batch(self, row: Row, net: lg.LocalNetwork) -> lg.Batch:
        """The same images and labels for every row."""
        x = self.images[row.channels_last]
        return lg.Batch(x=x, y=self.labels, image=x.sigmoid() if "image" in net.needs else None)

    def prepare(self, row: Row, seconds: float) -> None:
        """Build a row, make its first steps, compare them with the eager row's, measure memory."""
        if self.device.type == "cuda":
            gc.collect()  # what failed rows left over
        caught: list[warnings.WarningMessage] = []
        try:
            with at_most(seconds), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self._prepare(row)
        except (Exception, OutOfTimeError) as error:  # noqa: BLE001 - a row that fails is a line of the table
            lines = [line for line in str(error).splitlines() if line.strip()] or [""]
            self.results[row] = Result(row, error=f"{type(error).__name__}: {lines[0][:300]}")
            self.running.pop(row, None)
        notes = tuple(dict.fromkeys(str(one.message).splitlines()[0][:200] for one in caught))
        self.results[row] = replace(self.results[row], notes=(*self.results[row].notes, *notes))
        found = self.results[row]
        took = f"first step {found.first_s:.1f} s, then {self._ms(row)}" if row in self.running else ""
        self.say(f"  {row}: " + "; ".join(filter(None, [took, found.error, *found.notes])))

    def _ms(self, row: Row) -> str:
        return f"{1e3 * self.running[row].step_s:.1f} ms"

    def _prepare(self, row: Row) -> None:
        cuda = self.device.type == "cuda"
        base = (0, 0)
        if cuda:
            torch.cuda.empty_cache()
            base = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
        net = self.make_net(row)
        live = 0 if cuda else self.live(row, net)
        net.to(self.device)
        if row.channels_last:
            net.to(memory_format=torch.channels_last)
        options: dict[str, Any] = dict(row.engine)
        running = Running(lg.Sequential(net, lg.SGD(lr=LR), **options), self.batch(row, net))
        start = perf_counter()
        found = running.loop.step(running.batch).losses
        first = perf_counter() - start
        running.losses = [value for unit in sorted(found) for value in found[unit].values()]
        for made in range(1, CHECKED[self.device.type]):
            if made == WARM_UP and cuda:
                # Kernels have been chosen. A graph is captured next: it allocates then, and nothing when replayed.
                wait(self.device)
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            running.loop.step(running.batch)
        running.weights = weights(net)
        allocated = reserved = 0
        wait(self.device)
        start = perf_counter()
        running.loop.step(running.batch)
        wait(self.device)
        running.step_s = perf_counter() - start
        if cuda:
            given = running.batch.x.nbytes + self.labels.nbytes
            allocated = torch.cuda.max_memory_allocated() - base[0] + given
            reserved = torch.cuda.max_memory_reserved() - base[1] + given
        self.running[row] = running
        loss, update, error = self.compare(row, running)
        self.results[row] = Result(
            row,
            units=len(net.unit_list()),
            first_s=first,
            allocated=allocated,
            reserved=reserved,
            live=live,
            loss_difference=loss,
            update_difference=update,
            error=error,
        )

    def live(self, row: Row, net: lg.LocalNetwork) -> int:
        """Live bytes of an eager step, by localgrad.cost; 0 for modes that it does not follow."""
        if {"compile", "graph"} & set(row.words):
            return 0
        image = (3, self.pixels, self.pixels)
        update: Any = "fused" if "fused" in row.words else "unit"
        found = memory(
            net, self.batch_size, image, precision=row.precision, channels_last=row.channels_last, update=update
        )
        return found.peak

    def compare(self, row: Row, running: Running) -> tuple[float | None, float | None, str | None]:
        """Differences of loss and weights to the eager row's, as the limits have them, and an error if too large."""
        eager = self.running.get(row.eager)
        if row == row.eager or eager is None:
            return None, None, None
        loss = max(abs(a - b) / max(abs(b), 1e-3) for a, b in zip(running.losses, eager.losses, strict=True))
        moved = eager.weights - weights(self.nets[row.method, str(row.eager.network_options)])
        update = float((running.weights - eager.weights).norm() / moved.norm())
        limits = LOSS_LIMIT[row.precision], UPDATE_LIMIT[row.precision]
        exact = self.running.get(replace(row.eager, precision="float32"))
        if row.precision == "bfloat16" and exact is not None:
            limits = limits[0], max(limits[1], float((exact.weights - eager.weights).norm() / moved.norm()))
        if loss <= limits[0] and update <= limits[1]:
            return loss, update, None
        return (
            loss,
            update,
            f"differs from the eager row: losses of the first step by {loss:.1e} (limit {limits[0]:.0e}), weights "
            f"after {CHECKED[self.device.type]} steps by {update:.2f} of their change (limit {limits[1]:.2f})",
        )

    def time(self, until: float, burst: int, rounds: tuple[int, int]) -> int:
        """Time the rows in turns, one uncounted step and ``burst`` counted ones each, until the clock says ``until``.

        Returns the number of rounds, at least the first of ``rounds`` and at most the second.
        """
        seconds: dict[Row, list[float]] = {row: [] for row in self.running}
        done = 0
        while seconds and done < rounds[1] and (done < rounds[0] or perf_counter() < until):
            for row in list(seconds):
                running = self.running[row]
                try:
                    running.loop.step(running.batch)
                    wait(self.device)
                    start = perf_counter()
                    for _ in range(burst):
                        running.loop.step(running.batch)
                    wait(self.device)
                except Exception as error:  # noqa: BLE001 - a row that fails is a line of the table
                    self.results[row] = replace(self.results[row], error=f"{type(error).__name__}: {error}")
                    del seconds[row]
                    continue
                seconds[row].append((perf_counter() - start) / burst)
            done += 1
        for row, found in seconds.items():
            if len(found) > 1:
                self.results[row] = replace(self.results[row], time=StepTime(tuple(found)))
        return done

    def free(self) -> None:
        """Let go of all networks."""
        self.running.clear()
        self.nets.clear()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def ratio(results: Mapping[Row, Result], row: Row, other: Row) -> float | None:
    """Median over the rounds of the row's time by the other's in the same round."""
    mine, theirs = results.get(row), results.get(other)
    if mine is None or theirs is None or mine.time is None or theirs.time is None:
        return None
    if len(mine.time.seconds) != len(theirs.time.seconds):
        return None
    return mine.time.ratio(theirs.time)
