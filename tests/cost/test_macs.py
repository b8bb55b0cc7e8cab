"""MACs per node against the papers' numbers (golden/gndgl.json, auglocal_selection.json, resnet_bp.json)."""

import pytest
import torch

from localgrad import cost
from localgrad.backbones import resnet32, resnet110
from localgrad.errors import LocalgradError
from localgrad.methods import DGL, AugLocal, Backprop
from localgrad.network import LocalNetwork, localize

# golden/gndgl.json, macs_thesis_convention, G=1: K, MACs of the nodes, training speed-up (thesis, table 3.4).
GNDGL = [
    (2, [34285066, 36983434], 1.894),
    (4, [16160266, 19342858, 19211786, 18977418], 3.622),
    (8, [6526474, 10851850, 10851850, 9709066, 10741258, 9676298, 10692106, 9491082], 6.456),
    (
        16,
        [1709578, *[6034954] * 5, 4941322, *[5973514] * 4, 4908554, *[5948938] * 3, 4747914],
        11.609,
    ),
]


def on_meta(backbone, method, modules=None) -> LocalNetwork:
    with torch.device("meta"):
        return localize(backbone(10), method, modules)


@pytest.mark.parametrize(("modules", "nodes", "speedup"), GNDGL)
def test_nodes_of_the_thesis(modules: int, nodes: list[int], speedup: float) -> None:
    macs = cost.macs(on_meta(resnet32, DGL(head="gndgl-1c2f"), modules), (3, 32, 32))
    assert macs.nodes == {(k, 0): n for k, n in enumerate(nodes)}
    assert (macs.max_node, macs.total, macs.inference) == (max(nodes), sum(nodes), 70_062_730)
    assert round(macs.speedup, 3) == speedup


@pytest.mark.parametrize(
    ("backbone", "ptflops", "conv_linear", "parameters"),
    [(resnet32, 70_062_730, 69_124_736, 466_906), (resnet110, 256_324_234, 253_149_824, 1_730_714)],
)
def test_backpropagation_is_one_node(backbone, ptflops: int, conv_linear: int, parameters: int) -> None:
    macs = cost.macs(on_meta(backbone, Backprop()))
    node = macs.parts[0, 0]
    assert (macs.inference, macs.max_node, macs.total, macs.end_to_end, macs.speedup) == (*(ptflops,) * 4, 1)
    assert (node.conv_linear, node.aux_conv_linear) == (conv_linear, 0)
    assert (node.body_params, node.aux_params) == (parameters, 0)


def test_auxiliary_networks_of_auglocal() -> None:
    """golden/auglocal_selection.json, ResNet-32, aux_net_depth 2, pyramid 0.5: conv+linear MACs and parameters."""
    macs = cost.macs(on_meta(resnet32, AugLocal(depth=3), 16))
    *local, last = macs.parts.values()
    aux_macs = [7340672] * 6 + [8389248] * 5 + [9437824] * 2
    aux_params = [72906] * 6 + [76938] + [132362] * 4 + [148618] * 2
    assert [node.aux_conv_linear for node in local] == aux_macs
    assert [node.aux_params for node in local] == aux_params
    assert (last.conv_linear, last.aux_conv_linear, last.aux_params) == (14_156_416, 0, 0)
    assert sum(node.conv_linear for node in macs.parts.values()) == 173_990_656
    assert (local[0].conv_linear - aux_macs[0], local[0].body_params) == (442_368, 464)
    assert (local[1].conv_linear - aux_macs[1], local[1].body_params) == (4_718_592, 4_672)


def test_torch_count_of_a_training_step() -> None:
    """Backward is twice forward, but for the gradient of the input, which no first layer of a unit needs."""
    backprop = cost.macs(on_meta(resnet32, Backprop()), count="torch")
    stem = 442_368
    assert backprop.inference == 69_124_736
    assert backprop.total == backprop.end_to_end == 3 * 69_124_736 - stem
    assert backprop.parts[0, 0].aux_by_kind is None
    assert backprop.parts[0, 0].aux_conv_linear is None
    papers = cost.macs(on_meta(resnet32, DGL(), 16))
    torch_ = cost.macs(on_meta(resnet32, DGL(), 16), count="torch")
    # The first convolution of a plain block is half of its MACs.
    assert torch_.nodes[1, 0] == 3 * papers.parts[1, 0].conv_linear - 4_718_592 // 2
    assert torch_.nodes[0, 0] == 3 * papers.parts[0, 0].conv_linear - stem
    assert torch_.parts[1, 0].aux_params == papers.parts[1, 0].aux_params


def test_another_image() -> None:
    large = cost.macs(on_meta(resnet32, Backprop()), (3, 64, 64))
    assert large.parts[0, 0].by_kind["conv"] == 4 * 69_124_096
    assert large.image == (3, 64, 64)


@pytest.mark.parametrize("count", ["papers", "torch"])
def test_a_real_network_is_left_alone(count) -> None:
    net = localize(resnet32(10), DGL(), 4).eval()
    net.model(torch.ones(1, 3, 32, 32)).sum().backward()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    grads = {name: None if p.grad is None else p.grad.clone() for name, p in net.named_parameters()}
    state = torch.get_rng_state()
    assert cost.macs(net, count=count).nodes == cost.macs(on_meta(resnet32, DGL(), 4), count=count).nodes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    for name, parameter in net.named_parameters():
        grad = grads[name]
        assert (parameter.grad is None) if grad is None else torch.equal(parameter.grad, grad)
    assert not any(module.training for module in net.modules())


@pytest.mark.parametrize("image", [(1, 32, 32), (3, 32), (3, 0, 32)])
def test_image_that_does_not_fit(image) -> None:
    net = on_meta(resnet32, Backprop())
    with pytest.raises(LocalgradError, match=r"image must be \(C, H, W\) with C=3, as resnet32 reads it, got \("):
        cost.macs(net, image)


def test_unknown_count() -> None:
    with pytest.raises(LocalgradError, match=r"macs: count 'paper' is unknown. Did you mean papers"):
        cost.macs(on_meta(resnet32, Backprop()), count="paper")
