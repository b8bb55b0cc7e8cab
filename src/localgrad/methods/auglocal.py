"""AugLocal (Ma, Wu, Si, Tan 2024, "Scaling supervised local learning with augmented auxiliary networks", ICLR).

The auxiliary network of a unit has the architecture of a few later layers, chosen uniformly, and a classifier like the
network's own; its depth shrinks along the network (pyramid).
"""

from dataclasses import dataclass
from typing import Literal, final, get_args

from localgrad.auxnets import FlatMLP, Truncated, pooled_first, pooled_shape, pyramid_depths
from localgrad.blocks import PooledLinear
from localgrad.errors import LocalgradError, located, nearest
from localgrad.method import supervised_units
from localgrad.methods.auglocal_adapted import adapted_auxnet
from localgrad.methods.auglocal_blocks import Selection, check_selection, rule_of, select_blocks
from localgrad.methods.heads import check_map
from localgrad.methods.infopro_lambdas import SCHEDULES, Lambdas, published
from localgrad.methods.options import check_aux_pool, check_effect
from localgrad.methods.reconstruction import Reconstruction
from localgrad.objective import UnitSpec
from localgrad.partition import Cut, PaperTable
from localgrad.spec import AuxSpec, Backbone, Partition, Shape, Span

__all__ = ["AugLocal", "Classifier", "Selection", "Tail"]

Tail = Literal["joint", "strict"]
"""Whether the last ``depth`` modules train jointly with the classifier, as the CIFAR code does and the reported FLOPs
require, or every module is local, as the paper's text and the ImageNet code have it."""

Classifier = Literal["pooled", "flat-mlp"]
"""What an auxiliary network ends in: pooling and a linear layer like the network's own, or the small multi-layer
perceptron on all features of the ImageNet VGG13 experiments."""


