"""A simulation in words and columns, at most 100 columns wide."""

from collections.abc import Iterator
from textwrap import TextWrapper

from localgrad.placement import Kind
from localgrad.planning.plan import Plan
from localgrad.planning.simulate import Nowhere, Rivals
from localgrad.planning.simulate_conditions import Conditions
from localgrad.planning.simulate_result import Simulation
from localgrad.planning.simulate_words import in_words

WIDTH = 100
wrap = TextWrapper(WIDTH, break_on_hyphens=False).wrap
MOST = 16
"""Stages and links that are shown; of more, those most in use."""


def simulation_told(plan: Plan, conditions: Conditions, found: Simulation, rivals: Rivals | None = None) -> str:
    """What was simulated, what came of it, and what others would do on the same nodes."""
    parts = [_title(plan, conditions), _result(found, plan), _stages(found), _links(found)]
    if rivals is not None:
        parts.insert(1, _rivals(rivals))
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part)))


def _title(plan: Plan, conditions: Conditions) -> Iterator[str]:
    placement = plan.placement
    replicas = f", each of {placement.replicas} replicas" if placement.replicas > 1 else ""
    yield from wrap(
        f"simulation of {plan.recipe}: {plan.network}, {plan.method}, batch {plan.batch_size}, {conditions.batches} "
        f"mini-batches on {placement.ranks} nodes: {placement.stages} stages{replicas}",
    )
    yield from wrap(
        "unit times: measured on this plan's machine, one thread"
        if plan.measured
        else "unit times: not measured, proportional to MACs at "
        f"{plan.backprop_macs / plan.backprop_seconds / 1e9:.3g}e9 per second, an assumption; --measure times them",
    )
    yield from wrap("conditions: " + "; ".join(_conditions(plan, conditions)))


def _conditions(plan: Plan, conditions: Conditions) -> Iterator[str]:
    yield f"links {_rate(plan.link.bytes_per_second)}, latency {in_words(plan.link.latency)}"
    if conditions.replica_link is not None and plan.placement.replicas > 1:
        link = conditions.replica_link
        yield f"between replicas {_rate(link.bytes_per_second)}, latency {in_words(link.latency)}"
    slow = sum(speed != 1 for speed in plan.speeds)
    if slow:
        yield f"{slow} of {len(plan.speeds)} stages on devices of another speed than 1"
    if any(one.kind is Kind.WEIGHTS for one in plan.transfers):
        yield (
            "copies wait for the weights of later blocks, which the runtime refuses: give --ema-delay"
            if conditions.ema_delay is None
            else f"copies follow weights of later blocks {conditions.ema_delay} steps late"
        )
    if conditions.jitter:
        yield f"compute times spread by {conditions.jitter:.0%}"
    if conditions.link_jitter:
        yield f"messages by {conditions.link_jitter:.0%}"
    if (late := conditions.stragglers) is not None:
        count = round(late.share * plan.placement.ranks)
        yield f"{count} of {plan.placement.ranks} nodes take {late.slowdown:g} times as long"
    if (stops := conditions.pauses) is not None:
        yield f"a node pauses {in_words(stops.seconds)} after {in_words(stops.every)} of computing"
    if (lost := conditions.losses) is not None:
        often = f"every {in_words(lost.every)}" if lost.every is not None else f"at {len(lost.times)} given times"
        saved = f" (takes {in_words(lost.checkpoint_seconds)})" if lost.checkpoint_seconds else ""
        yield (
            f"a node is lost {often}, restart {in_words(lost.restart)}, checkpoint every {lost.checkpoint_every} "
            f"steps{saved}"
        )
    yield f"queues of {conditions.depth}; seed {conditions.seed}"


