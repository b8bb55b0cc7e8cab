"""Peak live bytes: the papers' ratios, closed forms, what is counted, and errors."""

import resource
from functools import cache

import pytest
import torch

from localgrad import cost
from localgrad.backbones import cifar_resnet, resnet32, resnet110
from localgrad.cost import Memory, memory
from localgrad.errors import LocalgradError
from localgrad.methods import DGL, AugLocal, Backprop, Checkpointing
from localgrad.network import LocalNetwork, localize


def on_meta(backbone, method, modules=None) -> LocalNetwork:
    with torch.device("meta"):
        return localize(backbone, method, modules)


@cache
def measured(backbone, method, modules=None) -> Memory:
    return memory(on_meta(backbone(10), method, modules), batch_size=1024)


@pytest.mark.parametrize(
    ("backbone", "method", "modules", "at_most"),
    [
        # The papers' own code measured by live bytes gives 0.191, 0.321, 0.434, 0.139.
        (resnet32, DGL(), 16, 0.20),
        (resnet32, AugLocal(depth=2), 16, 0.33),
        (resnet32, AugLocal(depth=6), 16, 0.44),
        (resnet110, AugLocal(depth=6), 55, 0.14),
        (resnet32, Checkpointing(), None, 0.45),
    ],
)
def test_memory_relative_to_backpropagation(backbone, method, modules: int | None, at_most: float) -> None:
    peak = measured(backbone, method, modules).peak
    assert peak / measured(backbone, Backprop()).peak <= at_most


@pytest.mark.parametrize(("precision", "at_most"), [("float32", 0.20), ("bfloat16", 0.11)])
def test_memory_with_recomputation(precision: str, at_most: float) -> None:
    """ResNet-32, K=16, AugLocal of depth 6; ResNet-110 is in docs/memory.md."""
    with torch.device("meta"):
        net = localize(resnet32(10), AugLocal(depth=6), 16, recompute=True)
    assert memory(net, 1024, precision=precision).peak / measured(resnet32, Backprop()).peak <= at_most


def test_backpropagation_by_hand() -> None:
    """ResNet-32, 1024 images: what every convolution and BatchNorm gives is kept; ReLU and addition are in place."""
    m = measured(resnet32, Backprop())
    parameters = 4 * 466_906
    assert (m.parameters, m.optimizer, m.input) == (parameters, parameters, 1024 * (4 * 3 * 32 * 32 + 8))
    assert m.peak == m.parameters + m.buffers + m.gradients + m.optimizer + m.input + m.activations
    assert m.peak == sum(storage.nbytes for storage in m.alive) == max(moment.live for moment in m.timeline)
    one = 4 * 1024 * 16 * 32 * 32
    # Stage 1: stem and 5 blocks, 11 convolutions. Stage 2 and 3: 10 and a shortcut each, at 1/2 and 1/4 of the size;
    # the BatchNorm of a shortcut gives what is added and kept no longer.
    outputs = 22 * one + 21 * one // 2 + 21 * one // 4
    assert outputs <= m.activations <= outputs + one


def test_peak_unit_and_kinds() -> None:
    m = measured(resnet32, DGL(), 16)
    assert m.peak_unit in range(1, 6)  # a residual block of stage 1: the largest maps, an input that another unit gave
    assert [storage.nbytes for storage in m.alive[:7]] == [4 * 1024 * 16 * 32 * 32] * 7
    assert m.optimizer == m.parameters
    assert str(m).startswith("peak 496.0 MB live in unit 5: parameters 6.7, buffers 0.1, gradients ")


def test_what_each_choice_costs() -> None:
    net = on_meta(cifar_resnet(8, 10), DGL())
    weights = 4 * sum(p.numel() for p in net.parameters())
    unit = memory(net, 256)
    plain = memory(net, 256, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    adam = memory(net, 256, optimizer=torch.optim.Adam)
    fused = memory(net, 256, update="fused")
    half = memory(net, 256, precision="bfloat16")
    assert (plain.optimizer, unit.optimizer) == (0, weights)
    assert 2 * weights < adam.optimizer < 2.01 * weights
    assert fused.peak > unit.peak
    assert 0.45 < half.activations / unit.activations < 0.6
    assert memory(net, 256, precision="float16").activations == pytest.approx(half.activations, rel=1e-3)
    assert memory(net, 256, channels_last=True).peak == unit.peak
    assert memory(net, 512).activations == pytest.approx(2 * unit.activations, rel=1e-2)
    assert memory(net, 256, (3, 64, 64)).activations == pytest.approx(4 * unit.activations, rel=1e-1)


def test_nothing_is_allocated() -> None:
    net = on_meta(resnet32(10), AugLocal(depth=2), 16)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    m = memory(net, batch_size=10**6)
    assert m.peak > 7e11
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 3e8


def test_a_real_network_is_left_alone() -> None:
    net = localize(cifar_resnet(8, 10), DGL()).eval()
    net.model(torch.ones(1, 3, 32, 32)).sum().backward()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    grads = {id(p): p.grad for p in net.parameters()}
    state = torch.get_rng_state()
    with torch.device("meta"):
        real = memory(net, 16)
    assert real == memory(on_meta(cifar_resnet(8, 10), DGL()), 16)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is grads[id(p)] for p in net.parameters())
    assert not any(module.training for module in net.modules())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, r"memory: batch_size must be at least 1, got 0\."),
        ({"batch_size": 8, "image": (1, 28, 28)}, r"C=3, as resnet8 reads it, got \(1, 28, 28\)"),
        ({"batch_size": 8, "precision": "float8"}, r"memory: precision 'float8' is unknown\. Did you mean"),
        ({"batch_size": 8, "update": "fuse"}, r"memory: update 'fuse' is unknown\. Did you mean fused\?"),
    ],
)
def test_errors(arguments: dict, message: str) -> None:
    with pytest.raises(LocalgradError, match=message):
        memory(on_meta(cifar_resnet(8, 10), Backprop()), **arguments)


def test_table() -> None:
    nets = {"BP": on_meta(cifar_resnet(8, 10), Backprop()), "DGL": on_meta(cifar_resnet(8, 10), DGL())}
    first, second = cost.cost_table(nets, batch_size=64)
    assert (first.name, first.units, first.aux_parameters, first.ratio, first.speedup) == ("BP", 1, 0, 1.0, 1.0)
    assert (second.name, second.units, second.parameters) == ("DGL", 4, first.parameters)
    assert second.peak == memory(nets["DGL"], 64).peak
    assert second.ratio == second.peak / first.peak
    assert second.max_node < first.max_node < second.total
    assert second.aux_parameters == sum(p.numel() for p in nets["DGL"].aux.parameters())


def test_table_of_nothing() -> None:
    with pytest.raises(LocalgradError, match="cost_table: expected at least one network, got none"):
        cost.cost_table({}, 8)
