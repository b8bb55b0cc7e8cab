"""What is drawn in a simulation: every node and channel has a random stream of its own, so that no draw of one depends
on when another is ready. A faster link then meets the same compute times as a slow one.
"""

from collections.abc import Iterator
from itertools import repeat
from math import inf, log, sqrt

import numpy as np

from localgrad.planning.simulate_conditions import Conditions, Losses

BLOCK = 64
NODES, MESSAGES, PAUSES, SLOW, LOSSES, REDUCES = range(6)


def stream(seed: int, kind: int, index: int = 0) -> np.random.Generator:
    """The random stream of one node or channel."""
    return np.random.default_rng([seed, kind, index])


def spread(variation: float, seed: int, kind: int, index: int) -> Iterator[float]:
    """Lognormal factors of mean 1 and this coefficient of variation; 1.0 for ever where it is 0."""
    return repeat(1.0) if variation == 0 else _lognormal(variation, stream(seed, kind, index))


def _lognormal(variation: float, draws: np.random.Generator) -> Iterator[float]:
    variance = log(1 + variation**2)
    while True:
        yield from draws.lognormal(-variance / 2, sqrt(variance), BLOCK).tolist()


def exponential(mean: float, draws: np.random.Generator) -> Iterator[float]:
    """Waiting times of this mean."""
    while True:
        yield from draws.exponential(mean, BLOCK).tolist()


def node_factors(conditions: Conditions, replicas: int, nodes: int) -> list[float]:
    """How many times as long each node computes, by rank, for the whole run: stragglers and the given slowdowns."""
    factors = [1.0] * nodes
    if conditions.stragglers is not None:
        count = round(conditions.stragglers.share * nodes)
        for rank in stream(conditions.seed, SLOW).permutation(nodes)[:count].tolist():
            factors[rank] *= conditions.stragglers.slowdown
    for stage, factor in conditions.stage_slowdowns:
        for rank in range(stage * replicas, (stage + 1) * replicas):
            factors[rank] *= factor
    for rank, factor in conditions.node_slowdowns:
        factors[rank] *= factor
    return factors


def next_loss(losses: Losses | None, now: float, nodes: int, draws: np.random.Generator) -> float:
    """When the first node dies after ``now``: any of them, so ``nodes`` times as often as one."""
    if losses is None:
        return inf
    if losses.every is not None:
        return now + float(draws.exponential(losses.every / nodes))
    return next((time for time in losses.times if time > now), inf)
