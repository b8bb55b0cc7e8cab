"""InfoPro's reconstruction loss as something that a method adds to its units."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, final, get_args

from localgrad.auxnets import Decoder, ImageNetDecoder, views_of
from localgrad.auxnets.decoder import Upsample
from localgrad.errors import LocalgradError, nearest
from localgrad.losses import reconstruction
from localgrad.methods.heads import check_map
from localgrad.methods.infopro_lambdas import Lambdas
from localgrad.methods.options import check_effect
from localgrad.objective import Objective, UnitSpec
from localgrad.spec import AuxSpec, Backbone, Shape

DecoderKind = Literal["2c", "4c", "imagenet"]
"""InfoPro's decoder of two convolutions, AugLocal's variant of four, InfoPro's for ImageNet."""


@final
@dataclass(frozen=True)
class Reconstruction:
    """A decoder per local unit, with binary cross-entropy against the image.

    ``lambdas`` weigh (reconstruction, task) along the units; None takes AugLocal's comparison on ``dataset``, where it
    has one. ``decoder``, ``upsample`` and ``widen`` (times 12 channels) shape the decoder. Raises LocalgradError for
    unknown words and for a ``widen`` below 1.
    """

    lambdas: Lambdas | None = None
    dataset: str = "cifar10"
    decoder: DecoderKind = "2c"
    upsample: Upsample = "bilinear"
    widen: int = 1

    def __post_init__(self) -> None:
        check_decoder("Reconstruction", self.decoder, self.upsample, self.widen, self.lambdas)
        if type(self.dataset) is not str:
            raise LocalgradError(f"Reconstruction: dataset must be a name such as 'cifar10', got {self.dataset!r}.")
        if self.decoder == "imagenet":
            check_effect(self, ["widen"], "with decoder='imagenet'")

    def add(self, backbone: Backbone, units: Sequence[UnitSpec], lambdas: Lambdas) -> tuple[UnitSpec, ...]:
        """``units`` with a reconstruction objective each, all weighed by ``lambdas``; the last one stays as it is."""
        views, added = views_of(backbone), []
        for index, unit in enumerate(units[:-1]):
            weight, task = lambdas.at(index, len(units))
            objectives = tuple(replace(objective, weight=task) for objective in unit.objectives)
            view = views[unit.span.stop - 1]
            decoder = view.of(self.auxnet(backbone, view.shape))
            own = Objective("reconstruction", decoder, reconstruction, weight, needs=frozenset({"image"}))
            added.append(replace(unit, objectives=(*objectives, own)))
        return (*added, *units[-1:])

    def auxnet(self, backbone: Backbone, shape: Shape) -> AuxSpec:
        """The decoder behind features of ``shape`` (C, H, W)."""
        check_map(shape, "Reconstruction", backbone)
        if self.decoder == "imagenet":
            return ImageNetDecoder(shape[0], backbone.image, self.upsample)
        return Decoder(shape[0], backbone.image, int(self.decoder[0]), self.widen, self.upsample)


def check_decoder(who: str, decoder: str, upsample: str, widen: int, lambdas: object) -> None:
    """Raise LocalgradError for what no decoder can be made of, or weighed with."""
    for name, word, choices in (
        ("decoder", decoder, get_args(DecoderKind)),
        ("upsample", upsample, get_args(Upsample)),
    ):
        if word not in choices:
            raise LocalgradError(f"{who}: {name} {word!r} is unknown. {nearest(str(word), choices)}")
    if type(widen) is not int or widen < 1:
        raise LocalgradError(f"{who}: widen must be a whole number of at least 1, got {widen!r}.")
    if lambdas is not None and not isinstance(lambdas, Lambdas):
        raise LocalgradError(
            f"{who}: lambdas must be Lambdas(first=(5, 0.5), last=(0, 0)), pairs of (reconstruction, task) weights, "
            f"got {lambdas!r}."
        )
