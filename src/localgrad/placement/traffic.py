"""Every send and receive of a training step, known before it runs: the runtime opens these channels and no others."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import final

from localgrad.network import LocalNetwork
from localgrad.placement.hosts import Placement
from localgrad.spec import Shape
from localgrad.unit import Unit

LABEL_BYTES = 8


class Kind(StrEnum):
    """What a message holds."""

    OUTPUT = "output"
    """A unit's detached output, for units of the next span; labels and images that later units need go with it."""
    FEATURES = "features"
    """The same for another neuron group of the span, whose auxiliary network looks at it."""
    LOGITS = "logits"
    """Detached logits for another neuron group of the span."""
    COTANGENT = "cotangent"
    """The gradient at a unit's output from a cascade that goes on below: backward, declared by the method."""
    WEIGHTS = "weights"
    """Weights of a later block that an auxiliary network follows: backward, declared by the method."""


class Wire(StrEnum):
    """Number format of outputs, features and logits between processes; ``float32`` sends what there is, exactly."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"

    @property
    def bytes(self) -> int:
        """Bytes of one number."""
        return {Wire.FLOAT32: 4, Wire.BFLOAT16: 2, Wire.INT8: 1}[self]


@final
@dataclass(frozen=True)
class Transfer:
    """One channel: in every step, ``count`` messages about ``unit`` from stage ``source`` to stage ``target``.

    ``shape`` is that of one sample ((numbers,) of all weights for WEIGHTS). ``extras`` are the fields of a Batch that
    travel along with an output.
    """

    kind: Kind
    unit: int
    source: int
    target: int
    shape: Shape
    count: int = 1
    extras: tuple[str, ...] = ()
    image: Shape = ()

    @property
    def backward(self) -> bool:
        """Whether it goes against the arrows, as a method declares."""
        return self.kind in (Kind.COTANGENT, Kind.WEIGHTS)

    def bytes(self, rows: int, wire: Wire = Wire.FLOAT32) -> int:
        """Bytes of the numbers in one step of ``rows`` samples."""
        if self.kind is Kind.WEIGHTS:
            return 4 * prod(self.shape)
        if self.kind is Kind.COTANGENT:
            return 4 * self.count * rows * prod(self.shape)
        scales = 4 * rows if wire is Wire.INT8 else 0
        more = rows * (LABEL_BYTES * ("y" in self.extras) + 4 * prod(self.image) * ("image" in self.extras))
        return rows * prod(self.shape) * wire.bytes + scales + more


def unit_shapes(net: LocalNetwork) -> list[Shape]:
    """Shape of one sample of every unit's output: the channels of its group; of the head's input for an empty span."""
    shapes = [net.backbone.image, *net.backbone.shapes()]
    found = []
    for unit in net.unit_list():
        channels, *size = shapes[unit.span.stop]
        found.append((unit.span.groups[unit.spec.group] if unit.span.groups else channels, *size))
    return found


def next_members(units: Sequence[Unit], index: int) -> list[int]:
    """Places of the units of span ``index + 1``."""
    return [place for place, unit in enumerate(units) if unit.spec.index == index + 1]


def lead(units: Sequence[Unit], place: int) -> bool:
    """Whether the unit is the first of its span: labels and images travel with the output of that one."""
    return place == 0 or units[place - 1].spec.index != units[place].spec.index


def transfers(net: LocalNetwork, placement: Placement, *, labels: bool = True) -> tuple[Transfer, ...]:
    """All channels between the stages of a placement, in a fixed order. ``net`` may be on the meta device.

    ``labels``: labels and images travel with the outputs; else every stage takes them from a loader of its own.
    """
    units, hosts, shapes = net.unit_list(), placement.hosts, unit_shapes(net)
    found: list[Transfer] = []
    for place, unit in enumerate(units):
        here, shape = hosts[place], shapes[place]
        later = frozenset().union(*(other.spec.needs for other in units if other.spec.index > unit.spec.index), {"y"})
        extras = tuple(sorted(later & {"y", "image"})) if labels and lead(units, place) else ()
        image = net.backbone.image if "image" in extras else ()
        for target in sorted({hosts[other] for other in next_members(units, unit.spec.index)} - {here}):
            found.append(Transfer(Kind.OUTPUT, place, here, target, shape, extras=extras, image=image))
        peers = [p for p, other in enumerate(units) if other.spec.index == unit.spec.index and p != place]
        for kind, wanted, sent in (
            (Kind.FEATURES, [p for p in peers if units[p].spec.shares_features], shape),
            (Kind.LOGITS, [p for p in peers if units[p].spec.shares_outputs], (net.backbone.num_classes,)),
        ):
            for target in sorted({hosts[p] for p in wanted} - {here}):
                found.append(Transfer(kind, place, here, target, sent))
    return (*found, *_cotangents(units, hosts, shapes), *_weights(net, placement))


def _cotangents(units: Sequence[Unit], hosts: Sequence[int], shapes: Sequence[Shape]) -> list[Transfer]:
    found = []
    for place in range(1, len(units)):
        if hosts[place] != hosts[place - 1]:
            # One message per reach of a unit from here on whose cascade goes on below.
            reaches = [{o.reach for o in unit.spec.objectives} for unit in units]
            count = sum(last - reach + 1 < place for last in range(place, len(units)) for reach in reaches[last])
            if count:
                kind, below = Kind.COTANGENT, place - 1
                found.append(Transfer(kind, below, hosts[place], hosts[below], shapes[below], count=count))
    return found


def follows_blocks(units: Sequence[Unit]) -> bool:
    """Whether parts of auxiliary networks follow blocks of the network in every step, wherever these are."""
    return any(follow.rate is not None and follow.other is None for unit in units for follow in unit.spec.follows)


def followed(net: LocalNetwork, placement: Placement) -> dict[tuple[int, int], tuple[str, ...]]:
    """Names of the parameters that auxiliary networks of another stage follow, by (unit that owns them, that stage).

    Every one is there once, in the order in which the units' ``follows`` name them: both ends of a channel use this.
    """
    units, hosts = net.unit_list(), placement.hosts
    owner = {id(weight): place for place, unit in enumerate(units) for weight in unit.body.parameters()}
    names = {id(weight): name for name, weight in net.named_parameters()}
    found: dict[tuple[int, int], dict[str, None]] = {}
    for place, unit in enumerate(units):
        for follow, source in zip(unit.spec.follows, unit.sources, strict=True):
            if follow.rate is None or follow.other is not None:
                continue
            for weight in source.parameters():
                whose = owner[id(weight)]
                if hosts[whose] != hosts[place]:
                    found.setdefault((whose, hosts[place]), {})[names[id(weight)]] = None
    return {ends: tuple(own) for ends, own in sorted(found.items())}


def _weights(net: LocalNetwork, placement: Placement) -> list[Transfer]:
    parameters = dict(net.named_parameters())
    return [
        Transfer(Kind.WEIGHTS, unit, placement.hosts[unit], target, (sum(parameters[name].numel() for name in names),))
        for (unit, target), names in followed(net, placement).items()
    ]
