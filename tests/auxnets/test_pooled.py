"""PredSim's local classifier: the pooling rule on any size, layers, what starts at zero."""

from math import prod

import pytest
import torch
from torch import nn

from localgrad.auxnets import PooledDecoder, Pooling, SimilarityNet, pool_to


@pytest.mark.parametrize("channels", [1, 3, 40])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (7, 7), (8, 8), (5, 12), (12, 5), (1, 16), (31, 2)])
@pytest.mark.parametrize("most", [1, 8, 50, 512, 10**6])
def test_pooling(channels: int, size: tuple[int, int], most: int) -> None:
    """What is announced is what comes out; few enough features, unless there are more channels than features."""
    shape = (channels, *size)
    pooling = pool_to(shape, most)
    out = nn.AvgPool2d(pooling.kernel, padding=pooling.padding)(torch.randn(2, *shape))
    assert tuple(out.shape[1:]) == pooling.out
    assert prod(pooling.out) <= most or pooling.out == (channels, 1, 1)
    assert all(kernel & (kernel - 1) == 0 for kernel in pooling.kernel)
    assert all(kernel < 2 * length for kernel, length in zip(pooling.kernel, size, strict=True))


def test_pooling_stops_as_soon_as_possible() -> None:
    """Height first, so an uneven number of halvings leaves a map that is twice as wide as high."""
    assert pool_to((16, 32, 32), 16 * 32 * 32) == Pooling((1, 1), (0, 0), (16, 32, 32))
    assert pool_to((16, 32, 32), 16 * 32 * 32 - 1) == Pooling((2, 1), (0, 0), (16, 16, 32))
    assert pool_to((16, 32, 32), 4096) == Pooling((2, 2), (0, 0), (16, 16, 16))
    assert pool_to((16, 32, 32), 4095) == Pooling((4, 2), (0, 0), (16, 8, 16))


def test_zeros_around_are_counted() -> None:
    """A window over the border is divided by its whole size, as in the released code."""
    decoder = PooledDecoder((1, 3, 3), 2, 4).build()
    assert (decoder.pool.kernel_size, decoder.pool.padding) == ((2, 2), (1, 1))
    assert decoder.pool(torch.ones(1, 1, 3, 3)).flatten().tolist() == [0.25, 0.5, 0.5, 1.0]


@pytest.mark.parametrize(
    ("shape", "most", "layers"),
    [((4, 8, 8), 64, ["pool", "flatten", "fc"]), ((4, 8, 8), 256, ["flatten", "fc"]), ((6,), 2, ["fc"])],
)
def test_layers(shape: tuple[int, ...], most: int, layers: list[str]) -> None:
    """A vector is never pooled."""
    decoder = PooledDecoder(shape, 3, most).build()
    assert [name for name, _ in decoder.named_children()] == layers
    x = torch.randn(2, *shape)
    assert decoder(x).shape == (2, 3)
    assert decoder.fc.in_features == (6 if shape == (6,) else min(most, prod(shape)))


def test_only_the_weight_starts_at_zero() -> None:
    decoder, other = (PooledDecoder((4, 2, 2), 3, 99, zero).build() for zero in (True, False))
    assert not decoder.fc.weight.any()
    assert decoder.fc.bias.all()
    assert other.fc.weight.all()


def test_format_of_memory_does_not_matter() -> None:
    decoder, x = PooledDecoder((4, 6, 5), 3, 30).build(), torch.randn(2, 4, 6, 5)
    assert torch.allclose(decoder(x), decoder(x.to(memory_format=torch.channels_last)), atol=1e-6)


@pytest.mark.parametrize(("shape", "parameters"), [((5, 4, 3), 9 * 25), ((7,), 49)])
def test_similarity_net_keeps_the_shape(shape: tuple[int, ...], parameters: int) -> None:
    net = SimilarityNet(shape).build()
    outputs = net(torch.randn(2, *shape))
    assert outputs.keys() == {"features"}
    assert outputs["features"].shape == (2, *shape)
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters
