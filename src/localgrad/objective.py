"""What a unit is, as data: its span, its objectives, and what of its auxiliary networks follows later blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from localgrad.blocks import he_fan_out
from localgrad.errors import LocalgradError
from localgrad.losses import Loss
from localgrad.recompute import Recompute
from localgrad.spec import AuxSpec, Block, Initialiser, Span


@dataclass(frozen=True)
class Objective:
    """One loss of a unit, and the auxiliary network that it looks through.

    Objectives that hold the same AuxSpec object share one module; one that holds the backbone's own head uses the head
    of the network itself. ``needs`` are the fields of a Batch that the loss reads. ``reach`` is how many consecutive
    units it updates, the unit itself the last of them: above 1 it is a cascade. ``pairs``: the loss compares the
    samples of a batch with each other, so it needs at least two. ``given`` names what the auxiliary network gets by
    keyword in a training step, besides the body's output: "h_in", the unit's detached input, or fields of the batch.
    ``figures`` are names of terms that are recorded and not learnt from.
    """

    name: str
    aux: AuxSpec
    loss: Loss
    weight: float = 1.0
    reach: int = 1
    needs: frozenset[str] = frozenset({"y"})
    pairs: bool = False
    given: frozenset[str] = frozenset()
    figures: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Follow:
    """A part of an auxiliary network that starts as a copy of a block of the network, and may follow it.

    ``part`` is the path of the part inside the auxiliary network of ``objective``, ``block`` the index of the block in
    the backbone. With a ``rate`` r every parameter of the part becomes r * part + (1 - r) * source in every step, after
    the losses and before the unit updates; buffers are the part's own. The source is the block as it was before its
    update of this step (``Unit.step`` alone takes an earlier unit's as it finds it), or with ``other`` the part under
    that path; without a ``block`` it starts as a copy of that part, too. Without a rate the part only starts equal.
    """

    objective: str
    part: str
    block: int | None
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
    objective that holds it uses the head of the network. ``recompute`` says which activations are recomputed in
    the backward pass instead of kept; None: none. ``initialise`` draws the weights of the auxiliary networks;
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
    recompute: Recompute | None = None
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


def recomputed(units: Sequence[UnitSpec], recompute: object) -> tuple[UnitSpec, ...]:
    """The units, all of which recompute activations with ``recompute=True``.

    Raises LocalgradError for another value than True or False, and for units that cannot: those that recompute in a way
    of their own, and neuron groups that run as one.
    """
    if type(recompute) is not bool:
        raise LocalgradError(f"recompute must be True or False, got {recompute!r}.")
    if not recompute:
        return tuple(units)
    for unit in units:
        if unit.recompute is not None:
            raise LocalgradError(
                f"recompute=True: unit {unit.name!r} recomputes activations already, in segments that its method "
                "chooses (Checkpointing). Leave recompute out, or take Backprop() with it."
            )
        if unit.fused:
            raise LocalgradError(
                f"recompute=True: unit {unit.name!r} belongs to neuron groups that run as one (fuse_groups=True), "
                "which keep their activations. Leave one of the two out."
            )
    return tuple(replace(unit, recompute=Recompute()) for unit in units)