@final
@dataclass(frozen=True)
class AugLocal:
    """Cross-entropy through ``depth - 1`` copied later layers and a classifier, per unit.

    ``depth`` is the paper's d: it counts the classifier (released code: aux_net_depth + 1). ``tau`` is the pyramid's
    slope; 0 switches it off. ``selection`` is one rule, or one per stage of the network (table 10). ``head_bn`` puts a
    BatchNorm before the classifier: "auto" where one layer is copied, as the CIFAR code does; False never, True always.
    With ``tail="joint"`` K modules become K - depth + 1 units. ``reconstruction`` adds InfoPro's decoder to every local
    unit (table 13), weighted from the first to the last local unit. ``aux_pool`` averages p x p features before the
    auxiliary network where the map is larger than 8x8 (``auxnets.PooledFirst``); decoders read the whole map. Raises
    LocalgradError for a depth below 2, tau outside [0, 1] and unknown words.
    """

    depth: int = 6
    tau: float = 0.5
    selection: Selection | tuple[Selection, ...] = "uniform"
    tail: Tail = "joint"
    head_bn: bool | Literal["auto"] = "auto"
    classifier: Classifier = "pooled"
    reconstruction: Reconstruction | None = None
    aux_pool: int = 1

    def __post_init__(self) -> None:
        if type(self.depth) is not int or self.depth < 2:
            raise LocalgradError(
                f"AugLocal: depth counts the classifier and must be a whole number of at least 2 (one layer and it), "
                f"got {self.depth!r}."
            )
        if type(self.tau) not in (int, float) or not 0 <= self.tau <= 1:
            raise LocalgradError(f"AugLocal: tau must be between 0 (no pyramid) and 1, got {self.tau!r}.")
        check_selection(self.selection)
        check_aux_pool(self)
        for name, choices in (("tail", get_args(Tail)), ("classifier", get_args(Classifier))):
            word = getattr(self, name)
            if word not in choices:
                raise LocalgradError(f"AugLocal: {name} {word!r} is unknown. {nearest(str(word), choices)}")
        if self.head_bn not in (True, False, "auto"):
            raise LocalgradError(f"AugLocal: head_bn must be True, False or 'auto', got {self.head_bn!r}.")
        if self.classifier == "flat-mlp" and self.head_bn is True:
            check_effect(self, ["head_bn"], "with classifier='flat-mlp', which has BatchNorm of its own")
        if self.reconstruction is not None and not isinstance(self.reconstruction, Reconstruction):
            raise LocalgradError(
                f"AugLocal: reconstruction must be Reconstruction(lambdas=...) or None, got {self.reconstruction!r}."
            )

    @property
    def needs(self) -> frozenset[str]:
        """Labels; with a reconstruction the image in [0, 1] too."""
        return frozenset({"y"} if self.reconstruction is None else {"y", "image"})

    @property
    def reach(self) -> int:
        """Each loss updates its own unit."""
        return 1

    def cut(self, backbone: Backbone, modules: int | None) -> Cut:
        """The papers' table for ``modules``; one module per block by default."""
        return PaperTable(len(backbone.blocks) if modules is None else modules)

    def units(self, backbone: Backbone, partition: Partition) -> tuple[UnitSpec, ...]:
        """One unit per span, the joint tail merged. Raises LocalgradError when the tail swallows every span."""
        lambdas = self._lambdas(backbone, len(partition))
        partition = self.join_tail(partition)
        depths = pyramid_depths(len(partition), self.depth - 1, self.tau)

        def aux_for(unit: int, shape: Shape) -> AuxSpec:
            return self.auxnet(backbone, partition.spans[unit].stop - 1, shape, depths[unit])

        units = supervised_units(backbone, partition, aux_for, viewed=False)
        if self.reconstruction is None or lambdas is None:
            return units
        return self.reconstruction.add(backbone, units, lambdas)

    def _lambdas(self, backbone: Backbone, modules: int) -> Lambdas | None:
        """The weights of a reconstruction: the user's, or those of InfoPro in AugLocal's comparison."""
        if self.reconstruction is None or modules == 1:
            return None
        if self.reconstruction.lambdas is not None:
            return self.reconstruction.lambdas
        dataset = self.reconstruction.dataset
        return SCHEDULES[published("auglocal", "softmax", dataset, backbone.name, "standard", modules)]

    def join_tail(self, partition: Partition) -> Partition:
        """The partition with its last ``depth`` spans merged, if the tail is joint."""
        modules = len(partition)
        if self.tail == "strict" or modules == 1:
            return partition
        if self.depth >= modules:
            raise LocalgradError(
                f"AugLocal(depth={self.depth}, tail='joint') trains the last {self.depth} modules jointly, so "
                f"modules={modules} leaves no local unit. Take depth below {modules}, more modules, tail='strict', or "
                "modules=1 for backpropagation."
            )
        *local, first = partition.spans[: modules - self.depth + 1]
        tail = Span(first.start, partition.spans[-1].stop, first.groups)
        return Partition((*local, tail), f"{partition.origin}, joint tail of {self.depth}")

    def auxnet(self, backbone: Backbone, layer: int, shape: Shape, depth: int) -> AuxSpec:
        """The auxiliary network of ``depth`` layers after block ``layer``, whose output has ``shape`` (C, H, W).

        Of a foreign network ``shape`` is that of its features as they are, tokens (N, C) for example.
        """
        rule, name = rule_of(self.selection, backbone, layer), backbone.block_names[layer]
        head_bn = depth <= 1 if self.head_bn == "auto" else self.head_bn
        flat = self.classifier == "flat-mlp"
        if backbone.source is not None:
            return adapted_auxnet(backbone, layer, rule, depth, head_bn=head_bn, flat=flat, aux_pool=self.aux_pool)
        check_map(shape, "AugLocal", backbone)
        read = pooled_shape(shape, self.aux_pool)
        with located(f"AugLocal: the auxiliary network behind block {name!r} of {backbone.name}"):
            blocks = select_blocks(rule, backbone, layer, read, depth)
            behind = read
            for block in blocks:
                behind = block.shape(behind)
        if flat:
            return pooled_first(Truncated(blocks, FlatMLP(backbone.num_classes)), shape, self.aux_pool)
        check_map(behind, "AugLocal", backbone)
        aux = Truncated(blocks, PooledLinear(behind[0], backbone.num_classes, head_bn))
        return pooled_first(aux, shape, self.aux_pool)
