"""Simulate a plan: what unequal speeds, slow links, stragglers and losses make of it, on as many nodes as one likes.

Discrete events, fed with the plan's unit times; the same engine runs what local learning competes with.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import final

from localgrad.errors import LocalgradError
from localgrad.planning.plan import Plan
from localgrad.planning.simulate_chance import (
    LOSSES,
    MESSAGES,
    NODES,
    PAUSES,
    REDUCES,
    exponential,
    next_loss,
    node_factors,
    spread,
    stream,
)
from localgrad.planning.simulate_conditions import Conditions
from localgrad.planning.simulate_engine import Chances, Engine, Tally
from localgrad.planning.simulate_local import local_schedule
from localgrad.planning.simulate_result import Lost, Simulation, summarise
from localgrad.planning.simulate_rivals import ddp_schedule, pipeline_schedule
from localgrad.planning.simulate_schedule import Save, Schedule

EVENTS = 4_000_000
"""Of a 1F1B pipeline: some 15 s."""
PATIENCE = 100
"""Losses in a row without a new checkpoint, after which a run is said to get nowhere."""


@final
class NowhereError(LocalgradError):
    """Nodes are lost faster than a checkpoint is made."""


@final
@dataclass(frozen=True)
class Nowhere:
    """A run that never makes a checkpoint, because nodes are lost too often."""

    schedule: str


@final
@dataclass(frozen=True)
class Rivals:
    """The same plan's nodes under the same conditions, and one device of speed 1 trained end to end, undisturbed."""

    local: Simulation
    pipeline: Simulation | Nowhere
    ddp: Simulation | Nowhere
    one_device: float
    """Seconds per mini-batch."""


def simulate(plan: Plan, conditions: Conditions | None = None) -> Simulation:
    """The plan's run with local learning.

    Raises LocalgradError for conditions that do not fit the plan, when losses come faster than checkpoints, and when
    the stages wait for each other in a circle.
    """
    conditions = conditions or Conditions()
    check(plan, conditions)
    return run_schedule(local_schedule(plan, conditions), plan.batch_size, conditions)


def simulate_pipeline(plan: Plan, conditions: Conditions | None = None, microbatches: int = 8) -> Simulation:
    """The same network under backpropagation in a 1F1B pipeline on the same nodes; errors as for ``simulate``."""
    conditions = conditions or Conditions()
    check(plan, conditions)
    return run_schedule(pipeline_schedule(plan, conditions, microbatches), plan.batch_size, conditions)


def simulate_ddp(plan: Plan, conditions: Conditions | None = None) -> Simulation:
    """The same network under data parallel backpropagation on the same nodes; errors as for ``simulate``."""
    conditions = conditions or Conditions()
    check(plan, conditions)
    return run_schedule(ddp_schedule(plan, conditions), plan.batch_size, conditions)


