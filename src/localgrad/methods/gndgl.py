"""GN-DGL: local learning with neuron groups (Patel, Eickenberg, Belilovsky 2023, arXiv 2301.07635; thesis chapter 3).

A module is cut along its channels too: each neuron group learns by a loss of its own and reads all channels of the
module before. The classifier of the network is decoupled: a unit of its own on detached features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Literal, final, get_args

from localgrad.auxnets import pooled_first
from localgrad.errors import LocalgradError, nearest
from localgrad.grouping import check_divides, group_name, nearly_equal
from localgrad.losses import Diversity, cross_entropy
from localgrad.losses.diversity import TEMPERATURE
from localgrad.method import supervised_units, unit_name
from localgrad.methods.heads import check_map, gndgl_head
from localgrad.methods.options import check_aux_pool, check_effect, check_switches
from localgrad.methods.predsim import PredSim
from localgrad.objective import Objective, UnitSpec
from localgrad.partition import Cut, EqualBlocks, PaperTable
from localgrad.spec import AuxSpec, Backbone, Partition, Shape, Span

FinalHead = Literal["linear", "1c2f"]
"""The network's classifier: global pooling and a linear layer (the paper; its published MACs fit only that), or the
released code's conv head (methods.md 12, row 16)."""

PATTERN = (1, 2, 1)
"""Groups of the first layers of a layer-wise network, in multiples of G; later layers are whole (section 4.1).

So are the fully connected ones, the last of which the thesis alone cuts into groups (methods.md 12, row 21).
"""


