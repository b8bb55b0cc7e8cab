"""InfoPro (Wang, Ni, Song, Yang, Huang 2021, "Revisiting locally supervised learning", ICLR, arXiv 2101.10832).

A unit keeps what the task needs and what the image was: a task loss, and the reconstruction of the input. The weights
of the two change linearly along the network.
"""

from dataclasses import dataclass, replace
from typing import Literal, assert_never, final, get_args

from localgrad.auxnets import Features, infopro_imagenet_head, pooled_first, widened
from localgrad.auxnets.decoder import Upsample
from localgrad.errors import LocalgradError, nearest
from localgrad.losses import supervised_contrast
from localgrad.method import Method, supervised_units
from localgrad.methods.heads import check_map, gndgl_head, xcyf_head
from localgrad.methods.infopro_lambdas import SCHEDULES, Balance, Lambdas, Source, Task, how_to_give_one, published
from localgrad.methods.matching import enlarged, reference
from localgrad.methods.options import check_aux_pool, check_effect, check_match
from localgrad.methods.reconstruction import DecoderKind, Reconstruction, check_decoder
from localgrad.objective import UnitSpec
from localgrad.partition import Cut, PaperTable
from localgrad.spec import AuxSpec, Backbone, Partition, Shape

Head = Literal["1c2f", "gndgl-1c2f", "imagenet"]
"""The task's auxiliary network: one convolution and two linear layers, the same with GN-DGL's widths and stride (its
comparison, and its table of speed-ups), or that of the ImageNet experiments."""

FEATURES = 128
"""Outputs of the head that contrast compares (released code)."""


