"""A plan and its prediction in words, at most 100 columns wide."""

from collections.abc import Iterator
from textwrap import wrap

from localgrad.placement import Kind, Transfer
from localgrad.planning.balance import in_bytes
from localgrad.planning.plan import Plan
from localgrad.planning.predict import Prediction

WIDTH = 100
_KINDS = {
    Kind.OUTPUT: "output",
    Kind.FEATURES: "features",
    Kind.LOGITS: "logits",
    Kind.COTANGENT: "gradients at the output",
    Kind.WEIGHTS: "weights",
}


def told(plan: Plan, found: Prediction) -> str:
    """Who hosts what, what is sent, what to expect, and the break-even with a pipeline of backpropagation."""
    parts = (
        _title(plan),
        _hosting(plan, found),
        _sending(plan, found),
        _expected(plan, found),
        _break_even(plan, found),
    )
    return "\n\n".join("\n".join(part) for part in parts)


def _title(plan: Plan) -> Iterator[str]:
    placement = plan.placement
    ranks = f"{placement.ranks} ranks" + (
        f": {placement.stages} stages of {placement.replicas} replicas" if placement.replicas > 1 else ""
    )
    yield f"plan of {plan.recipe}: {plan.network}, {plan.method}, batch {plan.batch_size}, on {ranks}"
    link = plan.link
    speeds = dict.fromkeys(plan.speeds)
    kinds = ", ".join(
        f"{placement.replicas * plan.speeds.count(speed)} of speed {speed:g}" for speed in sorted(speeds, reverse=True)
    )
    yield f"links: {link.bytes_per_second * 8 / 1e9:g} Gbit/s, {link.latency * 1e3:g} ms, {plan.wire}; devices: {kinds}"
    yield (
        "seconds: medians of steps measured on this machine, one thread"
        if plan.measured
        else f"seconds: {plan.backprop_macs / plan.backprop_seconds / 1e9:.3g}e9 MACs per second at speed 1, assumed; "
        "--measure times the units here"
    )
    if plan.memory_limit is not None:
        yield f"memory limit: {in_bytes(plan.memory_limit)} per rank"


def _hosting(plan: Plan, found: Prediction) -> Iterator[str]:
    yield f"{'rank':>7} {'speed':>6} {'GMACs':>9} {'ms/batch':>9} {'memory':>11}  units"
    placement = plan.placement
    for stage, seconds in enumerate(found.stages):
        own = placement.units_of(stage)
        ranks = placement.ranks_of(stage)
        rank = f"{ranks[0]}-{ranks[-1]}" if len(ranks) > 1 else str(ranks[0])
        macs = sum(plan.costs[place].macs for place in own) / 1e9
        head = (
            f"{rank:>7} {plan.speeds[stage]:>6g} {macs:>9.3f} {seconds * 1e3:>9.2f} "
            f"{in_bytes(found.memory[stage], up=True):>11}  "
        )
        yield from _hanging(head, ", ".join(f"{place} {plan.costs[place].name}" for place in own))


def _sending(plan: Plan, found: Prediction) -> Iterator[str]:
    if not plan.transfers:
        yield "Nothing is sent: one stage hosts all units."
        return
    replicas = plan.placement.replicas
    yield f"{'stages':>9} {'MB/batch':>9}  sends" + (
        f" (each of {replicas} replicas its share)" if replicas > 1 else ""
    )
    for transfer in plan.transfers:
        size = transfer.bytes(plan.batch_size, plan.wire) / 1e6
        head = f"{f'{transfer.source} -> {transfer.target}':>9} {size:>9.3f}  "
        yield from _hanging(head, _what(plan, transfer))
    total = sum(border.bytes for border in found.borders)
    yield f"{'all':>9} {total / 1e6:>9.3f}  per mini-batch; DDP on as many ranks would send {found.ddp_bytes / 1e6:.3f}"


