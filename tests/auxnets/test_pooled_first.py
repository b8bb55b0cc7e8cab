"""Features averaged before an auxiliary network: shapes, values, memory format, and what has no map."""

import pytest
import torch
import torch.nn.functional as F

from localgrad import LocalgradError
from localgrad.auxnets import ConvFC, PooledFirst, pooled_first, pooled_shape
from localgrad.auxnets.mlp_sr import CnnHead


@pytest.mark.parametrize(
    ("shape", "pool", "expected"),
    [
        ((16, 32, 32), 2, (16, 16, 16)),
        ((32, 16, 16), 2, (32, 8, 8)),
        ((64, 8, 8), 2, (64, 8, 8)),
        ((64, 8, 9), 2, (64, 4, 5)),
        ((64, 9, 7), 2, (64, 5, 4)),
        ((64, 10, 11), 3, (64, 4, 4)),
        ((16, 32, 32), 4, (16, 8, 8)),
        ((16, 32, 32), 1, (16, 32, 32)),
        ((12,), 1, (12,)),
    ],
)
def test_pooled_shape(shape: tuple[int, ...], pool: int, expected: tuple[int, ...]) -> None:
    assert pooled_shape(shape, pool) == expected
    aux = CnnHead(shape[0], 3)
    assert pooled_first(aux, shape, pool) == (aux if expected == shape else PooledFirst(aux, pool))
    if expected != shape:
        pooled = PooledFirst(aux, pool).build().pool(torch.zeros(2, *shape))
        assert tuple(pooled.shape[1:]) == expected


@pytest.mark.parametrize("shape", [(12,), (5, 12), (2, 3, 4, 5)])
def test_features_that_are_no_map(shape: tuple[int, ...]) -> None:
    with pytest.raises(LocalgradError, match=r"aux_pool=2 averages .* maps \(C, H, W\), got features of shape .* Take"):
        pooled_shape(shape, 2)


def test_averages_then_the_auxiliary_network() -> None:
    """What is left over at an odd edge is an average of fewer, and no zeros count."""
    module = PooledFirst(ConvFC(2, 3, 4, 2), 2).build().eval()
    h = torch.randn(5, 2, 10, 9, dtype=torch.float64)
    module.double()
    columns = torch.cat([h[..., :8].unflatten(3, (4, 2)).mean(4), h[..., 8:]], 3)
    by_hand = columns.unflatten(2, (5, 2)).mean(3)
    torch.testing.assert_close(module.pool(h), by_hand)
    torch.testing.assert_close(module(h), module.aux(by_hand))
    assert {name.partition(".")[0] for name in module.state_dict()} == {"aux"}


def test_gradient_before_the_average_keeps_channels_last() -> None:
    module = PooledFirst(ConvFC(4, 3, 4, 2), 2).build().to(memory_format=torch.channels_last)
    x = torch.randn(3, 4, 12, 10).to(memory_format=torch.channels_last).requires_grad_()
    seen = []
    h = torch.relu(x)
    h.register_hook(lambda gradient: seen.append(gradient.is_contiguous(memory_format=torch.channels_last)))
    F.cross_entropy(module(h), torch.tensor([0, 1, 2])).backward()
    assert seen == [True]
