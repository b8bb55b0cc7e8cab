"""What ``parallel.py`` found, as Markdown: rows next to their bounds, units, predictions."""

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from statistics import median, quantiles
from typing import final

import torch
from parallel_ranks import Burst, Row, Settings

import localgrad as lg
from localgrad.placement import Placement, Transfer, Wire, transfers
from localgrad.planning import Plan, UnitCost, predict
from localgrad.planning.links import SAME_MACHINE
from localgrad.planning.simulate import simulate
from localgrad.planning.simulate_conditions import Conditions

TARGET, WITHIN = 0.9, 0.15
BATCHES = 200
"""That are simulated."""


@final
@dataclass(frozen=True)
class Round:
    """Bursts of every process by row in one round (ALONE and SEQUENTIAL: each with the others idle).

    ``loopback``: bytes per mini-batch that the machine sent to itself meanwhile, where the system says so.
    """

    bursts: dict[Row, tuple[Burst, ...]]
    loopback: dict[Row, float]
    steps: int

    def seconds(self, row: Row) -> float:
        """Per mini-batch. The last stage is the last to be done with it in local learning, in 1F1B the first."""
        return self.bursts[row][-1 if row is Row.LOCAL else 0].seconds(self.steps)

    def slowest(self, row: Row) -> float:
        """Seconds of the slowest unit's step."""
        return max(burst.seconds(self.steps) for burst in self.bursts[row])

    @property
    def fill(self) -> float:
        """Seconds until the last stage has done the first mini-batch."""
        return self.bursts[Row.LOCAL][-1].ends[0] - self.bursts[Row.LOCAL][0].start

    @property
    def whole(self) -> float:
        """Seconds per mini-batch of all of a turn, from an empty pipeline to an empty one."""
        last = self.bursts[Row.LOCAL][-1]
        return (last.ends[-1] - self.bursts[Row.LOCAL][0].start) / len(last.ends)


