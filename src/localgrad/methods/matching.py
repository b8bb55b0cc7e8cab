"""Auxiliary networks as expensive as another method's, unit by unit (AugLocal, tables 5 and 9: equal FLOPs).

What is compared are MACs of convolutions and linear layers of the task's auxiliary network in a forward pass; decoders
do not count, as in the papers' tables (methods.md 11.5).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from localgrad.auxnets import closest, conv_linear_macs, views_of
from localgrad.errors import LocalgradError
from localgrad.method import Method
from localgrad.spec import AuxSpec, Backbone, Partition, Shape


@final
@dataclass(frozen=True)
class Reference:
    """The units of a method that another one is compared with.

    ``partition`` is theirs: a joint tail is merged. ``auxnets``, ``shapes`` (C, H, W of what they read) and ``macs``
    are those of every unit but the last.
    """

    partition: Partition
    auxnets: tuple[AuxSpec, ...]
    shapes: tuple[Shape, ...]
    macs: tuple[int, ...]


def reference(method: Method, backbone: Backbone, partition: Partition) -> Reference:
    """What the units of ``method`` look through and what that costs.

    Raises what the method raises, and LocalgradError where a foreign network has tokens or channels last at a border.
    """
    units = method.units(backbone, partition)
    views = [views_of(backbone)[unit.span.stop - 1] for unit in units[:-1]]
    for view, unit in zip(views, units, strict=False):
        if view.shape != view.features or view.axis:
            raise LocalgradError(
                f"match compares auxiliary networks on feature maps (C, H, W), and the border behind {unit.name!r} of "
                f"{backbone.name} carries features of shape {view.features}, channels on axis {view.axis}. Leave match "
                "out, or cut the network where it has maps."
            )
    auxnets = tuple(unit.objectives[0].aux for unit in units[:-1])
    shapes = tuple(view.features for view in views)
    known = {pair: conv_linear_macs(*pair) for pair in dict.fromkeys(zip(auxnets, shapes, strict=True))}
    macs = tuple(known[pair] for pair in zip(auxnets, shapes, strict=True))
    return Reference(Partition(tuple(unit.span for unit in units), partition.origin), auxnets, shapes, macs)


def enlarged(compared: Reference, make: Callable[[Shape, int], AuxSpec]) -> tuple[AuxSpec, ...]:
    """For every unit but the last, ``make(shape, width)`` with the width that brings its MACs closest to the other's.

    MACs must grow with the width, which starts at 1. Equal units are solved for once.
    """
    pairs = list(zip(compared.shapes, compared.macs, strict=True))

    def solve(shape: Shape, target: int) -> AuxSpec:
        return closest(lambda width: make(shape, width), shape, target)

    solved = {pair: solve(*pair) for pair in dict.fromkeys(pairs)}
    return tuple(solved[pair] for pair in pairs)