@final
@dataclass(frozen=True)
class GNDGL:
    """``groups`` neuron groups per module, each with an auxiliary network and cross-entropy of its own.

    ``share_features`` (stop-gradient GN-DGL): a group's auxiliary network also sees the other groups' channels,
    detached; ``detach_ratio`` is the share of each group's channels that it sees, int(ratio * channels) of them, the
    groups that look at one starting at different places (the released code hands out wrong channels below 1).
    ``diversity`` adds a penalty on wrong classes that groups agree on, from logits that they exchange detached;
    ``stop_grad=False`` means the released code's joint gradient, which is exactly twice that of equal weight with
    detached logits, and is computed so. ``diversity_weight`` is 1.0, without ``stop_grad`` 0.5: the same gradients.
    ``temperature`` is that of the penalty's softmax. With neither feature nor diversity it is the naive splitting.

    ``modules=K`` counts the grouped modules; the classifier (``final_head``) is one more unit, without blocks. One
    group is the DGL baseline of the papers: the last module trains with the classifier, unless ``extra_head`` gives it
    an auxiliary network too (released code). One module and several groups are independent thin networks and a
    classifier on top; without sharing, the single-thread baseline (the accuracy of unit 0, and ensemble "last").

    ``layerwise`` is the paper's VGG6a: every layer a module, the first three cut into G, 2G and G groups, which may
    differ by one channel, all learning by ``signals``.

    ``fuse_groups`` runs the groups of a module as one grouped convolution per block: equal to rounding. Groups of
    different sizes can run so in layers of VGGs; where they drop features, each drops what its own unit would.

    ``aux_pool`` averages p x p features before the auxiliary networks where the map is larger than 8x8
    (``auxnets.PooledFirst``), never before the classifier; layer-wise it is an option of ``signals``.

    Raises LocalgradError for numbers that make no sense and unknown words.
    """

    groups: int = 2
    share_features: bool = True
    diversity: bool = True
    detach_ratio: float = 1.0
    diversity_weight: float | None = None
    temperature: float = TEMPERATURE
    stop_grad: bool = True
    final_head: FinalHead = "linear"
    extra_head: bool = False
    layerwise: bool = False
    signals: PredSim = field(default_factory=PredSim)
    fuse_groups: bool = False
    aux_pool: int = 1

    def __post_init__(self) -> None:
        if type(self.groups) is not int or self.groups < 1:
            raise LocalgradError(f"GNDGL: groups must be a whole number of at least 1, got {self.groups!r}.")
        if not isinstance(self.signals, PredSim):
            raise LocalgradError(f"GNDGL: signals must be a PredSim(...), got {self.signals!r}.")
        for name in ("detach_ratio", "diversity_weight", "temperature"):
            value = getattr(self, name)
            if type(value) not in (int, float) and not (name == "diversity_weight" and value is None):
                raise LocalgradError(f"GNDGL: {name} must be a number, got {value!r}.")
        if not 0 <= self.detach_ratio <= 1:
            raise LocalgradError(
                f"GNDGL: detach_ratio is a share of channels and must be between 0 and 1, got {self.detach_ratio}."
            )
        weight = self.diversity_weight
        if weight is not None and not (isfinite(weight) and weight >= 0):
            raise LocalgradError(f"GNDGL: diversity_weight must be at least 0, got {weight}.")
        if not (isfinite(self.temperature) and self.temperature > 0):
            raise LocalgradError(f"GNDGL: temperature must be above 0, got {self.temperature}.")
        if self.final_head not in get_args(FinalHead):
            known = nearest(str(self.final_head), get_args(FinalHead))
            raise LocalgradError(f"GNDGL: final_head {self.final_head!r} is unknown. {known}")
        check_switches(self, ("share_features", "diversity", "stop_grad", "extra_head", "layerwise", "fuse_groups"))
        check_aux_pool(self)
        if not self.share_features:
            check_effect(self, ["detach_ratio"], "with share_features=False")
        if not self.diversity:
            check_effect(self, ["diversity_weight", "temperature", "stop_grad"], "with diversity=False")
        if self.layerwise:
            check_effect(self, ["aux_pool"], "with layerwise=True, where signals=PredSim(aux_pool=...) has it")
            self._check_layerwise()
        else:
            check_effect(self, ["signals"], "without layerwise=True")

    def _check_layerwise(self) -> None:
        for name, value, only in (("final_head", self.final_head, "linear"), ("extra_head", self.extra_head, False)):
            if value != only:
                raise LocalgradError(
                    f"GNDGL: {name}={value!r} is of the multi-layer networks; layerwise=True has the network's own "
                    "classifier, decoupled. Leave it out."
                )
        if self.signals.framework != "layerwise":
            raise LocalgradError(
                "GNDGL: layerwise=True learns as PredSim does in its own paper: signals must have "
                f"framework='layerwise', got {self.signals.framework!r}."
            )
        if self.diversity and self.signals.loss == "sim":
            raise LocalgradError(
                "GNDGL: diversity compares class probabilities, and signals with loss='sim' have none. Take "
                "loss='predsim' or 'pred', or diversity=False."
            )

    @property
    def needs(self) -> frozenset[str]:
        """Labels."""
        return frozenset({"y"})

    @property
    def reach(self) -> int:
        """Each loss updates its own group."""
        return 1

    def with_groups(self, groups: int) -> "GNDGL":
        """The method with another number of groups."""
        return replace(self, groups=groups)

    def cut(self, backbone: Backbone, modules: int | None) -> Cut:
        """The papers' table for ``modules``; one module per block by default, layer-wise always."""
        blocks = len(backbone.blocks)
        if self.layerwise:
            if modules not in (None, blocks):
                raise LocalgradError(
                    f"modules={modules}: GNDGL(layerwise=True) makes every layer a module, and {backbone.name} has "
                    f"{blocks}. Leave modules out."
                )
            return EqualBlocks(blocks)
        # The published MACs of one group are those of InfoPro's cut; the code's commands have the extra border even
        # there, which is extra_head (methods.md 12, row 38).
        decoupled = self.groups > 1 or self.extra_head
        return PaperTable(blocks if modules is None else modules, "gndgl" if decoupled else "infopro")

    def grouped(self, backbone: Backbone, partition: Partition) -> Partition:
        """The partition with the sizes of all groups, and a span without blocks for the classifier where it is alone.

        Sizes that the partition has already are kept. Raises LocalgradError where groups do not divide a layer.
        """
        spans = list(partition.spans)
        if not any(span.groups for span in spans):
            spans = self._layers(backbone, spans) if self.layerwise else self._modules(backbone, spans)
        alone = self.extra_head or self.layerwise or any(len(span.groups) > 1 for span in spans)
        if alone and len(spans[-1]):
            spans.append(Span(len(backbone.blocks), len(backbone.blocks)))
        return Partition(tuple(spans), f"{partition.origin}, groups of {self.groups}")

    def _modules(self, backbone: Backbone, spans: Sequence[Span]) -> list[Span]:
        if self.groups == 1:
            return list(spans)
        check_divides(backbone, self.groups, "GNDGL")
        shapes = backbone.shapes()
        sizes = [nearly_equal(shapes[span.stop - 1][0], self.groups) if len(span) else () for span in spans]
        return [replace(span, groups=own) for span, own in zip(spans, sizes, strict=True)]

    def _layers(self, backbone: Backbone, spans: Sequence[Span]) -> list[Span]:
        shapes, found = backbone.shapes(), []
        for span in spans:
            if len(span) > 1:
                raise LocalgradError(
                    f"GNDGL(layerwise=True) makes every layer a module, got a span of {len(span)} blocks. Give spans "
                    "of one block, or leave partition out."
                )
            times = PATTERN[span.start] if span.start < len(PATTERN) and self.groups > 1 and len(span) else 0
            count = self.groups * times
            if count > (width := shapes[span.start][0] if len(span) else 0):
                raise LocalgradError(
                    f"GNDGL: groups={self.groups} cuts layer {backbone.block_names[span.start]!r} into {count}, and it "
                    f"has {width} channels. Take at most {width // times}."
                )
            found.append(replace(span, groups=nearly_equal(width, count) if count else ()))
        return found

    def units(self, backbone: Backbone, partition: Partition) -> tuple[UnitSpec, ...]:
        """One unit per group of every span, and the classifier's. Raises LocalgradError where groups do not fit."""
        partition = self.grouped(backbone, partition)
        whole = Partition(tuple(replace(span, groups=()) for span in partition.spans), partition.origin)
        if self.layerwise:
            base = self.signals.units(backbone, whole)
        else:
            base = supervised_units(backbone, whole, lambda _, shape: self.auxnet(backbone, shape, shape[0]))
        units: list[UnitSpec] = []
        for unit, span in zip(base, partition.spans, strict=True):
            units += self._groups(backbone, unit, span) if len(span.groups) > 1 else [unit]
        if self.final_head == "1c2f":
            shape = backbone.shapes()[-1]
            check_map(shape, "GNDGL", backbone, "GNDGL(layerwise=True)")
            head = gndgl_head(backbone, shape[0], backbone.num_classes, shape[0])
            objectives = (Objective("task", head, cross_entropy),)
            units[-1] = replace(units[-1], objectives=objectives, head=head)
        return tuple(units)

    def _groups(self, backbone: Backbone, unit: UnitSpec, span: Span) -> list[UnitSpec]:
        """One unit per group of a span, like ``unit`` of the whole span."""
        shape = backbone.shapes()[span.stop - 1]
        block = unit_name(backbone, span.stop, span.start)
        found = []
        for group in range(len(span.groups)):
            own = replace(
                unit,
                name=group_name(block, group),
                span=span,
                group=group,
                shares_features=self.share_features,
                windows=self.windows(span.groups, group) if self.share_features else (),
                shares_outputs=self.diversity,
                fused=self.fuse_groups,
            )
            seen = (own.sees(span.groups), *shape[1:])
            if self.layerwise:
                objectives = self.signals.objectives(seen, backbone.num_classes, own.name)
            else:
                objectives = (Objective("task", self.auxnet(backbone, seen, shape[0]), cross_entropy),)
            if self.diversity:
                classifier = next(one.aux for one in objectives if one.loss is cross_entropy)
                penalty = Objective("diversity", classifier, Diversity(self.temperature), self.penalty_weight)
                objectives = (*objectives, penalty)
            found.append(replace(own, objectives=objectives))
        return found

    @property
    def penalty_weight(self) -> float:
        """Weight of a group's part of the penalty, with the other groups' logits detached."""
        if self.stop_grad:
            return 1.0 if self.diversity_weight is None else self.diversity_weight
        # Cosine is symmetric: the joint gradient is that of twice the weight.
        return 2 * (0.5 if self.diversity_weight is None else self.diversity_weight)

    def windows(self, sizes: Sequence[int], group: int) -> tuple[tuple[int, int], ...]:
        """Which channels (start, count) of each group ``group`` sees; () is all. Its own entry is (0, 0)."""
        if self.detach_ratio == 1:
            return ()
        found = []
        for other, size in enumerate(sizes):
            count = 0 if other == group else int(self.detach_ratio * size)
            # The groups that look at `other` are numbered from the one after it, and take its channels in turn.
            found.append(((group - other - 1) % len(sizes) * count % size, count))
        return tuple(found)

    def auxnet(self, backbone: Backbone, shape: Shape, channels: int) -> AuxSpec:
        """``gndgl_head`` behind features of ``shape`` (C, H, W) among ``channels`` of the whole module."""
        check_map(shape, "GNDGL", backbone, "GNDGL(layerwise=True)")
        return pooled_first(gndgl_head(backbone, shape[0], backbone.num_classes, channels), shape, self.aux_pool)