@final
class Report:
    """All tables of one run."""

    def __init__(self, settings: Settings, rounds: Sequence[Round], load: float) -> None:
        self.settings, self.rounds, self.load = settings, rounds, load
        with torch.device("meta"):
            net = settings.network()
        self.names = [unit.name for unit in net.unit_list()]
        self.origin = settings.partition().origin
        self.placement = Placement(tuple(range(settings.processes)))
        self.channels = transfers(net, self.placement)
        whole = lg.localize(lg.backbones.resnet32(), lg.methods.Backprop())
        self.weights = 4 * sum(parameter.numel() for parameter in whole.parameters())
        self.base = [one.seconds(Row.SEQUENTIAL) for one in rounds]
        self.alone = [one.slowest(Row.ALONE) for one in rounds]
        self.busy = [one.slowest(Row.BUSY) for one in rounds]
        self.local = [one.seconds(Row.LOCAL) for one in rounds]

    def text(self) -> str:
        """The whole report."""
        reached, with_busy = ratio(self.alone, self.local), ratio(self.busy, self.local)
        fill, whole = median(one.fill for one in self.rounds), median(one.whole for one in self.rounds)
        count = len(self.rounds[0].bursts[Row.LOCAL][0].ends)
        parts = [
            "# One network in many processes: local learning, 1F1B, DDP",
            self._conditions(),
            "\n".join(self._rows()),
            f"Target, at least {TARGET} of the bound in the steady state: {reached:.3f}, "
            f"{'met' if reached >= TARGET else 'MISSED'} ({with_busy:.3f} of what units do while all are busy). "
            f"Filling the pipeline takes {1e3 * fill:.0f} ms; a turn of {count} mini-batches, fill and drain included, "
            f"{1e3 * whole:.1f} ms per mini-batch.",
            "Bytes: those of local learning are counted by its channels (labels included); 1F1B's follow from the "
            "shapes at the borders, outputs forward and as many gradients backward; DDP's are 2 (N-1)/N times the "
            f"gradients ({self.weights / 1e6:.2f} MB) per process, a ring. The loopback's are what the system counted, "
            "headers and whatever else the machine did included. 1F1B normalises (BatchNorm) each microbatch by "
            "itself, DDP the rows of each process: neither is the network that backpropagation trains; local learning "
            "computes exactly what one process does.",
            "\n".join(self._units()),
            "\n".join(self._predictions()),
        ]
        return "\n\n".join(parts) + "\n"

    def _conditions(self) -> str:
        given, cores = self.settings, os.cpu_count() or 1
        crowded = f" There are only {cores} cores for {given.processes} processes: the bound is out of reach."
        return (
            f"ResNet-32, {given.method}, K={given.processes} (cut: {self.origin}), mini-batches of {given.batch} "
            "samples (of all processes together, in every row), SGD with Nesterov momentum (fused), float32, "
            f"{'channels_last' if given.channels_last else 'contiguous'}, {len(self.rounds)} interleaved rounds of "
            f"{self.rounds[0].steps} steps, {given.microbatches} microbatches in 1F1B; {given.processes} processes of "
            f"one thread, gloo; {platform.machine()} CPU, {cores} cores, load before the start {self.load:.1f}, torch "
            f"{torch.__version__}, localgrad {lg.__version__}, {date.today().isoformat()}; freed memory stays with the "
            f"processes; random images.{crowded if given.processes > cores else ''} Command: `python "
            f"{' '.join(sys.argv)}`."
        )

    def _rows(self) -> Iterator[str]:
        yield (
            "| row | ms per mini-batch, median (quartiles) | speed-up | share of the bound | share, all busy "
            "| CPU ms, busiest process | MB sent, all (most by one) | MB on the loopback |"
        )
        yield "|---|---|---|---|---|---|---|---|"
        bounds = {"bound: slowest unit, the others idle": self.alone, "slowest unit, all busy": self.busy}
        for name, seconds in bounds.items():
            yield f"| {name} | {spread(seconds)} | {ratio(self.base, seconds):.2f} | {shares(self, seconds)} |  |  |  |"
        sent = self._traffic()
        for row in (Row.SEQUENTIAL, Row.LOCAL, Row.PIPELINE, Row.DDP):
            seconds = [one.seconds(row) for one in self.rounds]
            cpu = median(max(burst.cpu for burst in one.bursts[row]) for one in self.rounds)
            total, most = sent[row]
            found = [one.loopback[row] for one in self.rounds if row in one.loopback]
            yield (
                f"| {row} | {spread(seconds)} | {ratio(self.base, seconds):.2f} | {shares(self, seconds)} "
                f"| {1e3 * cpu:.1f} | {total / 1e6:.2f} ({most / 1e6:.2f}) | "
                f"{f'{median(found) / 1e6:.2f}' if found else ''} |"
            )

    def _traffic(self) -> dict[Row, tuple[float, float]]:
        """Bytes sent per mini-batch by all processes, and by the one that sends most."""
        count, rows = self.settings.processes, self.settings.batch
        local = [median(one.bursts[Row.LOCAL][rank].sent for one in self.rounds) for rank in range(count)]
        plain = [Transfer(t.kind, t.unit, t.source, t.target, t.shape).bytes(rows) for t in self.channels]
        borders = [0, *plain, 0]
        stages = [below + above for below, above in pairwise(borders)]
        ring = 2 * (count - 1) / count * self.weights
        return {
            Row.SEQUENTIAL: (0, 0),
            Row.LOCAL: (sum(local), max(local)),
            Row.PIPELINE: (sum(stages), max(stages)),
            Row.DDP: (count * ring, ring),
        }

    def _units(self) -> Iterator[str]:
        yield "| unit | ms, the others idle | ms, all busy | CPU ms: alone, all busy, in the run | handed on at |"
        yield "|---|---|---|---|---|"
        for place, name in enumerate(self.names):
            bursts = {row: [one.bursts[row][place] for one in self.rounds] for row in (Row.ALONE, Row.BUSY, Row.LOCAL)}
            times = [spread([b.seconds(self.rounds[0].steps) for b in bursts[row]]) for row in (Row.ALONE, Row.BUSY)]
            cpu = ", ".join(f"{1e3 * median(burst.cpu for burst in own):.1f}" for own in bursts.values())
            handed = median(burst.forward for burst in bursts[Row.ALONE])
            yield f"| {place} {name} | {times[0]} | {times[1]} | {cpu} | {handed:.0%} |"

    def _predictions(self) -> Iterator[str]:
        """What the planner makes of measured unit times, round by round; of 1F1B and DDP it predicts an ideal."""
        yield (
            f"| predicted from | predict, ms | measured / predicted | simulate, ms | measured / simulated | within "
            f"{WITHIN:.0%} |"
        )
        yield "|---|---|---|---|---|---|"
        for row, told in ((Row.ALONE, "units' times, the others idle"), (Row.BUSY, "units' times, all busy")):
            plans = [self._plan(one, row) for one in self.rounds]
            predicted = [predict(plan).seconds for plan in plans]
            simulated = [simulate(plan, Conditions(batches=BATCHES)).seconds_per_batch for plan in plans]
            ratios = [ratio(self.local, predicted), ratio(self.local, simulated)]
            met = all(abs(one - 1) <= WITHIN for one in ratios)
            yield (
                f"| {told} | {1e3 * median(predicted):.1f} | {ratios[0]:.3f} | {1e3 * median(simulated):.1f} "
                f"| {ratios[1]:.3f} | {'met' if met else 'MISSED'} |"
            )

    def _plan(self, one: Round, row: Row) -> Plan:
        """The plan that ran, with the unit times of a round."""
        costs = tuple(
            UnitCost(name, place, 0, 0, burst.seconds(one.steps), 0, forward=own.forward)
            for place, (name, burst, own) in enumerate(
                zip(self.names, one.bursts[row], one.bursts[Row.ALONE], strict=True)
            )
        )
        return Plan(
            recipe="benchmark",
            network="resnet32",
            method=self.settings.method,
            batch_size=self.settings.batch,
            placement=self.placement,
            costs=costs,
            transfers=self.channels,
            speeds=(1.0,) * self.settings.processes,
            link=SAME_MACHINE,
            wire=Wire.FLOAT32,
            measured=True,
            backprop_seconds=one.seconds(Row.SEQUENTIAL),
            backprop_macs=0,
        )


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median over the rounds of the ratio of a round."""
    return median(one / other for one, other in zip(above, below, strict=True))


def shares(report: Report, seconds: Sequence[float]) -> str:
    """How much of both bounds a row reaches."""
    return f"{ratio(report.alone, seconds):.3f} | {ratio(report.busy, seconds):.3f}"


def spread(seconds: Sequence[float]) -> str:
    """Median and quartiles in milliseconds."""
    low, _, high = quantiles(seconds, n=4, method="inclusive")
    return f"{1e3 * median(seconds):.1f} ({1e3 * low:.1f}-{1e3 * high:.1f})"
