"""What a plan is made of: costs of units, links, speeds, and the placement chosen for them. Data only."""

from dataclasses import dataclass
from typing import final

from localgrad.placement import Placement, Transfer, Wire


@final
@dataclass(frozen=True)
class UnitCost:
    """What one unit costs in a training step on one whole mini-batch.

    ``macs`` are multiply-accumulates of forward and backward pass, body and auxiliary networks. ``seconds`` are those
    of a device of speed 1. ``memory`` is the live peak of the unit's own step in bytes, on the part of the mini-batch
    that one replica gets: weights, buffers, gradients, optimiser state, activations, its input and output.
    ``parameters`` are the numbers that it trains: what replicas add up. ``reaches`` are those of its objectives, each
    once: above 1 a cascade.

    ``forward`` is the share of the seconds after which the unit's output is handed on; a body without an auxiliary
    network takes a third. ``resident`` is the part of ``memory`` that stays between steps (weights, buffers, optimiser
    state), ``kept`` what the unit holds beside it while it waits for other groups, or cascades of later units.
    """

    name: str
    span: int
    group: int
    macs: int
    seconds: float
    memory: int
    parameters: int = 0
    reaches: tuple[int, ...] = (1,)
    forward: float = 1 / 3
    resident: int = 0
    kept: int = 0


@final
@dataclass(frozen=True)
class Link:
    """A connection between two stages, in one direction."""

    bytes_per_second: float
    latency: float = 0.0

    def seconds(self, size: int) -> float:
        """Time that a message of ``size`` bytes is on its way."""
        return self.latency + size / self.bytes_per_second


@final
@dataclass(frozen=True)
class Plan:
    """A placement with everything that it was chosen for.

    ``speeds`` are those of the stages' devices, 1.0 being the one that ``costs`` were measured on (or assumed for
    MACs). ``measured`` says whether the seconds were measured or are proportional to MACs. ``backprop_seconds`` and
    ``backprop_macs`` are those of a step of the same network trained end to end on one device of speed 1,
    ``backprop_parameters`` the numbers that such a step trains.
    """

    recipe: str
    network: str
    method: str
    batch_size: int
    placement: Placement
    costs: tuple[UnitCost, ...]
    transfers: tuple[Transfer, ...]
    speeds: tuple[float, ...]
    link: Link
    wire: Wire
    measured: bool
    backprop_seconds: float
    backprop_macs: int
    memory_limit: int | None = None
    backprop_parameters: int = 0

    @property
    def rows(self) -> int:
        """Samples of a mini-batch that the largest replica of a stage works on."""
        return -(-self.batch_size // self.placement.replicas)