@final
@dataclass(frozen=True)
class InfoPro:
    """Per unit a task loss and the binary cross-entropy of a decoded image; the last unit has cross-entropy alone.

    ``loss`` is the task's: supervised contrast of 128 features, or cross-entropy ("softmax"). ``lambdas`` are the
    weights (reconstruction, task) of the first and the last local module. Without them the schedule that ``source``
    used for ``dataset``, the network, K and ``split`` is taken; ``split`` and ``source`` also choose the table that
    ``modules=K`` is cut by. A setting without a published schedule raises a LocalgradError that lists those there are.
    ``head``, ``decoder``, ``upsample`` and ``widen`` (which multiplies the widths of head and decoder) shape the
    auxiliary networks. ``match`` widens the heads until they cost what those of another method cost, on its units:
    ``match=AugLocal(depth=6)`` (AugLocal, table 9). ``aux_pool`` averages p x p features before the head where the map
    is larger than 8x8 (``auxnets.PooledFirst``). The decoder reads the whole map: what it reconstructs is the whole
    image, and it works at the size of the image whatever it reads, so averages would save nothing.

    Raises LocalgradError for unknown words, a ``widen`` below 1 and heads that cannot be widened.
    """

    loss: Task = "contrast"
    lambdas: Lambdas | None = None
    dataset: str = "cifar10"
    source: Source = "infopro"
    split: Balance = "standard"
    head: Head = "1c2f"
    decoder: DecoderKind = "2c"
    upsample: Upsample = "bilinear"
    widen: int = 1
    match: Method | None = None
    aux_pool: int = 1

    def __post_init__(self) -> None:
        for name, choices in (
            ("loss", get_args(Task)),
            ("source", get_args(Source)),
            ("split", get_args(Balance)),
            ("head", get_args(Head)),
        ):
            word = getattr(self, name)
            if word not in choices:
                raise LocalgradError(f"InfoPro: {name} {word!r} is unknown. {nearest(str(word), choices)}")
        check_decoder("InfoPro", self.decoder, self.upsample, self.widen, self.lambdas)
        if type(self.dataset) is not str:
            raise LocalgradError(f"InfoPro: dataset must be a name such as 'cifar10', got {self.dataset!r}.")
        if self.decoder == "imagenet" and self.head != "1c2f":
            check_effect(self, ["widen"], f"with head={self.head!r} and decoder='imagenet'")
        check_match("InfoPro", self.match)
        check_aux_pool(self)
        if self.match is not None and self.head != "1c2f":
            raise LocalgradError(f"InfoPro: match widens the 1c2f head, got head={self.head!r}. Leave one of them out.")

    @property
    def needs(self) -> frozenset[str]:
        """Labels, and the image in [0, 1]."""
        return frozenset({"y", "image"})

    @property
    def reach(self) -> int:
        """Each loss updates its own unit."""
        return 1

    def cut(self, backbone: Backbone, modules: int | None) -> Cut:
        """The papers' table for ``modules`` and ``split``; one module per block by default."""
        if self.split == "balanced":
            table = f"infopro_balanced_{self.dataset}"
        else:
            table = "mlaan" if self.source == "mlaan" else "infopro"
        return PaperTable(len(backbone.blocks) if modules is None else modules, table)

    def units(self, backbone: Backbone, partition: Partition) -> tuple[UnitSpec, ...]:
        """One unit per span. Raises LocalgradError when there is no lambda schedule for this network and cut."""
        if len(partition) == 1:
            return supervised_units(backbone, partition, lambda _, shape: self.auxnet(backbone, shape))
        lambdas = self.lambdas or self._published(backbone, partition)
        outputs = FEATURES if self.loss == "contrast" else backbone.num_classes
        heads: tuple[AuxSpec, ...] | None = None
        if self.match is not None:
            compared = reference(self.match, backbone, partition)
            partition = compared.partition

            def wide(shape: Shape, width: int) -> AuxSpec:
                head = widened(xcyf_head(backbone, shape, outputs, widen=self.widen), width)
                return pooled_first(head, shape, self.aux_pool)

            heads = enlarged(compared, wide)

        def aux_for(unit: int, shape: Shape) -> AuxSpec:
            return self.auxnet(backbone, shape) if heads is None else heads[unit]

        units = supervised_units(backbone, partition, aux_for)
        if self.loss == "contrast":
            units = (*(_contrasted(unit) for unit in units[:-1]), units[-1])
        recon = Reconstruction(decoder=self.decoder, upsample=self.upsample, widen=self.widen)
        return recon.add(backbone, units, lambdas)

    def auxnet(self, backbone: Backbone, shape: Shape) -> AuxSpec:
        """The head of the task behind features of ``shape`` (C, H, W)."""
        check_map(shape, "InfoPro", backbone)
        return pooled_first(self._head(backbone, shape), shape, self.aux_pool)

    def _head(self, backbone: Backbone, shape: Shape) -> AuxSpec:
        """The same without the average before it."""
        outputs = FEATURES if self.loss == "contrast" else backbone.num_classes
        match self.head:
            case "1c2f":
                return xcyf_head(backbone, shape, outputs, widen=self.widen)
            case "gndgl-1c2f":
                return gndgl_head(backbone, shape[0], outputs)
            case "imagenet":
                return infopro_imagenet_head(shape[0], outputs)
            case _:
                assert_never(self.head)

    def _published(self, backbone: Backbone, partition: Partition) -> Lambdas:
        modules = len(partition)
        setting = published(self.source, self.loss, self.dataset, backbone.name, self.split, modules)
        # A schedule for any K is for any cut; the others were tuned for one.
        if setting.modules is not None and partition.spans != self.cut(backbone, modules)(backbone).spans:
            raise LocalgradError(
                f"InfoPro: the published lambda schedule for {backbone.name} in {modules} modules is for the paper's "
                f"{self.split} split, this one is {partition.origin}. {how_to_give_one()}"
            )
        return SCHEDULES[setting]


def _contrasted(unit: UnitSpec) -> UnitSpec:
    """The unit with supervised contrast of its head's outputs in place of cross-entropy."""
    (task,) = unit.objectives
    return replace(unit, objectives=(replace(task, aux=Features(task.aux), loss=supervised_contrast, pairs=True),))
