"""MLAAN (Zhang et al. 2024, arXiv 2406.16633): multilaminar local modules (MLM), leap augmented modules (LAM).

MLM: besides a loss of its own, every module is trained by cascades of k modules whose loss sits at the end of the last.
LAM: before the heads of these losses stand copies of later blocks, trained with the module or averaged over time.
"""

from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal, final, get_args

from torch import Tensor

from localgrad.auxnets import (
    Leap,
    Truncated,
    VectorMLP,
    View,
    default_leaps,
    leap_shape,
    pooled_first,
    pooled_shape,
    views_of,
)
from localgrad.auxnets.pooled_first import INNER
from localgrad.blocks import ConvBNReLU, PooledLinear
from localgrad.errors import LocalgradError, nearest
from localgrad.losses import Outputs, cross_entropy, reconstruction
from localgrad.method import supervised_units, unit_name
from localgrad.methods.dgl import DGL
from localgrad.methods.heads import check_map, xcyf_head
from localgrad.methods.infopro_lambdas import Lambdas
from localgrad.methods.mlaan_leaps import given_leaps, published_leaps
from localgrad.methods.options import check_aux_pool, check_effect, check_switches
from localgrad.methods.reconstruction import Reconstruction
from localgrad.objective import Follow, Objective, UnitSpec
from localgrad.partition import Cut, PaperTable
from localgrad.spec import AuxSpec, Backbone, Batch, Partition, Shape

Base = Literal["plain", "dgl", "infopro"]
"""What the losses look through: pooling and a linear layer, as the network's own head (the papers' rows "MLAAN"); DGL's
auxiliary network ("DGL*"); InfoPro's decoder and 1c2f head with cross-entropy ("InfoPro*")."""

IMAGE = frozenset({"image"})
OFFICIAL = DGL()
# The same for every data set and K (methods.md 5); it leaves nothing for the last local module. Linear in the module:
# the code takes the stage, a slip (row 30).
CONSTANT = Lambdas((5, 0.5), (0, 0))


