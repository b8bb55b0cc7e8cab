"""What brings features to the shape that a rebuilt block reads."""

import pytest
import torch
from torch import nn

from localgrad.backbones.rebuilding_adapter import Adapter, grid, pooling_factor, positions
from localgrad.errors import LocalgradError
from localgrad.spec import Shape

MAP, TOKENS, LAST, VECTOR, FRONT = ((4, 8, 8), 0), ((17, 6), 1), ((4, 4, 5), 2), ((7,), 0), ((6, 9), 0)
CASES = [(one, other) for one in (MAP, TOKENS, LAST, VECTOR, FRONT) for other in (MAP, TOKENS, LAST, VECTOR, FRONT)]


def layers(given: Shape, axis: int, wanted: Shape, wanted_axis: int) -> dict[str, nn.Module]:
    return dict(Adapter(given, axis, wanted, wanted_axis).layers())


@pytest.mark.parametrize(("given", "wanted"), CASES)
def test_any_features_become_any_other(given: tuple[Shape, int], wanted: tuple[Shape, int]) -> None:
    adapter = Adapter(*given, *wanted)
    run = nn.Sequential(adapter.layers())
    h = torch.randn(3, *given[0], requires_grad=True)
    out = run(h)
    assert tuple(out.shape) == (3, *wanted[0])
    assert adapter.shape(given[0]) == wanted[0]
    out.square().sum().backward()
    assert h.grad is not None and bool((h.grad != 0).any())
    assert len(run) == 0 or given != wanted
    views = nn.Sequential(*(layer for name, layer in adapter.layers().items() if name not in ("pool", "conv", "fc")))
    assert adapter.makes_new == (len(views) < len(run))


def test_only_what_must_change() -> None:
    assert not layers((4, 8, 8), 0, (4, 8, 8), 0)
    assert list(layers((4, 8, 8), 0, (4, 4, 4), 0)) == ["pool"]
    assert list(layers((4, 8, 8), 0, (6, 8, 8), 0)) == ["conv", "norm"]
    assert list(layers((8, 8, 4), 2, (8, 8, 6), 2)) == ["fc", "norm"]
    assert list(layers((8, 8, 4), 2, (4, 4, 6), 2)) == ["first", "pool", "last", "fc", "norm"]
    assert list(layers((8, 8, 4), 2, (4, 8, 8), 0)) == ["order"]
    assert list(layers((9, 4), 1, (9, 6), 1)) == ["fc", "norm"]
    made = layers((4, 8, 8), 0, (6, 4, 4), 0)
    assert isinstance(made["pool"], nn.AvgPool2d) and isinstance(made["norm"], nn.BatchNorm2d)
    assert made["conv"].bias is None and made["conv"].kernel_size == (1, 1)
    assert isinstance(layers((9, 4), 1, (9, 6), 1)["norm"], nn.LayerNorm)


def test_averages() -> None:
    h = torch.arange(16.0).view(1, 1, 4, 4)
    quarter = torch.tensor([[2.5, 4.5], [10.5, 12.5]])
    (pool,) = layers((1, 4, 4), 0, (1, 2, 2), 0).values()
    assert torch.equal(pool(h)[0, 0], quarter)
    # Sixteen tokens are a grid of 4x4, and 2x2 of them average squares; with one more they average runs.
    tokens = nn.Sequential(*layers((16, 1), 1, (4, 1), 1).values())
    assert torch.equal(tokens(h.view(1, 16, 1))[0, :, 0], quarter.flatten())
    runs = nn.Sequential(*layers((17, 1), 1, (1, 1), 1).values())
    assert runs(torch.ones(1, 17, 1)).item() == 1.0
    mean = nn.Sequential(*layers((4, 4, 1), 2, (1,), 0).values())
    assert mean(h.view(1, 4, 4, 1)).item() == 7.5


def test_maps_of_other_images_scale() -> None:
    adapter = Adapter((4, 8, 8), 0, (6, 4, 4), 0)
    run = nn.Sequential(adapter.layers())
    assert adapter.shape((4, 12, 10)) == tuple(run(torch.randn(2, 4, 12, 10)).shape[1:]) == (6, 6, 5)
    fixed = Adapter((4, 7, 7), 0, (4, 5, 5), 0)  # no whole factor
    run = nn.Sequential(fixed.layers())
    assert fixed.shape((4, 9, 9)) == tuple(run(torch.randn(2, 4, 9, 9)).shape[1:]) == (4, 5, 5)
    with pytest.raises(LocalgradError, match=r"features of shape \(4, 8, 8\) cannot read \(3, 8, 8\): channels are on"):
        adapter.shape((3, 8, 8))


def test_sizes() -> None:
    assert [pooling_factor((7, 7), wanted) for wanted in ((4, 4), (3, 3), (7, 7), (5, 5), (4, 7), (14, 14))] == [
        2, 3, 1, 0, 0, 0,
    ]  # fmt: skip
    assert pooling_factor((9,), (3,)) == 0
    assert [grid(sizes) for sizes in ((4, 5), (16,), (17,), (1,), ())] == [(4, 5), (4, 4), None, None, None]
    assert positions((4, 5, 6), 1) == (4, 6)
