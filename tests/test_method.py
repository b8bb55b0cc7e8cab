"""The shape that most supervised methods share."""

import pytest

from localgrad import LocalgradError, Partition, Span
from localgrad.blocks import PooledLinear, he_fan_out
from localgrad.method import supervised_units, unit_name
from localgrad.recompute import Recompute

from .conftest import tiny_resnet


def test_supervised_units() -> None:
    backbone = tiny_resnet()
    asked = []

    def aux_for(unit: int, shape: tuple[int, ...]) -> PooledLinear:
        asked.append((unit, shape))
        return PooledLinear(shape[0], 4)

    partition = Partition((Span(0, 1), Span(1, 4), Span(4, 7)))
    units = supervised_units(backbone, partition, aux_for, recompute=Recompute(2))
    assert asked == [(0, (8, 8, 8)), (1, (16, 4, 4))]
    assert [unit.index for unit in units] == [0, 1, 2]
    assert [unit.objectives[0].aux for unit in units] == [PooledLinear(8, 4), PooledLinear(16, 4), backbone.head]
    assert units[-1].objectives[0].aux is backbone.head
    assert {unit.recompute for unit in units} == {Recompute(2)}
    assert {unit.initialise for unit in units} == {he_fan_out}


def test_unit_name() -> None:
    assert unit_name(tiny_resnet(), 4, 1) == "layer2.0"
    assert unit_name(tiny_resnet(), 7, 7) == "head"


def test_neuron_groups_are_refused() -> None:
    with pytest.raises(LocalgradError, match="trains spans whole, got spans with neuron groups"):
        supervised_units(tiny_resnet(), Partition((Span(0, 7, (4, 4)),)), lambda *_: PooledLinear(1, 4))
