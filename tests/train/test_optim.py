"""Optimisers as data: their groups, their numbers, and that they are torch's own."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from localgrad.train import SGD, Adam
from localgrad.train.optim import OptimizerSpec


def small() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))


@pytest.mark.parametrize("spec", [SGD(weight_decay=0.5), Adam(weight_decay=0.5)])
def test_decay_is_on_everything_by_default(spec: OptimizerSpec) -> None:
    net = small()
    (group,) = spec(net.parameters()).param_groups
    assert group["weight_decay"] == 0.5
    assert len(group["params"]) == 6


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_norms_and_biases_may_go_without_decay(kind: Callable[..., OptimizerSpec]) -> None:
    net = small()
    decayed, free = kind(weight_decay=0.5, decay_norm_and_bias=False)(net.parameters()).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.5, 0.0)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    assert [names[id(p)] for p in decayed["params"]] == ["0.weight", "4.weight"]
    assert [names[id(p)] for p in free["params"]] == ["0.bias", "1.weight", "1.bias", "4.bias"]


def test_a_unit_of_one_kind_of_parameter_has_one_group() -> None:
    norm = nn.BatchNorm2d(4)
    (group,) = SGD(decay_norm_and_bias=False)(norm.parameters()).param_groups
    assert group["weight_decay"] == 0.0


@pytest.mark.parametrize(
    ("spec", "plain"),
    [
        (SGD(0.1), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)),
        (SGD(0.1, 0.0, False, 0.0), lambda p: torch.optim.SGD(p, lr=0.1)),
        (Adam(0.01, weight_decay=0.1), lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1)),
    ],
)
def test_steps_are_those_of_torch(spec: OptimizerSpec, plain: Callable[..., Optimizer]) -> None:
    here, there = small(), small()
    x = torch.randn(5, 3, 4, 4)
    for net, optimizer in ((here, spec(here.parameters())), (there, plain(there.parameters()))):
        for _ in range(3):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
    for one, other in zip(here.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (SGD(lr=-1.0), ["SGD: lr must be a number and not negative, got -1.0."]),
        (SGD(lr=float("nan")), ["SGD: lr must be a number and not negative, got nan."]),
        (
            SGD(momentum=0.0, weight_decay=-0.1),
            [
                "SGD: weight_decay must be a number and not negative, got -0.1.",
                "SGD: nesterov=True needs a momentum above 0, got 0.0.",
            ],
        ),
        (Adam(betas=(1.0, 2.0)), ["Adam: betas must be in [0, 1), got (1.0, 2.0)."]),
        (Adam(eps=-1e-8), ["Adam: eps must be a number and not negative, got -1e-08."]),
        (SGD(), []),
        (Adam(), []),
    ],
)
def test_wrong_numbers(spec: OptimizerSpec, expected: list[str]) -> None:
    assert list(spec.problems()) == expected
