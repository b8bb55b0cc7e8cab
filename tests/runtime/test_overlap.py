"""Units on several threads give the results of one thread, bit for bit."""

from typing import Any

import pytest
import torch
from torch import nn

from localgrad import LocalgradError, Sequential, localize
from localgrad.methods import DGL, AugLocal, Backprop, Checkpointing

from ..conftest import random_batch, sgd, tiny_resnet, with_dropout

METHODS = [DGL(), AugLocal(depth=2), AugLocal(depth=3, tail="strict"), Backprop(), Checkpointing()]


def trained(method: Any, workers: int, **settings: Any) -> tuple[dict[str, torch.Tensor], list[Any]]:
    net = localize(tiny_resnet(), method, seed=3)
    loop = Sequential(net, sgd, workers=workers, **settings)
    losses = [loop.step(random_batch(tiny_resnet(), rows=8, seed=step)).losses for step in range(4)]
    return net.state_dict(), losses


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}, {"update": "fused"}, {"precision": "bfloat16"}], ids=str)
def test_equals_one_thread_bit_for_bit(method: Any, settings: dict[str, Any]) -> None:
    before = torch.get_rng_state()
    weights, losses = trained(method, 1, **settings)
    for workers in (2, 3):
        others, other_losses = trained(method, workers, **settings)
        assert other_losses == losses
        assert list(losses[0]) == list(other_losses[0])  # in the order of the units
        assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert torch.equal(before, torch.get_rng_state())


def test_threads_of_the_caller_stay_and_a_worker_has_one() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        loop = Sequential(localize(tiny_resnet(), DGL()), sgd, workers=2)
        loop.step(random_batch(tiny_resnet()))
        assert torch.get_num_threads() == 2
        assert loop.overlap is not None
        assert set(loop.overlap.pool.map(lambda _: torch.get_num_threads(), range(8))) == {1}
    finally:
        torch.set_num_threads(before)


def test_units_that_draw_are_refused_before_anything_is_trained() -> None:
    net = localize(with_dropout(tiny_resnet()), DGL())
    loop = Sequential(net, sgd, workers=2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(LocalgradError, match=r"unit '.*' draws random numbers in its step .* Use workers=1"):
        loop.step(random_batch(tiny_resnet()))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


class FailsOnce(nn.Module):
    """Fails in its second forward pass: the first one is the look for random draws."""

    def __init__(self) -> None:
        super().__init__()
        self.armed = False

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        if self.armed:
            raise RuntimeError("the third unit broke")
        return h


def test_an_error_in_a_unit_is_raised_and_the_pool_goes_on() -> None:
    net = localize(tiny_resnet(), DGL())
    broken = FailsOnce()
    net.unit_list()[2].body.append(broken)
    loop = Sequential(net, sgd, workers=2)
    loop.step(random_batch(tiny_resnet()))
    broken.armed = True
    with pytest.raises(RuntimeError, match="the third unit broke"):
        loop.step(random_batch(tiny_resnet()))
    broken.armed = False
    assert len(loop.step(random_batch(tiny_resnet())).losses) == len(net.units)


def test_a_foreign_network_that_changes_its_input_in_place() -> None:
    def made() -> nn.Module:
        torch.manual_seed(0)
        stages = [nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, padding=1)) for _ in range(4)]
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
        )

    results = []
    for workers in (1, 2):
        net = localize(made(), DGL(head="0c1f"), modules=3, example=torch.zeros(1, 3, 8, 8))
        loop = Sequential(net, sgd, workers=workers)
        for step in range(5):
            loop.step(random_batch(tiny_resnet(), seed=step))
        results.append(net.state_dict())
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_workers_below_one() -> None:
    with pytest.raises(LocalgradError, match=r"workers must be at least 1, got 0"):
        Sequential(localize(tiny_resnet(), DGL()), sgd, workers=0)
