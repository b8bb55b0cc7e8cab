"""What a simulation found: times, waiting, the bottleneck, traffic, lost work. Data only."""

from dataclasses import dataclass
from statistics import fmean, quantiles
from typing import final

from localgrad.planning.simulate_engine import Tally
from localgrad.planning.simulate_pipes import Wait
from localgrad.planning.simulate_schedule import Reduce, Schedule


@final
@dataclass(frozen=True)
class StageUse:
    """Shares of the run's time, averages over the replicas of a stage; what is left is filling, draining, restarts.

    ``busy``: computing, pauses included. ``starved``: waiting for a message. ``blocked``: waiting for room to hand one
    on. ``reducing``: in all-reduces, waiting for the slowest replica included.
    """

    stage: int
    busy: float
    starved: float
    blocked: float
    reducing: float


@final
@dataclass(frozen=True)
class LinkUse:
    """Traffic between two stages: bytes per mini-batch, all replicas together, and the share of the time it is busy."""

    source: int
    target: int
    bytes: int
    busy: float


@final
@dataclass(frozen=True)
class Simulation:
    """One simulated run.

    ``seconds_per_batch`` is the steady state: the mean time between two mini-batches done on all nodes, after the first
    quarter, without what losses cost. ``bound`` is the closed form, the busiest stage or link of an undisturbed run.
    ``percentiles`` are the 50th, 95th and 99th of the times between mini-batches, in seconds, losses included.
    ``reduced`` is what every node sends in all-reduces per mini-batch, in bytes, at most. ``lost_batches`` had to be
    done again; ``lost_seconds`` went to them and to restarts.
    """

    schedule: str
    nodes: int
    batches: int
    batch_size: int
    seconds: float
    seconds_per_batch: float
    bound: float
    percentiles: tuple[float, float, float]
    stages: tuple[StageUse, ...]
    links: tuple[LinkUse, ...]
    bottleneck: str
    reduced: int
    losses: int
    lost_batches: int
    lost_seconds: float

    @property
    def throughput(self) -> float:
        """Mini-batches per second over the whole run: filling, draining and losses included."""
        return self.batches / self.seconds

    @property
    def samples_per_second(self) -> float:
        """The same in samples."""
        return self.throughput * self.batch_size

    @property
    def utilisation(self) -> float:
        """Mean share of the time that nodes compute."""
        return fmean(stage.busy for stage in self.stages)


@final
@dataclass(frozen=True)
class Lost:
    """What losses cost so far."""

    count: int = 0
    batches: int = 0
    seconds: float = 0.0


def summarise(schedule: Schedule, tally: Tally, batch_size: int, lost: Lost) -> Simulation:
    """The figures of a finished run."""
    batches, seconds = len(tally.finish), tally.finish[-1]
    between = [later - earlier for earlier, later in zip((0.0, *tally.finish), tally.finish, strict=False)]
    again = set(tally.restarts)
    steady = [time for batch, time in enumerate(between) if batch > batches // 4 and batch not in again]
    cuts = quantiles(between, n=100, method="inclusive") if batches > 1 else between * 99
    stages = tuple(_stage_use(schedule, tally, stage) for stage in range(len(schedule.programs)))
    links = _link_uses(schedule, tally)
    return Simulation(
        schedule=schedule.name,
        nodes=schedule.nodes,
        batches=batches,
        batch_size=batch_size,
        seconds=seconds,
        seconds_per_batch=fmean(steady or between),
        bound=schedule.bound(),
        percentiles=(cuts[49], cuts[94], cuts[98]),
        stages=stages,
        links=links,
        bottleneck=_bottleneck(stages, links),
        reduced=max(sum(op.bytes for op in program if isinstance(op, Reduce)) for program in schedule.programs),
        losses=lost.count,
        lost_batches=lost.batches,
        lost_seconds=lost.seconds,
    )


def _stage_use(schedule: Schedule, tally: Tally, stage: int) -> StageUse:
    ranks, seconds = slice(stage * schedule.replicas, (stage + 1) * schedule.replicas), tally.finish[-1]

    def share(times: list[float]) -> float:
        return fmean(times[ranks]) / seconds if seconds else 0.0

    waits = tally.waits
    return StageUse(
        stage,
        share(tally.busy),
        share(waits[Wait.STARVED]),
        share(waits[Wait.BLOCKED]),
        share(waits[Wait.REDUCING]),
    )


def _link_uses(schedule: Schedule, tally: Tally) -> tuple[LinkUse, ...]:
    sizes: dict[tuple[int, int], float] = {}
    busy: dict[tuple[int, int], float] = {}
    replicas, seconds = schedule.replicas, tally.finish[-1]
    for place, channel in enumerate(schedule.channels):
        key = channel.source, channel.target
        size = channel.size * channel.messages * (replicas if channel.whole else 1)
        sizes[key] = sizes.get(key, 0.0) + size
        sent = fmean(tally.sending[place * replicas : (place + 1) * replicas])
        busy[key] = busy.get(key, 0.0) + (sent / seconds if seconds else 0.0)
    return tuple(LinkUse(*key, int(size), busy[key]) for key, size in sorted(sizes.items()))


def _bottleneck(stages: tuple[StageUse, ...], links: tuple[LinkUse, ...]) -> str:
    """What is in use for the largest part of the time."""
    stage = max(stages, key=lambda one: one.busy + one.reducing)
    link = max(links, key=lambda one: one.busy, default=None)
    if link is not None and link.busy > stage.busy + stage.reducing:
        return f"the link from stage {link.source} to stage {link.target}"
    if stage.reducing > stage.busy:
        return f"the all-reduces of stage {stage.stage}"
    return f"computing on stage {stage.stage}"