def decoded(outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
    """Reconstruction loss of the output ``image`` of an auxiliary network that has several."""
    return reconstruction({"logits": outputs["image"]}, batch)


@final
@dataclass(frozen=True)
class MLAAN:
    """Every module has a loss of its own, and every ``cascade`` consecutive ones have one together, where they end.

    ``cascade`` is the paper's k; 1 switches cascades off (LAM alone). ``leaps`` puts copies of later blocks before the
    head of a cascade: True takes the lists of the released code where the network is cut as there, and elsewhere the
    rule ``auxnets.default_leaps``; False none (MLM alone); or lists of block names, one per module but the last (those
    of modules where no cascade ends are not used). ``weights`` are those of the own and of the cascade loss, by default
    (0.001, 0.999), and (0.01, 0.99) for DGL without leaps, as in the code; LAM alone has one loss, of weight 1.

    Averaged copies (EMA) keep ``ema_rate`` of themselves in every step and take the rest from ``ema_source``: the
    network's blocks, or the trained copies, as equation 7 says (methods.md 12, row 23). ``ema_on`` is which leaps have
    one, ``ema_moves`` the modules whose copies move at all; ``ema_trained`` trains them by gradient as well.
    ``first_own`` says whether modules before the end of the first cascade have a loss of their own; ``last_own``
    whether the last module has one, beside that of its cascade, which without it weighs 1. ``dgl`` is whose head
    ``base="dgl"`` takes; ``lambdas`` weigh InfoPro's losses along the modules. ``aux_pool`` averages p x p features
    before the heads of own losses, and before the leaps of cascades, where the map is larger than 8x8
    (``auxnets.PooledFirst``). InfoPro's decoder of an own loss reads the whole map, that of a cascade what the leaps
    make of the average.

    One module is plain backpropagation. Raises LocalgradError for what is unknown or out of range.
    """

    # Paper against code (methods.md 12, rows 22 to 28): three modules as in the text and all files but one; averages of
    # the network, of which the prose says that they bring information from deeper modules; all of them move, every
    # module has its own loss and the last one both, as the paper's equations have it; weights and lists are the code's.
    cascade: int = 3
    leaps: bool | tuple[tuple[str, ...], ...] = True
    base: Base = "plain"
    weights: tuple[float, float] | None = None
    ema_rate: float = 0.995
    ema_source: Literal["network", "copy"] = "network"
    ema_on: Literal["first", "all"] = "first"
    ema_moves: Literal["all", "last"] = "all"
    ema_trained: bool = False
    first_own: bool = True
    last_own: bool = True
    dgl: DGL = OFFICIAL
    lambdas: Lambdas = CONSTANT
    aux_pool: int = 1

    @classmethod
    def released(cls) -> "MLAAN":
        """The settings of the released code's ``resnetMLAAN.py`` (methods.md 12, rows 22 to 26)."""
        return cls(cascade=2, ema_moves="last", first_own=False, last_own=False)

    def __post_init__(self) -> None:
        if type(self.cascade) is not int or self.cascade < 1:
            raise LocalgradError(f"MLAAN: cascade must be a whole number of modules, at least 1, got {self.cascade!r}.")
        for name, choices in (
            ("base", get_args(Base)),
            ("ema_source", ("network", "copy")),
            ("ema_on", ("first", "all")),
            ("ema_moves", ("all", "last")),
        ):
            word = getattr(self, name)
            if word not in choices:
                raise LocalgradError(f"MLAAN: {name} {word!r} is unknown. {nearest(str(word), choices)}")
        if not isinstance(self.leaps, bool):
            _check_names(self.leaps)
        for name, value, kind in (("dgl", self.dgl, DGL), ("lambdas", self.lambdas, Lambdas)):
            if not isinstance(value, kind):
                raise LocalgradError(f"MLAAN: {name} must be a {kind.__name__}(...), got {value!r}.")
        if self.dgl.match is not None:
            raise LocalgradError(
                "MLAAN: its heads are those of DGL as they are, match is not taken: leave it out of dgl=DGL(...)."
            )
        if self.dgl.least_probability:
            raise LocalgradError(
                "MLAAN: its losses are plain cross-entropies, leave least_probability out of dgl=DGL(...)."
            )
        if self.dgl.aux_pool != 1:
            raise LocalgradError(
                "MLAAN: aux_pool is an option of its own: leave it out of dgl=DGL(...) and give MLAAN(aux_pool=...)."
            )
        check_aux_pool(self)
        check_switches(self, ("ema_trained", "first_own", "last_own"))
        if self.cascade == 1 and self.leaps is False:
            raise LocalgradError(
                "MLAAN: cascade=1 without leaps leaves nothing of the method. Take cascade=3, leaps=True, or DGL()."
            )
        if type(self.ema_rate) not in (int, float) or not 0 <= self.ema_rate <= 1:
            raise LocalgradError(f"MLAAN: ema_rate must be between 0 and 1, got {self.ema_rate!r}.")
        if self.weights is not None and not _are_weights(self.weights):
            raise LocalgradError(
                f"MLAAN: weights must be two numbers of at least 0, (own loss, cascade loss), got {self.weights!r}."
            )
        self._check_effects()

    def _check_effects(self) -> None:
        """Raise LocalgradError for options that something else switches off."""
        if self.base != "dgl":
            check_effect(self, ["dgl"], f"with base={self.base!r}")
        if self.base != "infopro":
            check_effect(self, ["lambdas"], f"with base={self.base!r}")
        if self.leaps is False:
            averaging = [name for name in vars(self) if name.startswith("ema_")]
            check_effect(self, averaging, "with leaps=False")
        if self.cascade == 1:
            check_effect(self, ["weights", "first_own", "last_own"], "with cascade=1, which has one loss per module")

    @property
    def needs(self) -> frozenset[str]:
        """Labels; on InfoPro the image in [0, 1] too."""
        return frozenset({"y", "image"} if self.base == "infopro" else {"y"})

    @property
    def reach(self) -> int:
        """A loss at the end of a cascade updates all of its modules."""
        return self.cascade

    def cut(self, backbone: Backbone, modules: int | None) -> Cut:
        """The code's table for ``modules``, which merges the stem into the first block; one per block by default.

        K may be written as in the paper or as in the code (ResNet-32: 16 or 15).
        """
        return PaperTable(len(backbone.blocks) if modules is None else modules, "mlaan")

    def units(self, backbone: Backbone, partition: Partition) -> tuple[UnitSpec, ...]:
        """One unit per span. Raises LocalgradError for too few of them, and for leaps that do not fit the network."""
        count, last = len(partition), len(partition) - 1
        if count == 1 or any(span.groups for span in partition.spans):
            return supervised_units(backbone, partition, lambda _, shape: self._head(backbone, shape))
        if self.cascade > count:
            raise LocalgradError(
                f"MLAAN: a cascade of {self.cascade} modules is longer than the network, which is cut into {count}. "
                f"Take cascade={count} or less, or more modules."
            )
        leaps, views, units = self._leaps(backbone, partition), views_of(backbone), []
        for j, span in enumerate(partition.spans):
            objectives, follows = self._last(backbone), tuple[Follow, ...]()
            if j < last:
                moves = self.ema_moves == "all" or j == last - 1
                view = views[span.stop - 1]
                own = self._own(backbone, view.shape, j, count)
                objectives = tuple(replace(objective, aux=view.of(objective.aux)) for objective in own)
                if j >= self.cascade - 1:
                    objectives += self._cascade(backbone, span.stop - 1, leaps[j], j, count)
                    follows = self._follows(leaps[j], moves, view.features)
            name = unit_name(backbone, span.stop, span.start)
            initialise = backbone.initialise_aux or backbone.initialise
            units.append(UnitSpec(j, name, span, objectives, follows=follows, initialise=initialise))
        return tuple(units)

    def _leaps(self, backbone: Backbone, partition: Partition) -> tuple[tuple[int, ...], ...]:
        """For every module but the last, the blocks that are copied."""
        if self.leaps is False:
            return ((),) * (len(partition) - 1)
        if self.leaps is not True:
            return given_leaps(backbone, partition, self.leaps)
        lists = published_leaps(backbone, partition)
        if lists is not None:
            return lists
        return tuple(default_leaps(backbone, span.stop - 1) for span in partition.spans[:-1])

    def _weights(self) -> tuple[float, float]:
        """Of the own and the cascade loss."""
        if self.weights is not None:
            return self.weights
        return (0.01, 0.99) if self.base == "dgl" and self.leaps is False else (0.001, 0.999)

    def _own(self, backbone: Backbone, shape: Shape, module: int, modules: int) -> tuple[Objective, ...]:
        """The module's own losses, on its output seen as ``shape``."""
        if self.cascade == 1 or (module < self.cascade - 1 and not self.first_own):
            return ()
        weight, _ = self._weights()
        task = Objective("own", self._pooled_head(backbone, shape), cross_entropy, weight)
        if self.base != "infopro":
            return (task,)
        image_weight, task_weight = self.lambdas.at(module, modules)
        decoder = Reconstruction().auxnet(backbone, shape)
        return (
            replace(task, weight=weight * task_weight),
            Objective("own_image", decoder, reconstruction, weight * image_weight, needs=IMAGE),
        )

    def _cascade(
        self, backbone: Backbone, end: int, leaps: tuple[int, ...], module: int, modules: int
    ) -> tuple[Objective, ...]:
        """The losses of the cascade that ends at block ``end``, behind ``leaps``."""
        name, weight = ("leap", 1.0) if self.cascade == 1 else ("cascade", self._weights()[1])
        views, pool = views_of(backbone), self.aux_pool
        own, view = views[end].features, views[end]
        if leaps:
            if pool > 1 and view.axis:
                raise LocalgradError(
                    f"MLAAN: aux_pool={pool} averages maps (C, H, W) before leaps, and the border behind "
                    f"{backbone.block_names[end]!r} of {backbone.name} carries {own}. Take aux_pool=1, or leaps=False."
                )
            shape = leap_shape(backbone, end, leaps, "MLAAN", read=pooled_shape(own, pool))
            view = View(shape, views[leaps[-1]].axis)
        head = self._head if leaps else self._pooled_head
        heads = [("logits", view.of(head(backbone, view.shape, leaping=True)))]
        if self.base == "infopro":
            heads.append(("image", view.of(Reconstruction().auxnet(backbone, view.shape))))
        averaged = 1 if self.ema_on == "first" else len(leaps)
        blocks = tuple(backbone.blocks[leap] for leap in leaps)
        leap = Leap(blocks, tuple(heads), min(averaged, len(leaps)), self.ema_trained)
        aux = pooled_first(leap, own, pool) if leaps else leap
        task = Objective(name, aux, cross_entropy, weight, self.cascade)
        if self.base != "infopro":
            return (task,)
        image_weight, task_weight = self.lambdas.at(module, modules)
        return (
            replace(task, weight=weight * task_weight),
            Objective(f"{name}_image", aux, decoded, weight * image_weight, self.cascade, IMAGE),
        )

    def _follows(self, leaps: tuple[int, ...], moves: bool, own: Shape) -> tuple[Follow, ...]:
        """Which block every copy starts as, and what the averaged ones follow; the leaps read features of ``own``."""
        inside = "" if pooled_shape(own, self.aux_pool) == own else f"{INNER}."
        name = "leap" if self.cascade == 1 else "cascade"
        rate = self.ema_rate if moves else None
        averaged = leaps[:1] if self.ema_on == "first" else leaps
        copied = self.ema_source == "copy"
        return (
            *(Follow(name, f"{inside}trained.{j}", block) for j, block in enumerate(leaps)),
            *(
                Follow(name, f"{inside}averaged.{j}", block, rate, f"{inside}trained.{j}" if copied else None)
                for j, block in enumerate(averaged)
            ),
        )

    def _last(self, backbone: Backbone) -> tuple[Objective, ...]:
        """The last module's losses, through the network's own head."""
        if self.cascade == 1:
            return (Objective("task", backbone.head, cross_entropy),)
        if not self.last_own:
            return (Objective("cascade", backbone.head, cross_entropy, 1.0, self.cascade),)
        own, cascade = self._weights()
        return (
            Objective("own", backbone.head, cross_entropy, own),
            Objective("cascade", backbone.head, cross_entropy, cascade, self.cascade),
        )

    def _pooled_head(self, backbone: Backbone, shape: Shape, *, leaping: bool = False) -> AuxSpec:
        """The classifier directly behind a module's features of ``shape``, averaged first where that saves anything."""
        head = self._head(backbone, pooled_shape(shape, self.aux_pool), leaping=leaping)
        return head if isinstance(head, PooledLinear) else pooled_first(head, shape, self.aux_pool)

    def _head(self, backbone: Backbone, shape: Shape, *, leaping: bool = False) -> AuxSpec:
        """The classifier behind features of ``shape``; ``leaping``: behind leaps, or where they would be."""
        if self.base == "dgl":
            return self.dgl.auxnet(backbone, shape)
        if len(shape) == 1 and backbone.source is not None and self.base == "plain":
            return VectorMLP(shape[0], backbone.num_classes, hidden=0)
        check_map(shape, "MLAAN", backbone)
        if self.base == "infopro":
            return xcyf_head(backbone, shape, backbone.num_classes)
        pooled = PooledLinear(shape[0], backbone.num_classes)
        channels = shape[0]
        if backbone.name == "imagenet_resnet34" and channels <= 128 and not leaping:
            # 64 -> 128 -> 64 and 128 -> 256 -> 128; wider features go to the classifier as they are.
            squeeze = ConvBNReLU(channels, 2 * channels, kernel=1), ConvBNReLU(2 * channels, channels, kernel=1)
            return Truncated(squeeze, pooled)
        return pooled


def _are_weights(weights: object) -> bool:
    """Whether these are two finite numbers of at least 0."""
    pair = isinstance(weights, tuple) and len(weights) == 2
    return pair and all(type(one) in (int, float) and isfinite(one) and one >= 0 for one in weights)  # type: ignore[attr-defined]


def _check_names(leaps: object) -> None:
    """Raise LocalgradError unless these are lists of block names."""
    lists = isinstance(leaps, tuple) and all(isinstance(one, tuple) for one in leaps)
    if not lists or not all(isinstance(name, str) for one in leaps for name in one):  # type: ignore[attr-defined]
        raise LocalgradError(
            "MLAAN: leaps must be True, False, or a tuple with a tuple of block names per module but the last, such as "
            f'(("layer2.0", "layer3.0"), ("layer3.0",)), got {leaps!r}.'
        )
