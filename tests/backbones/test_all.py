"""What holds for every network that localgrad builds itself."""

import inspect
from pathlib import Path

import pytest
import torch
from torch import nn

import localgrad as lg
from localgrad import Backbone, backbones, localize
from localgrad.auxnets import Truncated
from localgrad.methods import DGL, AugLocal, Backprop
from localgrad.train.weights import export_weights

from ..conftest import random_batch, sgd
from .families import SMALL

FAMILIES = pytest.mark.parametrize("backbone", SMALL.values(), ids=SMALL.keys())
# Networks that end in feature maps, so that AugLocal can copy their layers.
CONVOLUTIONAL = {name: backbone for name, backbone in SMALL.items() if name not in ("predsim_vgg", "mlp")}
# Networks with feature maps, whose units DGL's heads can read; test_mlp.py has who trains the other one.
MAPS = pytest.mark.parametrize("backbone", [pytest.param(SMALL[name], id=name) for name in SMALL if name != "mlp"])


def test_every_constructor_is_tried() -> None:
    """A new function in ``backbones`` makes a network of a family that is tested here."""
    assert set(backbones.__all__) == {name for name in dir(backbones) if callable(getattr(backbones, name))}
    constructors = set()
    for name in backbones.__all__:
        function = getattr(backbones, name)
        given = {"layers": (13 if "vgg" in name else 14 if "cifar" in name else 50), "stages": (1,), "channels": (4,)}
        required = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
        arguments = {key: {**given, "layout": (4,), "num_classes": 4}[key] for key in required}
        constructors.add(function(**arguments).constructor)
    assert constructors == {backbone.constructor for backbone in SMALL.values()}


@FAMILIES
def test_shapes_are_what_the_modules_give(backbone: Backbone) -> None:
    model = localize(backbone, Backprop()).model.eval()
    h = torch.randn(2, *backbone.image)
    for name, shape in zip(backbone.block_names, backbone.shapes(), strict=True):
        before = h.clone()
        out = model.get_submodule(name)(h)
        assert out.shape[1:] == shape
        assert torch.equal(h, before), f"{name} changes its input"
        h = out
    assert model.get_submodule(backbone.head_name)(h).shape == (2, backbone.num_classes)
    assert backbone.head.shape(backbone.shapes()[-1]) == (backbone.num_classes,)


@FAMILIES
def test_facts_make_the_same_network_again(backbone: Backbone, tmp_path: Path) -> None:
    assert backbone.constructor in backbones.__all__
    assert getattr(backbones, backbone.constructor)(**dict(backbone.arguments)) == backbone
    net = localize(backbone, Backprop(), seed=3)
    export_weights(net, tmp_path / "net.safetensors")
    loaded = lg.load(tmp_path / "net.safetensors")
    x = torch.randn(2, *backbone.image)
    assert torch.equal(loaded(x), net.model.eval()(x))


def step(backbone: Backbone, method: DGL | AugLocal) -> lg.LocalNetwork:
    """One training step; every parameter of the network and of the auxiliary networks must have moved."""
    net = localize(backbone, method)
    # A bias before BatchNorm would not move; weights of convolutions and linear layers do.
    weights = {name: p.detach().clone() for name, p in net.named_parameters() if p.ndim > 1}
    losses = lg.Sequential(net, optimizer=sgd).step(random_batch(backbone, 4)).losses
    assert len(losses) == len(net.units)
    same = [name for name, p in net.named_parameters() if p.ndim > 1 and torch.equal(p, weights[name])]
    assert not same
    return net


@MAPS
def test_dgl_trains(backbone: Backbone) -> None:
    assert len(step(backbone, DGL(max_hidden=16)).units) == len(backbone.blocks)


@pytest.mark.parametrize("backbone", CONVOLUTIONAL.values(), ids=CONVOLUTIONAL.keys())
def test_auglocal_trains(backbone: Backbone) -> None:
    # The next layers are all that can be copied of a DenseNet.
    method = AugLocal(depth=4, selection="sequential" if backbone.constructor == "cifar_densenet" else "uniform")
    assert len(step(backbone, method).units) == len(backbone.blocks) - 3


@pytest.mark.parametrize("backbone", CONVOLUTIONAL.values(), ids=CONVOLUTIONAL.keys())
def test_auxiliary_maps_are_as_small_as_those_of_the_copied_layers(backbone: Backbone) -> None:
    """With all later layers copied, AugLocal's auxiliary network is the rest of the network in shape."""
    method, shapes = AugLocal(depth=len(backbone.blocks), tail="strict", tau=0.0), backbone.shapes()
    for layer in range(len(backbone.blocks) - 1):
        aux = method.auxnet(backbone, layer, shapes[layer], len(backbone.blocks) - 1)
        assert isinstance(aux, Truncated)
        shape = shapes[layer]
        for block, expected in zip(aux.blocks, shapes[layer + 1 :], strict=True):
            shape = block.shape(shape)
            # A VGG's auxiliary network does not pool where the width stays, as between its last two stages.
            if backbone.halve_on == "size":
                assert shape == expected
            else:
                assert shape[0] == expected[0]
        if layer in (0, len(backbone.blocks) // 2):
            with torch.device("meta"):
                assert aux.build()(torch.empty(2, *shapes[layer])).shape == (2, backbone.num_classes)


COPIED = (
    r"^AugLocal: the auxiliary network behind block 'conv\d' of vgg6a: HiddenLayer: .* cannot be copied into an "
    r"auxiliary network. Take a method that copi"
)


def test_a_hidden_layer_cannot_be_copied() -> None:
    with pytest.raises(lg.LocalgradError, match=COPIED):
        localize(SMALL["predsim_vgg"], AugLocal(depth=2))


@pytest.mark.parametrize(
    ("make", "blocks"),
    [
        ("imagenet_resnet34", 17), ("imagenet_resnet50", 17), ("imagenet_resnet101", 34), ("imagenet_resnet152", 51),
        ("imagenet_vgg13", 10), ("imagenet_vgg19", 16), ("cifar_resnet50", 17), ("vgg13", 10), ("vgg16", 13),
        ("vgg19", 16), ("cifar_mobilenetv2", 19), ("cifar_efficientnet_b0", 17), ("cifar_regnetx_400mf", 23),
        ("densenet_bc_100_12", 51), ("imagenet_resnext101_32x8d", 34),
        ("vgg6a", 5), ("vgg6b", 5), ("vgg8b", 7), ("vgg11b", 10), ("vgg16a", 14), ("vgg19a", 17),
    ],
)  # fmt: skip
def test_layers_of_the_papers(make: str, blocks: int) -> None:
    """methods.md 0, 8, 10.2; the whole network builds and runs on the meta device, a unit per layer."""
    backbone = getattr(backbones, make)()
    assert len(backbone.blocks) == blocks
    with torch.device("meta"):
        net = localize(backbone, DGL(max_hidden=64))
        assert net.eval()(torch.empty(2, *backbone.image)).shape == (2, backbone.num_classes)
    assert len(net.units) == blocks
    assert isinstance(net.model, nn.Sequential)
