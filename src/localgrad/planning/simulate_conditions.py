"""The world that a simulated run meets: spread of compute times, slow nodes, pauses, losses, links. Data only."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import final

from localgrad.errors import LocalgradError
from localgrad.planning.plan import Link, UnitCost

FORWARD_SHARE = 1 / 3
"""Of a step of backpropagation: a backward pass costs about two forward passes."""
LOOK_SHARE = 1 / 3
"""Of what follows the body's forward pass: an auxiliary network's own forward pass."""


@final
@dataclass(frozen=True)
class Stragglers:
    """``share`` of the nodes, drawn at random, compute ``slowdown`` times as long, for the whole run."""

    share: float
    slowdown: float


@final
@dataclass(frozen=True)
class Pauses:
    """Every node stops for ``seconds`` now and then, on average after ``every`` seconds of computing."""

    every: float
    seconds: float


@final
@dataclass(frozen=True)
class Losses:
    """Nodes that die; then the whole run goes back to the last complete checkpoint, as the real runtime does.

    ``every`` is the mean time in seconds between two losses of one node (exponential), or ``times`` are the moments of
    all losses. A restart takes ``restart`` seconds; what dies meanwhile is part of it. Every node saves when it has
    done a multiple of ``checkpoint_every`` steps, which takes it ``checkpoint_seconds``; a checkpoint is complete when
    all nodes have saved.
    """

    every: float | None = None
    times: tuple[float, ...] = ()
    restart: float = 60.0
    checkpoint_every: int = 100
    checkpoint_seconds: float = 0.0


@final
@dataclass(frozen=True)
class Conditions:
    """What is simulated, beside the plan. Raises LocalgradError, with all that is wrong, for what cannot be.

    ``batches`` is how many mini-batches run. ``depth`` is that of the queues at both ends of a channel. A unit's
    seconds are divided into the body's forward pass, after which its output is handed on, and the rest:
    ``forward_share`` is one number, or one per unit, in place of ``UnitCost.forward``. ``look_share`` is what of the
    rest the forward pass of auxiliary networks takes, where groups of a span exchange logits after it.

    ``jitter`` is the coefficient of variation of a node's compute time from one mini-batch to the next (lognormal,
    mean 1), ``link_jitter`` that of messages. Auxiliary networks that follow blocks of other stages wait for their
    weights, or with ``ema_delay`` take those of so many steps ago (``DistributedSpec.ema_delay``).

    ``stage_slowdowns`` and ``node_slowdowns`` are pairs (stage or rank, factor); ``links`` triples (source stage,
    target stage, Link) in place of the plan's link; ``replica_link`` carries the all-reduces, by default the plan's
    link. ``seed``: everything drawn is a function of it.
    """

    batches: int = 1000
    depth: int = 2
    forward_share: float | tuple[float, ...] | None = None
    look_share: float = LOOK_SHARE
    ema_delay: int | None = None
    jitter: float = 0.0
    link_jitter: float = 0.0
    stragglers: Stragglers | None = None
    pauses: Pauses | None = None
    losses: Losses | None = None
    stage_slowdowns: tuple[tuple[int, float], ...] = ()
    node_slowdowns: tuple[tuple[int, float], ...] = ()
    links: tuple[tuple[int, int, Link], ...] = ()
    replica_link: Link | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if problems := list(_problems(self)):
            raise LocalgradError("simulate: " + " ".join(problems))

    def forward_of(self, unit: int, cost: UnitCost) -> float:
        """The share of a unit's time after which its output is handed on."""
        if self.forward_share is None:
            return cost.forward
        return self.forward_share[unit] if isinstance(self.forward_share, tuple) else self.forward_share


def _problems(given: Conditions) -> Iterator[str]:
    shares = given.forward_share if isinstance(given.forward_share, tuple) else (given.forward_share or 0.0,)
    for name, whole, least in (("batches", given.batches, 1), ("depth", given.depth, 1)):
        if type(whole) is not int or whole < least:
            yield f"{name} must be a whole number of at least {least}, got {whole!r}."
    if given.ema_delay is not None and (type(given.ema_delay) is not int or given.ema_delay < 1):
        yield f"ema_delay must be a whole number of at least 1, got {given.ema_delay!r}."
    if not shares or not all(0 <= share <= 1 for share in shares):
        yield f"forward_share must be between 0 and 1, got {given.forward_share!r}."
    if not 0 <= given.look_share <= 1:
        yield f"look_share must be between 0 and 1, got {given.look_share!r}."
    for name, spread in (("jitter", given.jitter), ("link_jitter", given.link_jitter)):
        if not (isfinite(spread) and spread >= 0):
            yield f"{name} must be a number of at least 0, got {spread!r}."
    yield from _slow_problems(given)
    for link in (*(one for _, _, one in given.links), *filter(None, [given.replica_link])):
        if not (link.bytes_per_second > 0 and isfinite(link.latency) and link.latency >= 0):
            yield f"a link needs more than 0 bytes per second and a latency of 0 or more, got {link}."
    if given.losses is not None:
        yield from _loss_problems(given.losses)


def _slow_problems(given: Conditions) -> Iterator[str]:
    slow = given.stragglers
    if slow is not None and not (0 <= slow.share <= 1 and isfinite(slow.slowdown) and slow.slowdown >= 1):
        yield (
            "stragglers must be a share between 0 and 1 that computes at least 1 times as long, got "
            f"{slow.share!r}, {slow.slowdown!r}."
        )
    stops = given.pauses
    if stops is not None and not (stops.every > 0 and isfinite(stops.seconds) and stops.seconds >= 0):
        yield f"pauses must come after more than 0 seconds and last 0 or more, got {stops.every!r}, {stops.seconds!r}."
    for name, pairs in (("stage_slowdowns", given.stage_slowdowns), ("node_slowdowns", given.node_slowdowns)):
        for place, factor in pairs:
            if not (place >= 0 and isfinite(factor) and factor > 0):
                yield f"{name}: a place from 0 and a factor above 0 are expected, got ({place!r}, {factor!r})."


def _loss_problems(given: Losses) -> Iterator[str]:
    if given.every is not None and not given.every > 0:
        yield f"losses: the mean time between losses of a node must be above 0 seconds, got {given.every!r}."
    if given.every is not None and given.times:
        yield "losses: give the mean time between them or their times, not both."
    if any(later <= earlier for earlier, later in zip((0.0, *given.times), given.times, strict=False)):
        yield f"losses: times must be above 0 and grow, got {list(given.times)}."
    for name, seconds in (("restart", given.restart), ("checkpoint_seconds", given.checkpoint_seconds)):
        if not (isfinite(seconds) and seconds >= 0):
            yield f"losses: {name} must be 0 seconds or more, got {seconds!r}."
    if type(given.checkpoint_every) is not int or given.checkpoint_every < 1:
        yield f"losses: checkpoint_every must be a whole number of at least 1, got {given.checkpoint_every!r}."
