"""Weights, their names and copies of a LocalNetwork."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from localgrad import LocalNetwork, Sequential, localize
from localgrad.method import Method
from localgrad.methods import DGL, Backprop
from localgrad.partition import equal_blocks, equal_macs
from localgrad.unit import Unit

from ..conftest import changed, copy_of, random_batch, sgd, tiny_resnet
from .cases import ONE_UNIT, every_method, localized, short


def trained(net: LocalNetwork, steps: int = 1) -> LocalNetwork:
    loop = Sequential(net, sgd)
    for index in range(steps):
        loop.step(random_batch(net.backbone, seed=index))
    return net


@every_method("state_dict")
def test_state_dict_round_trip(method: Method) -> None:
    net = trained(short(method))
    stream = io.BytesIO()
    torch.save(net.state_dict(), stream)
    stream.seek(0)
    other = short(method, seed=1)
    assert changed(copy_of(net), copy_of(other))
    other.load_state_dict(torch.load(stream, weights_only=True))
    assert not changed(copy_of(net), copy_of(other))
    trained(net), trained(other)
    assert not changed(copy_of(net), copy_of(other))


@every_method("state_dict")
def test_keys_name_every_tensor_once(method: Method) -> None:
    net = localized(method)
    keys = list(net.state_dict())
    assert {key.partition(".")[0] for key in keys} <= {"model", "aux"}
    pointers = [value.data_ptr() for value in net.state_dict().values() if value.numel()]
    assert len(pointers) == len(set(pointers))
    own = {id(parameter) for unit in net.units for parameter in unit.parameters()}
    assert own == set(map(id, net.parameters()))


@every_method("one set of names")
def test_model_keys_do_not_depend_on_the_partition(method: Method) -> None:
    backbone = tiny_resnet()
    expected = [key for key in localize(backbone, Backprop()).state_dict() if key.startswith("model.")]
    cuts = [equal_blocks(1)] if type(method).__name__ in ONE_UNIT else [equal_blocks(5), equal_macs(6), equal_blocks(7)]
    for cut in cuts:
        net = localize(backbone, method, partition=cut)
        assert [key for key in net.state_dict() if key.startswith("model.")] == expected


@every_method("initial weights")
def test_initial_weights_of_the_network_depend_on_seed_and_name_only(method: Method) -> None:
    backbone = tiny_resnet()
    for seed in (0, 1):
        torch.manual_seed(1000 + seed)
        ours = localized(method, seed=seed)
        torch.manual_seed(2000 + seed)
        one_unit = localize(backbone, Backprop(), seed=seed)
        assert not changed(copy_of(ours.model), copy_of(one_unit.model))
        assert not changed(copy_of(ours), copy_of(localized(method, seed=seed)))
    weights = [name for name, _ in ours.named_parameters() if name.endswith(("conv.weight", "conv1.weight"))]
    assert set(weights) <= changed(copy_of(ours), copy_of(localized(method, seed=0)))


def test_initial_weights_of_an_auxiliary_network_depend_on_seed_and_name_only() -> None:
    """Units that end at the same block start alike, however many there are."""
    few, many = (localize(tiny_resnet(), DGL(), partition=equal_blocks(count)).state_dict() for count in (3, 7))
    shared = [key for key in few if key.startswith("aux.") and key in many]
    assert len({key.split(".task")[0] for key in shared}) >= 1
    assert all(torch.equal(few[key], many[key]) for key in shared)


def test_equal_shapes_start_differently() -> None:
    net = localize(tiny_resnet(), DGL(), 7)
    one, other = (net.model.get_submodule(name).conv2.weight for name in ("layer1.0", "layer1.1"))
    assert not torch.equal(one, other)
    assert not torch.equal(net.aux["stem"]["task"][1].weight, net.aux["layer1"]["0"]["task"][1].weight)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])  # noqa: S301
@every_method("copies")
def test_copies_train_alike_and_apart(method: Method, copier: object) -> None:
    net = trained(short(method))
    twin = copier(net)
    assert not changed(copy_of(net), copy_of(twin))
    assert twin.units[-1].aux is twin.model.get_submodule("head")
    before = copy_of(net)
    trained(twin)
    assert changed(before, copy_of(twin))
    assert not changed(before, copy_of(net))
    trained(net)
    assert not changed(copy_of(net), copy_of(twin))


@every_method("meta device")
def test_localize_on_the_meta_device(method: Method) -> None:
    with torch.device("meta"):
        net = short(method)
        out = net(torch.empty(2, *net.backbone.image))
    real = short(method)
    assert {value.device.type for value in net.state_dict().values()} == {"meta"}
    assert out.shape == (2, net.backbone.num_classes)
    assert {key: value.shape for key, value in net.state_dict().items()} == {
        key: value.shape for key, value in real.state_dict().items()
    }


@every_method("units")
def test_units_are_a_module_list_of_units(method: Method) -> None:
    net = localized(method)
    assert isinstance(net.units, nn.ModuleList)
    assert all(isinstance(unit, Unit) for unit in net.units)
    assert [unit.spec.index for unit in net.units] == list(range(len(net.units)))
    names = [unit.name for unit in net.units]
    assert len(set(names)) == len(names)
    stop = 0
    for unit in net.units:
        assert unit.span.start == stop
        stop = unit.span.stop
        assert isinstance(unit.aux, nn.Module)
        blocks = [net.model.get_submodule(name) for name in net.backbone.block_names[unit.span.start : unit.span.stop]]
        assert len(blocks) == len(unit.body)
        assert all(own is block for own, block in zip(unit.body, blocks, strict=True))
    assert stop == len(net.backbone.blocks)


@every_method("modes")
def test_train_and_eval_reach_units(method: Method) -> None:
    net = short(method)
    assert net.eval() is net
    assert not any(part.training for part in (*net.modules(), *net.units.modules()))
    net.train()
    assert all(part.training for part in (*net.modules(), *net.units.modules()))
    net.eval()
    trained(net)
    assert net.training


@every_method("facts of the method")
def test_method_declares_what_its_units_do(method: Method) -> None:
    net = localized(method)
    assert net.needs == method.needs
    assert max(objective.reach for unit in net.units for objective in unit.spec.objectives) == method.reach
    assert hash(method) == hash(copy.deepcopy(method))
    assert method == copy.deepcopy(method)