def _what(plan: Plan, transfer: Transfer) -> str:
    count = f"{transfer.count} x " if transfer.count > 1 else ""
    shape = "x".join(map(str, transfer.shape))
    extras = {"y": "labels", "image": "images"}
    more = "".join(f", {extras[name]}" for name in transfer.extras)
    back = " (backward)" if transfer.backward else ""
    name = plan.costs[transfer.unit].name
    return f"{count}{_KINDS[transfer.kind]} of unit {transfer.unit} {name}, {shape}{more}{back}"


def _expected(plan: Plan, found: Prediction) -> Iterator[str]:
    stages, ranks = len(found.stages), plan.placement.ranks
    yield from wrap(
        f"time per mini-batch {in_time(found.seconds)}, {plan.batch_size / found.seconds:.0f} samples/s: "
        f"{_limit(plan, found)}",
        WIDTH,
    )
    yield f"filling the pipeline {in_time(found.fill)}, once per epoch; nothing is flushed between mini-batches"
    device = "one device" if len(set(plan.speeds)) == 1 else "the fastest device alone"
    micro = f"{found.micro_batches} micro-batch{'es' if found.micro_batches > 1 else ''}"
    rows = [(f"backpropagation on {device}", found.backprop)]
    if ranks > 1:
        if stages > 1:
            rows.append((f"ideal 1F1B pipeline, {stages} stages, {micro}", found.pipeline))
        rows.append((f"DDP on {ranks} devices, the same links", found.ddp))
    yield "compared with"
    for name, seconds in rows:
        yield f"  {name:<52} {in_time(seconds):>10}   speed-up {found.faster_than(seconds):.2f}"


def _limit(plan: Plan, found: Prediction) -> str:
    stages = found.bottleneck.stages
    match found.bottleneck.kind:
        case "stage":
            return f"stage {stages[0]} computes all the time"
        case "link":
            return f"the link from stage {stages[0]} to {stages[1]} is busy all the time"
    cascades = any(reach > 1 for unit in plan.costs for reach in unit.reaches)
    why = "cascades come down before a unit goes on" if cascades else "they wait for what the others send"
    return f"stages {', '.join(map(str, stages))} take turns: {why}"


def _break_even(plan: Plan, found: Prediction) -> Iterator[str]:
    stages, overhead = len(found.stages), found.overhead
    if stages == 1:
        yield "break-even: with one stage there is no pipeline to compare with."
        return
    more = "more" if overhead >= 0 else "less"
    micro = found.micro_batches
    yield from wrap(
        f"break-even: the units do {abs(overhead):.1%} {more} work than backpropagation (a = {overhead:.3f}). {stages} "
        f"equal stages would be K/(1+a) = {stages / (1 + overhead):.2f} times as fast as one device; a 1F1B pipeline "
        f"stands idle for {(stages - 1) / (micro + stages - 1):.1%} of the time with {micro} micro-batches. Local "
        f"learning is the faster one as long as a is below (K-1)/m = {found.break_even:.3f}: "
        f"{_verdict(found)}",
        WIDTH,
    )
    if any(transfer.kind is Kind.WEIGHTS for transfer in plan.transfers):
        yield from wrap(
            "Auxiliary networks follow weights of later stages: exact only with one mini-batch in flight; the times "
            "above are those of weights that come late (ema_delay).",
            WIDTH,
        )


def _verdict(found: Prediction) -> str:
    below = found.overhead < found.break_even
    faster = found.seconds < found.pipeline
    said = "it is." if below else "it is not."
    if below and not faster:
        return f"{said} This plan is slower all the same, because its stages are not equal or wait."
    if faster and not below:
        return f"{said} This plan is faster all the same, because its stages are not all busy with the same work."
    if found.overhead > 0 and below:
        even = (len(found.stages) - 1) / found.overhead
        return f"{said} With {even:.0f} micro-batches a pipeline would be as fast as equal stages."
    return said


def _hanging(head: str, text: str) -> list[str]:
    """``head`` and a text beside it, over as many lines as it takes."""
    lines = wrap(text, WIDTH - len(head)) or [""]
    return [head + lines[0], *(" " * len(head) + line for line in lines[1:])]


def in_time(seconds: float) -> str:
    """A time for people."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} us"