def _rivals(found: Rivals) -> Iterator[str]:
    yield f"{'':<34} {'per mini-batch':>14} {'samples/s':>10} {'computing':>9} {'lost':>6} {'to local':>8}"
    local = found.local.seconds / found.local.batches
    brief = False
    for one in (found.local, found.pipeline, found.ddp):
        if isinstance(one, Nowhere):
            yield f"{one.schedule:<34} {'never':>14} {0:>10} {'':>9} {'all':>6} {0:>8.2f}"
            continue
        each, against, lost, name = one.seconds / one.batches, local, one.lost_seconds / one.seconds, one.schedule
        steady = one.batches < found.local.batches
        if steady:
            # Too few mini-batches for a fair share of losses and of filling: both in the steady state, without them.
            brief, name = True, f"{name} ({one.batches} only) *"
            each, against = one.seconds_per_batch, found.local.seconds_per_batch
        yield (
            f"{name:<34} {in_words(each):>14} {one.batch_size / each:>10.4g} {one.utilisation:>9.1%} "
            f"{'' if steady else f'{lost:.1%}':>6} {against / each:>8.2f}"
        )
    rate = found.local.batch_size / found.one_device
    name = "one device of speed 1, undisturbed"
    yield f"{name:<34} {in_words(found.one_device):>14} {rate:>10.4g} {'':>9} {'':>6} {local / found.one_device:>8.2f}"
    yield from wrap(
        "to local: how many times as fast as local learning. 1F1B and data parallel are backpropagation on the same "
        "nodes, ideally balanced; small micro-batches cost no more per sample. never: nodes are lost faster than a "
        "checkpoint is made." + " *: steady states without losses, to save time." * brief,
    )


def _result(found: Simulation, plan: Plan) -> Iterator[str]:
    each = found.seconds_per_batch
    yield from wrap(
        f"local learning: {in_words(found.seconds)} for {found.batches} mini-batches, {found.samples_per_second:.4g} "
        f"samples/s. In the steady state {in_words(each)} per mini-batch; the busiest stage or link alone would take "
        f"{in_words(found.bound)}" + (f", {each / found.bound - 1:.1%} less." if each > 1.0005 * found.bound else "."),
    )
    middle, most, rare = map(in_words, found.percentiles)
    yield f"between two mini-batches: half of the times below {middle}, 95% below {most}, 99% below {rare}"
    yield f"most in use: {found.bottleneck}"
    if found.reduced:
        yield f"each replica sends {found.reduced / 1e6:.4g} MB per mini-batch to add up gradients"
    if plan.placement.replicas > 1 and not any(cost.parameters for cost in plan.costs):
        yield "the plan has no parameter counts: adding up gradients takes no time here"
    if found.losses:
        yield (
            f"{found.losses} losses: {found.lost_batches} mini-batches done again, {in_words(found.lost_seconds)} lost "
            f"with restarts ({found.lost_seconds / found.seconds:.1%} of the time)"
        )


def _stages(found: Simulation) -> Iterator[str]:
    yield f"{'stage':>7} {'computing':>9} {'starved':>8} {'blocked':>8} {'replicas':>8}   share of the time"
    shown = sorted(sorted(found.stages, key=lambda one: -one.busy)[:MOST], key=lambda one: one.stage)
    for one in shown:
        yield f"{one.stage:>7} {one.busy:>9.1%} {one.starved:>8.1%} {one.blocked:>8.1%} {one.reducing:>8.1%}"
    if len(shown) < len(found.stages):
        yield f"{'...':>7} the {MOST} that compute most of {len(found.stages)}"


def _links(found: Simulation) -> Iterator[str]:
    if not found.links:
        return
    yield f"{'link':>11} {'MB/batch':>10} {'in use':>7}"
    shown = sorted(sorted(found.links, key=lambda one: -one.busy)[:MOST], key=lambda one: (one.source, one.target))
    for one in shown:
        yield f"{f'{one.source} -> {one.target}':>11} {one.bytes / 1e6:>10.4g} {one.busy:>7.1%}"
    if len(shown) < len(found.links):
        yield f"{'...':>11} the {MOST} most in use of {len(found.links)}"


def _rate(bytes_per_second: float) -> str:
    bits = 8 * bytes_per_second
    for unit, size in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if bits >= size:
            return f"{bits / size:g} {unit}"
    return f"{bits:g} bit/s"
