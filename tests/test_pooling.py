"""Global average pooling equals PyTorch's, in values, gradients and memory format."""

import pytest
import torch
import torch.nn.functional as F

from localgrad.count import count_macs
from localgrad.pooling import GlobalAvgPool, global_avg_pool

FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("size", [(5, 4), (1, 1), (1, 7)])
def test_equals_adaptive_pooling(memory_format: torch.memory_format, size: tuple[int, int]) -> None:
    x = torch.randn(3, 6, *size, dtype=torch.float64).to(memory_format=memory_format)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    weight = torch.randn(3, 6, dtype=torch.float64)
    pooled, expected = global_avg_pool(ours), F.adaptive_avg_pool2d(theirs, 1).flatten(1)
    torch.testing.assert_close(pooled, expected, rtol=1e-14, atol=1e-15)
    (pooled * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-14, atol=1e-15)


def test_gradient_before_pooling_keeps_channels_last() -> None:
    x = torch.randn(3, 6, 5, 4).to(memory_format=torch.channels_last).requires_grad_()
    seen = []
    h = torch.relu(x)
    h.register_hook(lambda gradient: seen.append(gradient.is_contiguous(memory_format=torch.channels_last)))
    global_avg_pool(h).sum().backward()
    assert seen == [True]


@pytest.mark.parametrize("memory_format", FORMATS)
def test_counts_its_input_as_the_papers_do(memory_format: torch.memory_format) -> None:
    counts, shape = count_macs(torch.nn.Sequential(GlobalAvgPool()).to(memory_format=memory_format), (6, 5, 4))
    assert counts == {"pool": 120}
    assert shape == (6,)
