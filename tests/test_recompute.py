"""Recomputed activations: same output, gradients and statistics, fewer tensors kept."""

import pytest
import torch
from torch import Tensor, nn

from localgrad.recompute import equal_segments, forward_segments

from .conftest import changed, copy_of


def layers() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        *(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(inplace=True), nn.Dropout(0.3)) for _ in range(5))
    )


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("segments", [1, 2, 3, 5, 9])
def test_same_as_without(segments: int, frozen: bool) -> None:
    """Also with a BatchNorm that a user holds in evaluation mode."""
    x = torch.randn(8, 4)
    results = []
    for recomputed in (False, True):
        net = layers()
        net[1][1].train(not frozen)
        h_in = x.clone().requires_grad_(True)
        torch.manual_seed(7)
        out = forward_segments(equal_segments(list(net), segments), h_in) if recomputed else net(h_in)
        out.square().sum().backward()
        gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
        results.append(({"out": out.detach(), "x": h_in.grad, **gradients}, copy_of(net)))
    (plain, weights), (again, same_weights) = results
    assert not changed(plain, again)
    assert not changed(weights, same_weights)
    tracked = [int(value) for name, value in weights.items() if "num_batches" in name]
    assert tracked == [1, 1 - frozen, 1, 1, 1]


@pytest.mark.parametrize(
    ("segments", "starts"), [(1, [0]), (2, [0, 3]), (3, [0, 2, 4]), (5, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4])]
)
def test_only_inputs_of_segments_of_nearly_equal_length_are_kept(segments: int, starts: list[int]) -> None:
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.detach())
        return tensor

    x = torch.randn(3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = forward_segments(equal_segments([nn.Sigmoid() for _ in range(5)], segments), x)
    values = [x.detach()]
    for _ in range(5):
        values.append(values[-1].sigmoid())
    assert torch.equal(out, values[5])
    assert torch.equal(torch.stack(kept), torch.stack([values[start] for start in starts]))
