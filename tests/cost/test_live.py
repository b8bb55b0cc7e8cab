"""The tracker against closed forms, and fake tensors against real ones."""

import pytest
import torch
from torch import nn

from localgrad.backbones import cifar_resnet
from localgrad.cost import Memory, live, memory
from localgrad.cost.fake import blank_batch
from localgrad.cost.live import LiveBytes
from localgrad.cost.memory import sgd_nesterov
from localgrad.methods import DGL, AugLocal, Backprop
from localgrad.network import localize
from localgrad.runtime import Sequential


def test_births_and_deaths() -> None:
    x = torch.ones(100)
    tracker = LiveBytes()
    tracker.mark(x, "input")
    with tracker:
        y = x + 1
        z = y.view(10, 10)  # no new storage
        del y
        w = z * 2
        del z
        w.add_(1)
    assert [moment.live for moment in tracker.timeline] == [800, 800, 1200, 800]
    assert [moment.op for moment in tracker.timeline] == [
        "aten.add.Tensor", "aten.view.default", "aten.mul.Tensor", "aten.add_.Tensor",
    ]  # fmt: skip
    assert tracker.peak() == 2
    assert [storage.kind for storage in tracker.storages] == ["input", "activations", "activations"]
    assert [storage.died for storage in tracker.storages] == [None, 3, None]
    assert [storage.alive(2) for storage in tracker.storages] == [True, True, True]
    del x
    assert tracker.live == 400


def test_chain_of_linear_layers() -> None:
    """Three Linear n -> n without bias under a sum: what is alive when, counted by hand."""
    n, rows = 8, 64
    weight, act = 4 * n * n, 4 * rows * n
    layers = nn.Sequential(*(nn.Linear(n, n, bias=False) for _ in range(3)))
    x = torch.ones(rows, n)
    tracker = LiveBytes()
    tracker.mark(x, "input")
    for parameter in layers.parameters():
        tracker.mark(parameter, "parameters")
    with tracker:
        out = layers(x).sum()
        forward = tracker.live
        out.backward()
    # x, h1, h2 are saved; h3 dies with the sum, of which 4 bytes stay.
    assert forward == 3 * weight + 3 * act + 4
    # At most: x, h1, the gradient of h2 (from that of h3, expanded from 4 bytes), h2 itself, and a weight gradient;
    # then x, h1, gradients of h2 and of h1, and two weight gradients.
    peak = tracker.timeline[tracker.peak()].live
    assert peak == 3 * weight + 4 * act + 2 * weight + 2 * 4
    del out
    assert tracker.live == 6 * weight + act


def both(method, image: tuple[int, int, int], **choices) -> tuple[Memory, Memory]:
    """Predicted on fake tensors, measured on real ones."""
    net = localize(cifar_resnet(8, 10), method)
    batch = blank_batch(net, 4, image)
    batch.x.normal_()
    batch.y.zero_()
    return memory(net, 4, image, **choices), live(Sequential(net, sgd_nesterov, **choices), batch)


@pytest.mark.parametrize("image", [(3, 8, 8), (3, 32, 32)])
@pytest.mark.parametrize(
    ("method", "choices"),
    [(Backprop(), {}), (DGL(), {}), (DGL(), {"update": "fused"}), (AugLocal(depth=2), {})],
)
def test_fake_tensors_tell_the_truth(method, choices: dict, image: tuple[int, int, int]) -> None:
    """The same two steps with real tensors: the same storages at the same operators."""
    fake, real = both(method, image, **choices)
    assert fake == real
    assert fake.timeline == real.timeline


def test_fake_tensors_tell_the_truth_in_bfloat16() -> None:
    """Fake BatchNorm gives its batch statistics in bfloat16, the real one in float32: 4 bytes per channel."""
    fake, real = both(DGL(), (3, 32, 32), precision="bfloat16")
    assert [moment.op for moment in fake.timeline] == [moment.op for moment in real.timeline]
    assert 0 <= real.peak - fake.peak <= 4 * 1000
    assert fake.peak == pytest.approx(real.peak, rel=1e-3)
    gaps = [b.live - a.live for a, b in zip(fake.timeline, real.timeline, strict=True)]
    assert min(gaps) >= 0
    assert max(gaps) <= 4 * 3000
