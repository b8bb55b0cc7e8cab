"""Backprop and Checkpointing: one unit, and what they refuse."""

import pytest

from localgrad import LocalgradError, equal_blocks, localize
from localgrad.methods import Backprop, Checkpointing
from localgrad.recompute import Recompute

from ..conftest import tiny_resnet


@pytest.mark.parametrize("method", [Backprop(), Checkpointing()])
def test_one_unit(method: Backprop | Checkpointing) -> None:
    for modules in (None, 1):
        net = localize(tiny_resnet(), method, modules)
        assert len(net.units) == 1
        assert net.units[0].aux is net.model.get_submodule("head")
        assert not [key for key in net.state_dict() if key.startswith("aux")]


@pytest.mark.parametrize(("segments", "expected"), [(None, 3), (2, 2), (50, 50)])
def test_segments(segments: int | None, expected: int) -> None:
    """The square root of 7 blocks, rounded up, by default."""
    assert localize(tiny_resnet(), Checkpointing(segments)).units[0].spec.recompute == Recompute(expected)
    assert localize(tiny_resnet(), Backprop()).units[0].spec.recompute is None


@pytest.mark.parametrize("method", [Backprop(), Checkpointing()])
def test_more_than_one_module(method: Backprop | Checkpointing) -> None:
    name = type(method).__name__
    text = f"{name} trains the whole network as one unit: leave modules out or give 1, got 4"
    with pytest.raises(LocalgradError, match=text):
        localize(tiny_resnet(), method, 4)
    with pytest.raises(LocalgradError, match="needs a partition of one span, got one that ends unit 0 inside"):
        localize(tiny_resnet(), method, partition=equal_blocks(2))


def test_segments_below_one() -> None:
    with pytest.raises(LocalgradError, match="Checkpointing: segments must be a whole number of at least 1, got 0"):
        Checkpointing(segments=0)
