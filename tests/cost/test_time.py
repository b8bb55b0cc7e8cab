"""Interleaved step times."""

import pytest
import torch

from localgrad.backbones import cifar_resnet
from localgrad.cost import StepTime, step_times
from localgrad.errors import LocalgradError
from localgrad.methods import DGL, Backprop
from localgrad.network import localize
from localgrad.runtime import Sequential
from localgrad.spec import Batch

BATCH = Batch(x=torch.zeros(2, 3, 8, 8), y=torch.zeros(2, dtype=torch.int64))


def loop(method) -> Sequential:
    return Sequential(localize(cifar_resnet(8, 10), method), lambda p: torch.optim.SGD(p, lr=0.1))


def test_every_loop_steps_as_often() -> None:
    loops = {"BP": loop(Backprop()), "DGL": loop(DGL())}
    times = step_times(loops, BATCH, repeats=3, warmup=1)
    assert list(times) == ["BP", "DGL"]
    assert [made.steps for made in loops.values()] == [4, 4]
    for time in times.values():
        low, high = time.quartiles
        assert len(time.seconds) == 3
        assert 0 < low <= time.median <= high


def test_ratio_is_taken_within_rounds() -> None:
    assert StepTime((1.0, 20.0, 3.0)).ratio(StepTime((2.0, 40.0, 3.0))) == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"repeats": 1}, "repeats must be at least 2, a spread needs two steps, got 1"),
        ({"warmup": -1}, "warmup must be at least 0, got -1"),
    ],
)
def test_errors(arguments: dict, message: str) -> None:
    with pytest.raises(LocalgradError, match=message):
        step_times({"BP": loop(Backprop())}, BATCH, **arguments)


def test_a_turn_of_several_steps_leaves_out_the_first() -> None:
    one = loop(Backprop())
    times = step_times({"a": one}, BATCH, repeats=2, warmup=1, burst=3)
    assert len(times["a"].seconds) == 2
    assert one.steps == 3 * (3 + 1)
    with pytest.raises(LocalgradError, match=r"burst must be at least 1, got 0"):
        step_times({"a": one}, BATCH, burst=0)