def simulate_rivals(
    plan: Plan, conditions: Conditions | None = None, microbatches: int = 8, *, events: int = EVENTS
) -> Rivals:
    """All three side by side; errors as for ``simulate``, but the other two may get nowhere.

    1F1B has many more events per mini-batch than the others: it runs as many mini-batches as fit into ``events``, but
    no fewer than 20.
    """
    conditions = conditions or Conditions()
    each = 5 * microbatches * plan.placement.ranks
    fewer = replace(conditions, batches=min(conditions.batches, max(20, events // max(1, each))))
    return Rivals(
        simulate(plan, conditions),
        _tried(pipeline_schedule(plan, conditions, microbatches), plan.batch_size, fewer),
        _tried(ddp_schedule(plan, conditions), plan.batch_size, conditions),
        plan.backprop_seconds,
    )


def _tried(schedule: Schedule, batch_size: int, conditions: Conditions) -> Simulation | Nowhere:
    try:
        return run_schedule(schedule, batch_size, conditions)
    except NowhereError:
        return Nowhere(schedule.name)


def check(plan: Plan, conditions: Conditions) -> None:
    """Raise LocalgradError, with all problems, where conditions name what the plan does not have."""
    if problems := list(_problems(plan, conditions)):
        raise LocalgradError("simulate: " + " ".join(problems))


def _problems(plan: Plan, conditions: Conditions) -> Iterator[str]:
    placement, stages = plan.placement, plan.placement.stages
    if len(plan.speeds) != stages:
        yield f"the plan has {stages} stages and speeds of {len(plan.speeds)}; it needs one speed per stage."
    if not all(speed > 0 for speed in plan.speeds):
        yield f"speeds must be above 0, got {list(plan.speeds)}."
    if not all(cost.seconds >= 0 for cost in plan.costs) or not sum(cost.seconds for cost in plan.costs) > 0:
        yield "the plan's units have no time: seconds must be 0 or more, not all 0."
    if placement.replicas > plan.batch_size:
        yield f"{placement.replicas} replicas cannot share mini-batches of {plan.batch_size} samples."
    shares = conditions.forward_share
    if isinstance(shares, tuple) and len(shares) != len(plan.costs):
        yield f"forward_share has {len(shares)} numbers, the plan has {len(plan.costs)} units."
    for stage, _ in conditions.stage_slowdowns:
        if stage >= stages:
            yield f"stage_slowdowns name stage {stage}, the plan has stages 0 to {stages - 1}."
    for rank, _ in conditions.node_slowdowns:
        if rank >= placement.ranks:
            yield f"node_slowdowns name rank {rank}, the plan has ranks 0 to {placement.ranks - 1}."
    for source, target, _ in conditions.links:
        if not (0 <= source < stages and 0 <= target < stages and source != target):
            yield f"links name stages {source} and {target}, the plan has stages 0 to {stages - 1}."


def run_schedule(schedule: Schedule, batch_size: int, conditions: Conditions) -> Simulation:
    """Run a schedule under these conditions, back to the last complete checkpoint after every loss."""
    losses, batches = conditions.losses, conditions.batches
    if losses is not None and losses.checkpoint_seconds > 0:
        save = Save(losses.checkpoint_seconds, losses.checkpoint_every)
        schedule = replace(schedule, programs=tuple((*program, save) for program in schedule.programs))
    factors = node_factors(conditions, schedule.replicas, schedule.nodes)
    chances, tally = _chances(schedule, conditions), Tally.empty(schedule, batches)
    draws, lost, first, now, tries = stream(conditions.seed, LOSSES), Lost(), 0, 0.0, 0
    while True:
        loss = next_loss(losses, now, schedule.nodes, draws)
        engine = Engine(schedule, factors, chances, tally, first=first, batches=batches, now=now)
        if engine.run(loss):
            return summarise(schedule, tally, batch_size, lost)
        assert losses is not None
        saved = max(first, engine.complete // losses.checkpoint_every * losses.checkpoint_every)
        since = now if saved == first else tally.finish[saved - 1]
        tries = tries + 1 if saved == first else 1
        if tries == PATIENCE:
            raise _nowhere(schedule, conditions, loss - now, saved)
        now = loss + losses.restart
        lost = Lost(lost.count + 1, lost.batches + engine.complete - saved, lost.seconds + now - since)
        first = saved
        tally.restarts.append(first)


def _chances(schedule: Schedule, conditions: Conditions) -> Chances:
    seed, pauses = conditions.seed, conditions.pauses
    nodes, pipes = range(schedule.nodes), range(len(schedule.channels) * schedule.replicas)
    return Chances(
        [spread(conditions.jitter, seed, NODES, rank) for rank in nodes],
        [spread(conditions.link_jitter, seed, MESSAGES, pipe) for pipe in pipes],
        [spread(conditions.link_jitter, seed, REDUCES, stage) for stage in range(len(schedule.programs))],
        [] if pauses is None else [exponential(pauses.every, stream(seed, PAUSES, rank)) for rank in nodes],
        0.0 if pauses is None else pauses.seconds,
    )


def _nowhere(schedule: Schedule, conditions: Conditions, lived: float, saved: int) -> NowhereError:
    losses = conditions.losses
    assert losses is not None
    often = f"every {losses.every / schedule.nodes:.3g} s" if losses.every else f"{lived:.3g} s after a start"
    step = schedule.bound()
    return NowhereError(
        f"simulate: {schedule.name} on {schedule.nodes} nodes gets nowhere: mini-batch {saved} was started {PATIENCE} "
        f"times, and each time a node was lost before checkpoint {saved + losses.checkpoint_every} was complete. A "
        f"node is lost {often}; {losses.checkpoint_every} mini-batches take at least "
        f"{losses.checkpoint_every * step:.3g} s. Save more often (checkpoint_every), or take fewer nodes."
    )
