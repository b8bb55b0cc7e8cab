"""PredSim's multi-layer perceptrons: sizes, layers written out, which methods can train them, costs, what cannot be."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from localgrad import Backbone, LocalgradError, Sequential, audit, cost, equal_blocks, localize, methods
from localgrad.backbones import mlp, vgg8b
from localgrad.backbones.mlp import VectorLayer
from localgrad.backbones.vgg_layers import HiddenLayer, LinearHead
from localgrad.method import Method
from localgrad.methods import (
    DGL,
    DGSSL,
    GNDGL,
    MLAAN,
    AugLocal,
    Backprop,
    Checkpointing,
    InfoPro,
    Lambdas,
    PredSim,
    Reconstruction,
)
from localgrad.partition import Explicit
from localgrad.train import Adam

from ..conftest import copy_of, random_batch, sgd

LAMBDAS = Lambdas(first=(2, 0.5), last=(0.5, 1))
TRAIN: tuple[Method, ...] = (
    Backprop(),
    Checkpointing(2),
    PredSim(),
    PredSim("sim"),
    PredSim("pred"),
    PredSim(framework="blockwise"),
    GNDGL(layerwise=True),
    DGSSL(head="0c2f"),
)
REFUSE: tuple[Method, ...] = (
    DGL(),
    DGL(head="cnn"),
    DGL(head="auglocal"),
    DGL(head="0c1f"),
    DGL(head="1c2f"),
    DGL(head="3x3", match=AugLocal(depth=2)),
    GNDGL(),
    GNDGL(groups=1),
    AugLocal(depth=2),
    AugLocal(depth=3, tail="strict", classifier="flat-mlp"),
    AugLocal(depth=2, selection="repetitive"),
    AugLocal(depth=2, selection="conv3x3"),
    AugLocal(depth=2, reconstruction=Reconstruction(LAMBDAS)),
    InfoPro(loss="softmax", lambdas=LAMBDAS),
    InfoPro(lambdas=LAMBDAS, head="imagenet"),
    MLAAN(),
    MLAAN(leaps=False),
    DGSSL(),
    MLAAN(base="dgl"),
    PredSim(framework="blockwise", match=AugLocal(depth=2)),
)


def tiny(**keywords: Any) -> Backbone:
    return mlp((24, 16, 12), 4, image=(3, 4, 4), **keywords)


def on_meta(backbone: Backbone, method: Method) -> Any:
    with torch.device("meta"):
        return localize(backbone, method)


@pytest.mark.parametrize(
    ("backbone", "parameters", "millions"),
    [
        (mlp(), 2_919_434, 2.9),
        (mlp((3000,) * 3, image=(3, 32, 32)), 27_273_010, 27.3),
    ],
)
def test_sizes_of_the_released_tables(backbone: Backbone, parameters: int, millions: float) -> None:
    """Its README gives millions of parameters: 2.9 on 28x28 images, 27.3 on CIFAR."""
    count = sum(parameter.numel() for parameter in on_meta(backbone, Backprop()).parameters())
    assert count == parameters
    assert round(count / 1e6, 1) == millions


def test_blocks() -> None:
    backbone = tiny(dropout=0.1, nonlinearity="leaky_relu")
    assert backbone.block_names == ("fc0", "fc1", "fc2")
    assert backbone.blocks == (
        HiddenLayer(3, (4, 4), 24, nonlinearity="leaky_relu"),
        VectorLayer(24, 16, 0.1, "leaky_relu"),
        VectorLayer(16, 12, 0.1, "leaky_relu"),
    )
    assert (backbone.head, backbone.shapes()) == (LinearHead(12, 4, 0.1), ((24,), (16,), (12,)))
    model = localize(backbone, Backprop()).model
    assert [name for name, _ in model.fc0.named_children()] == ["flatten", "fc", "bn", "act"]
    assert [name for name, _ in model.fc1.named_children()] == ["dropout", "fc", "bn", "act"]
    assert type(model.fc1.dropout) is nn.Dropout and model.fc1.dropout.p == 0.1
    assert not any(isinstance(part, nn.Dropout) for part in localize(tiny(), Backprop()).modules())


@pytest.mark.parametrize("nonlinearity", ["relu", "leaky_relu"])
def test_network_written_out(nonlinearity: Any) -> None:
    """Training mode: every layer is normalised over the batch."""
    model = localize(tiny(nonlinearity=nonlinearity), Backprop()).double().train().model
    x = torch.randn(6, 3, 4, 4, dtype=torch.float64)
    h = x.flatten(1)
    for layer in (model.fc0, model.fc1, model.fc2):
        h = F.linear(h, layer.fc.weight, layer.fc.bias)
        h = (h - h.mean(0)) / (h.var(0, correction=0) + 1e-5).sqrt()
        h = torch.where(h > 0, h, (0.01 if nonlinearity == "leaky_relu" else 0.0) * h)
    expected = F.linear(h, model.head.fc.weight, model.head.fc.bias)
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-10)


def test_weights_are_those_that_pytorch_draws() -> None:
    weight = localize(mlp((300, 200)), Backprop()).model.fc1.fc.weight.detach()
    assert weight.abs().max() <= 300**-0.5
    assert weight.std().item() == pytest.approx((300 * 3) ** -0.5, rel=0.02)


def test_neuron_groups_make_a_layer_together() -> None:
    spec = VectorLayer(5, 6, nonlinearity="leaky_relu")
    whole, borders, outs = spec.build().eval(), ((0, 1), (1, 4), (4, 6)), []
    h = torch.randn(3, 5)
    for start, stop in borders:
        part = spec.group(5, start, stop)
        assert part.shape((5,)) == (stop - start,)
        module = part.build().eval()
        module.load_state_dict({k: v[start:stop] if v.ndim else v for k, v in whole.state_dict().items()})
        outs.append(module(h))
    torch.testing.assert_close(torch.cat(outs, 1), whole(h))


@pytest.mark.parametrize("method", TRAIN, ids=repr)
def test_methods_that_read_vectors_train_it(method: Method) -> None:
    """All weights move, and every loss reaches its own unit only."""
    backbone = tiny(dropout=0.1, nonlinearity="leaky_relu")
    net = localize(backbone, method)
    before = copy_of(net)
    loop = Sequential(net, Adam(lr=1e-3))
    for index in range(2):
        loop.step(random_batch(backbone, seed=index))
    after = copy_of(net)
    still = {name for name, p in net.named_parameters() if p.ndim > 1 and torch.equal(before[name], after[name])}
    assert not still
    found = audit(net, random_batch(backbone))
    assert found.ok and not found.dead


@pytest.mark.parametrize("method", REFUSE, ids=repr)
def test_methods_that_read_maps_say_which_block_has_none(method: Method) -> None:
    text = r"read feature maps \(C, H, W\), and block 'fc0' of mlp has an output of shape \(24,\) per sample\. Take "
    with pytest.raises(LocalgradError, match=text) as refused:
        localize(tiny(), method)
    taken = {GNDGL: "GNDGL(layerwise=True).", DGSSL: "head='0c2f'."}.get(type(method), "PredSim.")
    assert str(refused.value).endswith(f"Take {taken}")


def test_every_method_is_tried() -> None:
    assert {type(method).__name__ for method in (*TRAIN, *REFUSE)} == set(methods.__all__)


def test_one_module_is_backpropagation_for_all() -> None:
    for method in (DGL(), AugLocal(depth=2), InfoPro(lambdas=LAMBDAS), MLAAN(), PredSim()):
        assert len(localize(tiny(), method, 1).units) == 1


def test_a_network_with_maps_before_its_vectors_can_be_cut_there() -> None:
    backbone = replace(vgg8b(4, 1 / 32, image=(3, 16, 16)), name="mine")
    ends = Explicit(("conv5", "fc"))
    text = r"block 'fc' of mine .* shape \(1024,\) per sample\. Take PredSim, or cut the network before block 'fc'\.$"
    with pytest.raises(LocalgradError, match=text):
        localize(backbone, DGL(), partition=ends)


def test_losses_of_predsim() -> None:
    """methods.md 4: Linear n -> n without bias and Linear n -> classes behind every hidden layer; nothing is pooled."""
    backbone = tiny()
    net = localize(backbone, PredSim())
    units = net.unit_list()
    assert [unit.name for unit in units] == ["fc0", "fc1", "fc2", "head"]
    for unit, width in zip(units, (24, 16, 12), strict=False):
        similarity, decoder = unit.auxnets["sim"].layer, unit.auxnets["pred"]
        assert isinstance(similarity, nn.Linear) and similarity.bias is None
        assert similarity.weight.shape == (width, width)
        assert [name for name, _ in decoder.named_children()] == ["fc"]
        assert decoder.fc.weight.shape == (4, width) and not decoder.fc.weight.any()
    losses = Sequential(net, sgd).step(random_batch(backbone)).losses
    assert [list(terms) for terms in losses.values()] == [["sim.similarity", "pred.ce"]] * 3 + [["ce"]]
    assert units[-1].spec.objectives[0].weight == pytest.approx(0.01)


def test_evenly_cut() -> None:
    net = localize(tiny(), PredSim(framework="blockwise"), partition=equal_blocks(2))
    assert [(unit.name, len(unit.span)) for unit in net.unit_list()] == [("fc1", 2), ("fc2", 1)]


def test_macs_as_the_papers_count() -> None:
    """A linear layer counts in * out + out, BatchNorm 2 per feature, ReLU 1; a classifier of 10 after 3 of 1024."""
    linear = 784 * 1024 + 2 * 1024**2 + 1024 * 10
    macs = cost.macs(on_meta(mlp(), Backprop()))
    assert macs.inference == linear + 3 * 1024 + 10 + 3 * 2 * 1024 + 3 * 1024
    assert macs.parts[0, 0].conv_linear == linear
    local = cost.macs(on_meta(mlp(), PredSim()))
    assert local.inference == macs.inference
    assert [node.aux_conv_linear for node in local.parts.values()] == [*[1024**2 + 1024 * 10] * 3, 0]
    assert [node.aux_params for node in local.parts.values()] == [*[1024**2 + 1024 * 10 + 10] * 3, 0]
    # A training step: forward, and two products of the same size backward, one where the input needs no gradient.
    assert cost.macs(on_meta(mlp(), Backprop()), count="torch").total == 3 * linear - 784 * 1024
    assert cost.macs(on_meta(mlp(), PredSim("pred")), count="torch").total == 2 * linear + 3 * 3 * 1024 * 10


def test_memory() -> None:
    """Weights, gradients and momenta of a perceptron outweigh its activations; local learning adds the branches'."""
    weights = 4 * 2_919_434
    plain = cost.memory(on_meta(mlp(), Backprop()), batch_size=128)
    assert plain.parameters == weights
    # Running mean and variance, and a count of 8 bytes, per layer.
    assert plain.buffers == 3 * (2 * 4 * 1024 + 8)
    assert plain.input == 4 * 128 * 784 + 8 * 128
    assert 3 * weights < plain.peak < 3 * weights + 4 * 128 * 1024 * 20
    local = cost.memory(on_meta(mlp(), PredSim()), batch_size=128)
    branches = 4 * 3 * (1024**2 + 1024 * 10 + 10)
    assert local.parameters == weights + branches
    # Gradients are those of one unit at a time.
    assert local.gradients < plain.gradients


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"widths": ()}, r"mlp: widths must be the features of the hidden layers, such as .*, got \(\)\."),
        ({"widths": 1024}, r"widths must be .*, got 1024\."),
        ({"widths": (8, 0)}, r"widths must be .*, got \(8, 0\)\."),
        ({"widths": (8, 2.5)}, r"widths must be .*, got \(8, 2\.5\)\."),
        ({"num_classes": 1}, r"mlp: num_classes must be at least 2, got 1\."),
        ({"dropout": 1.0}, r"mlp: dropout must be at least 0 and below 1, got 1\.0\."),
        ({"nonlinearity": "relus"}, r"mlp: nonlinearity 'relus' is unknown\. Did you mean relu"),
        ({"image": (28, 28)}, r"mlp: image must be \(channels, height, width\), all above 0, got \(28, 28\)\."),
    ],
)
def test_what_cannot_be(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(LocalgradError, match=text):
        mlp(**arguments)


def test_what_a_layer_cannot_be() -> None:
    layer = VectorLayer(6, 4)
    with pytest.raises(LocalgradError, match=r"VectorLayer: expected input of shape \(6,\), got \(5,\)\."):
        layer.shape((5,))
    with pytest.raises(LocalgradError, match=r"VectorLayer\.group: expected 0 <= start < stop <= 4, got start=2"):
        layer.group(6, 2, 5)
    assert layer.rebuild(in_channels=5, stride=1) == VectorLayer(5, 4)
    for keywords in ({"stride": 2}, {"stride": 1, "groups": 2}):
        with pytest.raises(LocalgradError, match=r"a layer on vectors has no stride and no convolution groups, got"):
            layer.rebuild(in_channels=6, **keywords)
