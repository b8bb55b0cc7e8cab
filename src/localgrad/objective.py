"""What a unit is, as data: its span, its objectives, and what of its auxiliary networks follows later blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from localgrad.blocks import he_fan_out
from localgrad.losses import Loss
from localgrad.spec import AuxSpec, Block, Initialiser, Span


@dataclass(frozen=True)
class Objective:
    """One loss of a unit, and the auxiliary network that it looks through.

    Objectives that hold the same AuxSpec object share one module; one that holds the backbone's own head uses the head
    of the network itself. ``needs`` are the fields of a Batch that the loss reads. ``reach`` is how many consecutive
    units it updates, the unit itself the last of them: above 1 it is a cascade. ``pairs``: the loss compares the
    samples of a batch with each other, so it needs at least two.
    """

    name: str
    aux: AuxSpec
    loss: Loss
    weight: float = 1.0
    reach: int = 1
    needs: frozenset[str] = frozenset({"y"})
    pairs: bool = False


@dataclass(frozen=True)
class Follow:
    """A part of an auxiliary network that starts as a copy of a block of the network, and may follow it.

    ``part`` is the path of the part inside the auxiliary network of ``objective``, ``block`` the index of the block in
    the backbone. With a ``rate`` r every parameter of the part becomes r * part + (1 - r) * source in every step, after
    the losses and before the unit updates; buffers are the part's own. The source is the block as it was before its
    update of this step (``Unit.step`` alone takes an earlier unit's as it finds it), or with ``other`` the part under
    that path. Without a rate the part only starts equal.
    """

    objective: str
    part: str
    block: int
    rate: float | None = None
    other: str | None = None


@dataclass(frozen=True)
class UnitSpec:
    """A unit as data: what ``Method.units`` returns.

    ``index`` is that of the span, ``group`` that of the neuron group inside it. A unit may have no objective when the
    cascades of later units reach it. Groups of a span may share what others
    see: with ``shares_features`` the auxiliary networks get the outputs of all groups, (B, C, ...) of the whole span,
    those of the others detached; ``windows`` says which channels of each group then: (start, count), going round to the
    group's first channel where they end, none for the own group; ``()`` is all. With ``shares_outputs`` the losses find
    the others' logits, detached, as ``outputs["others"]``, (G - 1, B, K). ``fused``: the groups of the span may run as
    one grouped convolution per block, equal to rounding. ``head`` takes the place of the backbone's own head; an
    objective that holds it uses the head of the network. ``recompute`` is the number of segments whose activations are
    recomputed in the backward pass; 0: none. ``initialise`` draws the weights of the auxiliary networks;
    ``initialise_head`` changes those of the backbone's head after the backbone's own initialisation (never those of a
    foreign network).
    """

    index: int
    name: str
    span: Span
    objectives: tuple[Objective, ...]
    group: int = 0
    shares_features: bool = False
    windows: tuple[tuple[int, int], ...] = ()
    shares_outputs: bool = False
    fused: bool = False
    head: Block | None = None
    follows: tuple[Follow, ...] = ()
    recompute: int = 0
    initialise: Initialiser = field(default=he_fan_out)
    initialise_head: Initialiser | None = None

    @property
    def needs(self) -> frozenset[str]:
        """Fields of a Batch that any of the losses reads."""
        return frozenset().union(*(objective.needs for objective in self.objectives))

    def sees(self, channels: Sequence[int]) -> int:
        """How many channels the auxiliary networks look at, given those of all groups of the span."""
        if not self.shares_features:
            return channels[self.group]
        if not self.windows:
            return sum(channels)
        return channels[self.group] + sum(count for group, (_, count) in enumerate(self.windows) if group != self.group)

    @property
    def reach(self) -> int:
        """How many consecutive units the objectives update: the largest of their reaches."""
        return max((objective.reach for objective in self.objectives), default=1)
