"""Costs of networks with neuron groups."""

import pytest
import torch
from tests.conftest import tiny_resnet

from localgrad import cost, localize
from localgrad.backbones import resnet32
from localgrad.methods import GNDGL, Backprop, PredSim
from localgrad.network import LocalNetwork

# methods.md 7.4, ResNet-32x2: (G, K) to millions of MACs of the largest node.
WIDE = {(1, 2): 147.4, (2, 1): 74.9, (2, 4): 26.15, (4, 2): 15.9, (8, 1): 9.45, (8, 4): 7.05}


def on_meta(backbone, method, modules=None, **keywords) -> LocalNetwork:
    with torch.device("meta"):
        return localize(backbone, method, modules, **keywords)


@pytest.mark.parametrize(("groups", "modules"), WIDE)
def test_largest_node_of_the_wide_network(groups: int, modules: int) -> None:
    found = cost.macs(on_meta(resnet32(width=2), GNDGL(), modules, groups=groups))
    assert found.max_node / 1e6 == pytest.approx(WIDE[groups, modules], abs=0.06)
    assert found.end_to_end == 277_488_906


def test_a_classifier_of_its_own_counts_in_the_module_before_it() -> None:
    found = cost.macs(on_meta(tiny_resnet(), GNDGL(), 7))
    head = found.parts[7, 0].total
    assert found.alone == (7, 0)
    assert found.nodes[6, 1] == found.parts[6, 1].total + head
    assert found.nodes[5, 1] == found.parts[5, 1].total
    assert (7, 0) not in found.nodes
    assert found.total == sum(part.total for part in found.parts.values()) + head
    layers = cost.macs(on_meta(tiny_resnet(), PredSim(), 7))
    assert layers.nodes[6, 0] == layers.parts[6, 0].total + layers.parts[7, 0].total
    assert cost.macs(on_meta(tiny_resnet(), Backprop())).alone is None


def test_groups_of_different_sizes() -> None:
    """Layer-wise, 8 channels in 3 groups of 3, 3 and 2."""
    found = cost.macs(on_meta(tiny_resnet(), GNDGL(layerwise=True, groups=3, share_features=False)))
    per_channel = [found.parts[0, g].by_kind["norm"] for g in range(3)]
    assert per_channel == [3 * 64 * 2, 3 * 64 * 2, 2 * 64 * 2]


def test_torch_count() -> None:
    dense = cost.macs(on_meta(tiny_resnet(), Backprop()), count="torch")
    found = cost.macs(on_meta(tiny_resnet(), GNDGL(), 7), count="torch")
    assert found.end_to_end == dense.end_to_end
    assert found.inference < dense.inference
    assert found.nodes[3, 0] == found.nodes[3, 1] > 0
    assert found.nodes[7, 0] > 0


@pytest.mark.parametrize("fuse", [False, True])
def test_memory(fuse: bool) -> None:
    shared = cost.memory(on_meta(tiny_resnet(), GNDGL(fuse_groups=fuse), 7), batch_size=8)
    naive = cost.memory(on_meta(tiny_resnet(), GNDGL(share_features=False, diversity=False), 7), batch_size=8)
    # Groups that send each other something are all alive at once; others one after the other.
    assert naive.activations < shared.activations
    net = on_meta(tiny_resnet(), GNDGL(), 7)
    assert shared.parameters == 4 * sum(parameter.numel() for parameter in net.parameters())
