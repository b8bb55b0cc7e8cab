"""Optimiser in backward: the same steps, fewer gradients alive, and what it refuses."""

import gc

import pytest
import torch
from torch import nn

from localgrad import LocalgradError, Sequential, cost, equal_blocks, localize
from localgrad.in_backward import InBackward
from localgrad.methods import DGL, DGSSL, MLAAN, Backprop
from localgrad.methods.dgssl_selection import PairSelection

from .conftest import changed, copy_of, random_batch, sgd, tiny_resnet, with_dropout


def adam(parameters) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.01)


@pytest.mark.parametrize("optimizer", [sgd, adam])
@pytest.mark.parametrize(("method", "modules"), [(Backprop(), 1), (DGL(), 7)])
def test_the_same_as_after_the_backward_pass(method, modules: int, optimizer) -> None:
    results = []
    for make in (optimizer, InBackward(optimizer)):
        net = localize(with_dropout(tiny_resnet()), method, modules)
        loop = Sequential(net, make)
        losses = [loop.step(random_batch(net.backbone, seed=step)).losses for step in range(3)]
        loop.set_lr(0.05)
        losses.append(loop.step(random_batch(net.backbone)).losses)
        results.append((losses, copy_of(net), [made.state_dict()["state"] for made in loop.optimizers]))
    (losses, weights, states), (same, same_weights, same_states) = results
    assert losses == same
    assert not changed(weights, same_weights)
    for state, same_state in zip(states, same_states, strict=True):
        assert state.keys() == same_state.keys()
        for index, values in state.items():
            for key, value in values.items():
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(same_state[index][key]))


def test_gradients_do_not_add_up() -> None:
    """Two images: weights are most of the memory, and all gradients together as large."""
    with torch.device("meta"):
        net = localize(tiny_resnet(), Backprop())
    plain, early = (cost.memory(net, 2, optimizer=make) for make in (sgd, InBackward(sgd)))
    assert plain.gradients == plain.parameters > 4 * early.gradients
    assert early.peak < plain.peak


def test_settings_per_group_are_kept() -> None:
    first, second = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    made = InBackward(lambda _: torch.optim.SGD([{"params": [first]}, {"params": [second], "lr": 0.5}], lr=0.1))([])
    (first + second).sum().backward()
    assert (first.item(), second.item()) == (pytest.approx(0.9), 0.5)
    assert first.grad is None and second.grad is None
    assert [group["lr"] for group in made.param_groups] == [0.1, 0.5]


def test_groups_of_equal_length() -> None:
    """Their tensors are never compared with each other."""
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    made = InBackward(lambda _: torch.optim.SGD([{"params": [first]}, {"params": [second], "lr": 0.5}], lr=0.1))([])
    (first.sum() + second.sum()).backward()
    assert (first.tolist(), second.tolist()) == ([pytest.approx(0.9)] * 2, [0.5] * 3)
    assert len(made.param_groups) == 2


def test_nothing_is_left_of_an_optimizer_that_is_gone() -> None:
    weight = nn.Parameter(torch.ones(1))
    InBackward(sgd)([weight])
    gc.collect()
    weight.sum().backward()
    assert weight.item() == 1 and weight.grad is not None


@pytest.mark.parametrize(
    ("keywords", "named"),
    [
        ({"update": "fused"}, "update='fused'"),
        ({"precision": "float16"}, "precision float16"),
        ({"accumulate": 2}, "accumulate=2"),
        ({"clip": 1.0}, r"clip=1\.0"),
    ],
)
def test_what_is_refused(keywords: dict, named: str) -> None:
    net = localize(tiny_resnet(), DGL())
    with pytest.raises(LocalgradError, match=f"InBackward updates every parameter .* cannot be used with {named}"):
        Sequential(net, InBackward(sgd), **keywords)


def test_cascades_are_refused() -> None:
    with pytest.raises(LocalgradError, match="cannot be used with losses that go down several units"):
        Sequential(localize(tiny_resnet(), MLAAN(), 7), InBackward(sgd))


def test_a_teacher_of_its_own_unit_is_refused() -> None:
    """It follows the weights from before the step, and these are gone when the backward pass ends."""
    method = DGSSL(selection=PairSelection(similarity="teacher"))
    net = localize(tiny_resnet(8), method, partition=equal_blocks(2))
    with pytest.raises(LocalgradError, match="cannot be used with auxiliary networks that follow their own unit"):
        Sequential(net, InBackward(sgd))
