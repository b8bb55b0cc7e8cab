"""The papers' ImageNet experiments as plans: units and costs on the meta device, where nothing is allocated."""

import pytest
import torch

import localgrad as lg
from localgrad import backbones
from localgrad.methods import DGL, AugLocal


@pytest.mark.parametrize(
    ("make", "units", "inference"),
    [
        ("imagenet_resnet34", 17, 3_675_629_032),
        ("imagenet_resnet101", 34, None),
        ("imagenet_vgg13", 10, 11_363_601_896),
    ],
)
def test_auglocal(make: str, units: int, inference: int | None) -> None:
    """methods.md 10.1: every module is local, no pyramid. VGG13 has a classifier of its own (10.2)."""
    classifier = "flat-mlp" if "vgg" in make else "pooled"
    method = AugLocal(depth=5, tau=0.0, tail="strict", classifier=classifier)
    with torch.device("meta"):
        net = lg.localize(getattr(backbones, make)(), method, modules=units)
    assert len(net.units) == units
    macs = lg.cost.macs(net)
    assert len(macs.nodes) == units
    assert macs.total > macs.inference
    # golden/resnet_bp.json
    assert inference in (None, macs.inference)


@pytest.mark.parametrize(("make", "modules", "units"), [("imagenet_vgg13", 4, 4), ("imagenet_resnet152", 2, 2)])
def test_dgls_own_splits(make: str, modules: int, units: int) -> None:
    with torch.device("meta"):
        net = lg.localize(getattr(backbones, make)(), DGL(), partition=lg.partition.papers(modules, "dgl"))
    assert len(net.units) == units
    # The last module has the network's own head, the others an MLP of 4 features per channel.
    assert net.units[0].aux[-1].in_features == 4 * net.backbone.shapes()[net.units[0].span.stop - 1][0]
    assert net.units[-1].aux is net.model.get_submodule("head")


def test_live_memory_of_a_large_network_is_predicted() -> None:
    with torch.device("meta"):
        resnet18 = backbones.four_stage_resnet(18, 1000)
        nets = [lg.localize(resnet18, method) for method in (DGL(), lg.methods.Backprop())]
    local, whole = (lg.cost.memory(net, batch_size=64).activations for net in nets)
    # The stem alone, at 112 x 112, is most of it.
    assert local < whole * 2 / 3
