"""A unit's step changes its own parameters, buffers and gradients, and nothing else."""

import torch

from localgrad import Sequential
from localgrad.method import Method
from localgrad.unit import Unit
from localgrad.update import OptimizerUpdate

from ..conftest import changed, copy_of, random_batch, sgd
from .cases import every_method, localized


def averaged(unit: Unit) -> set[str]:
    """Parameters that follow weights of the network: a copy that is still equal to them may stay as it is."""
    follows = [follow for follow in unit.spec.follows if follow.rate is not None]
    parts = [unit.auxnets[follow.objective].get_submodule(follow.part) for follow in follows]
    own = {id(parameter) for part in parts for parameter in part.parameters()}
    return {name for name, parameter in unit.named_parameters(remove_duplicate=False) if id(parameter) in own}


@every_method("locality")
def test_a_step_changes_its_own_unit_only(method: Method) -> None:
    net = localized(method)
    batch = random_batch(net.backbone)
    units = net.unit_list()
    h = batch.x
    for own in units:
        before = [copy_of(unit) for unit in units]
        h, _ = own.step(h, batch, OptimizerUpdate(sgd(own.trained_parameters())))
        for unit, old in zip(units, before, strict=True):
            names = changed(old, copy_of(unit))
            if unit is own:
                assert names | averaged(own) == set(old)
            else:
                assert not names


@every_method("locality")
def test_gradients_reach_all_of_the_unit_and_nothing_else(method: Method) -> None:
    net = localized(method)
    batch = random_batch(net.backbone)
    batch.x.requires_grad_(True)
    h = batch.x
    for own in net.unit_list():
        h.requires_grad_(True)
        h_in = h
        h, _ = own.step(h_in, batch, OptimizerUpdate(sgd(own.trained_parameters()), deferred=True))
        assert h_in.grad is None
        assert not h.requires_grad
        reached = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
        own_parameters = set(map(id, own.trained_parameters()))
        assert reached == {name for name, parameter in net.named_parameters() if id(parameter) in own_parameters}
        net.zero_grad(set_to_none=True)


@every_method("partition of parameters")
def test_every_parameter_belongs_to_one_unit(method: Method) -> None:
    net = localized(method)
    owned = [id(parameter) for unit in net.unit_list() for parameter in unit.trained_parameters()]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(parameter) for parameter in net.parameters() if parameter.requires_grad}


@every_method("order of updates")
def test_output_is_computed_before_the_update(method: Method) -> None:
    net = localized(method)
    batch, unit = random_batch(net.backbone), net.unit_list()[0]
    with torch.no_grad():
        before = unit(batch.x)
    h, _ = unit.step(batch.x, batch, OptimizerUpdate(sgd(unit.trained_parameters())))
    assert torch.equal(h, before)
    with torch.no_grad():
        assert not torch.equal(h, unit(batch.x))


@every_method("memory")
def test_nothing_is_left_after_a_step(method: Method) -> None:
    net = localized(method)
    batch = random_batch(net.backbone)
    step = Sequential(net, sgd).step(batch)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert step.terms.keys() == set(range(len(net.units)))
    for terms in step.terms.values():
        assert terms
        assert all(not value.requires_grad and value.grad_fn is None for value in terms.values())
    assert all(isinstance(value, float) for terms in step.losses.values() for value in terms.values())


@every_method("memory")
def test_a_batch_is_not_changed(method: Method) -> None:
    net = localized(method)
    batch, same = random_batch(net.backbone), random_batch(net.backbone)
    loop = Sequential(net, sgd)
    loop.step(batch)
    loop.step(batch)
    assert torch.equal(batch.x, same.x)
    assert torch.equal(batch.y, same.y)
    assert batch.step is None
