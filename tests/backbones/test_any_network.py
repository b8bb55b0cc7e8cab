"""Ten kinds of networks of torchvision and timm, as ``benchmarks/any_network.py`` checks a hundred, but small ones."""

from collections.abc import Callable
from math import isfinite

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

import localgrad as lg
from tests.backbones.foreign import chained, sgd

MODELS: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
    "resnet": (
        lambda: torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 2, 1, 1], num_classes=10),
        6,
        "layer4.0",
    ),
    "squeezenet": (lambda: torchvision.models.squeezenet1_1(num_classes=10), 10, "classifier.1"),
    "densenet": (
        lambda: torchvision.models.DenseNet(8, (2, 2, 2, 2), num_init_features=16, num_classes=10),
        8,
        "features.denseblock4",
    ),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(width_mult=0.25, num_classes=10), 19, "features.18"),
    "regnet": (lambda: timm.create_model("regnety_002", num_classes=10), 14, "s4.b7"),
    "efficientnet": (lambda: timm.create_model("test_efficientnet", num_classes=10), 7, "conv_head"),
    "convnext": (
        lambda: timm.create_model("convnext_atto", depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), num_classes=10),
        7,
        "stages.3",
    ),
    "vit": (
        lambda: timm.create_model(
            "vit_tiny_patch16_224", img_size=64, depth=4, embed_dim=48, num_heads=3, num_classes=10
        ),
        5,
        "blocks.3",
    ),
    "swin": (
        lambda: timm.create_model(
            "swin_tiny_patch4_window7_224",
            img_size=64, window_size=2, embed_dim=12, depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 4), num_classes=10,
        ),
        7,
        "layers.3",
    ),
    "pvt": (
        lambda: timm.create_model(
            "pvt_v2_b0", depths=(1, 2, 1, 1), embed_dims=(8, 16, 24, 32), num_heads=(1, 2, 3, 4), num_classes=10
        ),
        7,
        "stages.3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_learns_locally_in_place(name: str) -> None:
    make, blocks, last = MODELS[name]
    model, x = make(), torch.randn(2, 3, 64, 64)
    logits = logits_of(model, x)
    buffers, random = [buffer.clone() for buffer in model.buffers()], torch.get_rng_state()
    net = lg.localize(model, lg.methods.DGL(max_hidden=32), modules=4, example=x)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(buffer, old) for buffer, old in zip(model.buffers(), buffers, strict=True))
    names = net.backbone.block_names
    assert (len(set(names)), names[-1], len(net.units)) == (blocks, last, 4)
    assert torch.equal(logits_of(net, x), logits)
    with torch.no_grad():
        torch.testing.assert_close(chained(net, x), logits)
    owned = {id(p) for unit in net.unit_list() for p in unit.body.parameters()}
    owned |= {id(p) for p in net.unit_list()[-1].aux.parameters()}
    assert owned == {id(p) for p in model.parameters()}
    check_learning(net, x)
    random = torch.get_rng_state()
    net = lg.localize(model, lg.methods.AugLocal(depth=2), modules=4, example=x)
    assert torch.equal(random, torch.get_rng_state())
    check_learning(net, x)


def logits_of(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = net.eval()(x)
    return out


def check_learning(net: lg.LocalNetwork, x: Tensor) -> None:
    """The reach of the losses is diagonal, a step trains every unit, and the export has the same logits."""
    batch = lg.Batch(x=x, y=torch.tensor([0, 1]))
    audit = lg.audit(net, batch)
    assert audit.ok, str(audit)
    assert audit.reach == tuple(tuple(i == j for j in range(len(net.units))) for i in range(len(net.units)))
    before = [[p.detach().clone() for p in unit.parameters()] for unit in net.unit_list()]
    losses = lg.Sequential(net.train(), optimizer=sgd, clip=1.0).step(batch).losses
    assert all(isfinite(terms["ce"]) for terms in losses.values())
    for unit, old in zip(net.unit_list(), before, strict=True):
        assert not all(torch.equal(p, q) for p, q in zip(unit.parameters(), old, strict=True))
    assert torch.equal(logits_of(net.export(), x), logits_of(net, x))
