"""DGSSL and DGSSL-LLM: SimCLR without labels, module by module (Patel 2023, thesis, chapter 4; methods.md 8)."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal, final, get_args

from localgrad.auxnets import Projector, Selecting
from localgrad.blocks import PooledFeatures
from localgrad.errors import LocalgradError, nearest
from localgrad.facts import Plain
from localgrad.losses import SELECTION_FIGURES, Loss, NTXent, SelectiveNTXent
from localgrad.method import unit_name
from localgrad.methods.dgssl_selection import PairSelection, Running
from localgrad.methods.heads import check_map, xcyf_head
from localgrad.objective import Follow, Objective, UnitSpec
from localgrad.partition import Cut, PaperTable
from localgrad.spec import AuxSpec, Backbone, Partition, Shape, Span

Head = Literal["0c2f", "1c2f"]
"""Projection heads of the local modules: without and with a convolution (figures 4.4, A.4, A.5)."""

VIEWS = frozenset({"views"})
NAME = "contrast"


@final
@dataclass(frozen=True)
class DGSSL:
    """Each module and its projection head learn by NT-Xent on two views of every image (algorithm 3); no labels.

    The network reads ``Batch.views``, BatchNorm over all 2N rows. ``head`` is the projector of all modules but the
    last, which has SimCLR's ("0c2f"): so one module is SimCLR, end to end. ``hidden`` and ``out`` are the projector's
    features, ``batch_norm`` whether its hidden layer has BatchNorm, ``temperature`` the loss's. With a ``selection``
    modules learn from easy pairs (DGSSL-LLM, algorithm 5), and tell the shares of pairs they kept.

    ``forward`` of the network gives the encoder's pooled features_BC: there is no classifier. Raises LocalgradError for
    an unknown head and numbers that cannot be.
    """

    head: Head = "1c2f"
    hidden: int = 512
    out: int = 128
    batch_norm: bool = True
    temperature: float = 0.5
    selection: PairSelection | None = None

    def __post_init__(self) -> None:
        if self.head not in get_args(Head):
            raise LocalgradError(f"DGSSL: head {self.head!r} is unknown. {nearest(str(self.head), get_args(Head))}")
        for name in ("hidden", "out"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise LocalgradError(f"DGSSL: {name} must be a whole number of at least 1, got {value!r}.")
        if type(self.batch_norm) is not bool:
            raise LocalgradError(f"DGSSL: batch_norm must be True or False, got {self.batch_norm!r}.")
        t = self.temperature
        if type(t) not in (int, float) or not isfinite(t) or t <= 0:
            raise LocalgradError(f"DGSSL: temperature must be a number above 0, got {t!r}.")
        if self.selection is not None and not isinstance(self.selection, PairSelection):
            raise LocalgradError(f"DGSSL: selection must be a PairSelection(...) or None, got {self.selection!r}.")

    @property
    def needs(self) -> frozenset[str]:
        """Two views of every image; the similarities of a pretrained network where pairs are selected by them."""
        pretrained = self.selection is not None and self.selection.similarity == "pretrained"
        return VIEWS | {"pair_similarity"} if pretrained else VIEWS

    @property
    def reach(self) -> int:
        """Each loss updates its own unit."""
        return 1

    def cut(self, backbone: Backbone, modules: int | None) -> Cut:
        """The splits of figure A.1 for ``modules``; one unit per block by default (layer-wise)."""
        return PaperTable(len(backbone.blocks) if modules is None else modules)

    def units(self, backbone: Backbone, partition: Partition) -> tuple[UnitSpec, ...]:
        """One unit per span, each with a projector. Raises LocalgradError for thresholds of another network or K."""
        if any(span.groups for span in partition.spans) or not len(partition.spans[-1]):
            raise LocalgradError(
                "DGSSL trains spans whole, and has no classifier that could be a unit of its own: give spans that have "
                "blocks, without neuron groups."
            )
        if self.selection is not None:
            self.selection.check_network(backbone)
        shapes, count = backbone.shapes(), len(partition)
        head = PooledFeatures(shapes[-1])
        return tuple(
            UnitSpec(
                j,
                unit_name(backbone, span.stop, span.start),
                span,
                (
                    self._objective(
                        backbone, self.projector(backbone, shapes[span.stop - 1], j == count - 1), span, j, count
                    ),
                ),
                head=head if j == count - 1 else None,
                follows=self._follows(span, j, count),
                initialise=backbone.initialise_aux or backbone.initialise,
            )
            for j, span in enumerate(partition.spans)
        )

    @property
    def pretrained(self) -> Path | None:
        """The run whose network judges the pairs."""
        return None if self.selection is None else self.selection.pretrained

    def guide(self, backbone: Backbone) -> tuple[UnitSpec, ...]:
        """The units of the pretrained network that similarities come from: this method's K=1, without selection."""
        whole = DGSSL(self.head, self.hidden, self.out, self.batch_norm, self.temperature)
        return whole.units(backbone, Partition((Span(0, len(backbone.blocks)),)))

    def view_problems(self, views: Plain, data: str) -> Iterator[str]:
        """Whether the thresholds were found with another augmentation or data set."""
        if self.selection is not None:
            yield from self.selection.view_problems(views, data)

    def projector(self, backbone: Backbone, shape: Shape, last: bool) -> Projector:
        """The projection head behind features of ``shape``; the ``last`` module's is SimCLR's."""
        conv = None
        if self.head == "1c2f" and not last:
            check_map(shape, "DGSSL with head '1c2f'", backbone, "head='0c2f'")
            found = xcyf_head(backbone, shape, self.out)
            conv = (found.conv_channels, found.stride)
        return Projector(shape, conv, self.hidden, self.out, self.batch_norm)

    def _objective(self, backbone: Backbone, projector: Projector, span: Span, unit: int, units: int) -> Objective:
        chosen = self.selection
        if chosen is None or not chosen.selects(unit, units):
            return Objective(NAME, projector, NTXent(self.temperature), needs=VIEWS, pairs=True)
        fixed, running = chosen.fixed(unit, units), isinstance(chosen.thresholds, Running)
        similarity, given = chosen.similarity, frozenset[str]()
        aux: AuxSpec = projector
        if similarity == "teacher" or fixed is None:
            teacher = similarity == "teacher"
            aux = Selecting(
                projector,
                similarity,
                blocks=backbone.blocks[span.start : span.stop] if teacher else (),
                ratios=chosen.ratios(unit, units) if running else None,
                momentum=chosen.thresholds.momentum if isinstance(chosen.thresholds, Running) else 0.0,
            )
            given = frozenset({"h_in"} if teacher else {"pair_similarity"} if similarity == "pretrained" else ())
        alpha, beta = (None, None) if fixed is None else fixed
        loss: Loss = SelectiveNTXent(alpha, beta, similarity, chosen.negatives, chosen.keep_positive, self.temperature)
        needs = VIEWS | {"pair_similarity"} if similarity == "pretrained" else VIEWS
        return Objective(NAME, aux, loss, needs=needs, pairs=True, given=given, figures=SELECTION_FIGURES)

    def _follows(self, span: Span, unit: int, units: int) -> tuple[Follow, ...]:
        """A teacher follows the unit's blocks and its projector."""
        chosen = self.selection
        if chosen is None or chosen.similarity != "teacher" or not chosen.selects(unit, units):
            return ()
        rate = chosen.teacher_rate
        return (
            *(Follow(NAME, f"teacher.body.{j}", block, rate) for j, block in enumerate(range(span.start, span.stop))),
            Follow(NAME, "teacher.projector", None, rate, "projector"),
        )
