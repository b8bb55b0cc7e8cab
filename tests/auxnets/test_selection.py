"""Which layers are copied: the vectors of methods.md 10.1, and properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localgrad.auxnets import closest_width, pyramid_depths, sequential, uniform


@pytest.mark.parametrize(
    ("layers", "layer", "depth", "expected"),
    [
        (16, 0, 5, (3, 6, 9, 12, 15)),
        (16, 1, 5, (4, 7, 9, 12, 15)),
        (16, 4, 4, (7, 10, 12, 15)),
        (16, 9, 3, (11, 13, 15)),
        (16, 5, 4, (8, 10, 12, 15)),
        (17, 0, 4, (4, 8, 12, 16)),
        (17, 3, 4, (6, 10, 13, 16)),
        (17, 15, 4, (16,)),
        (16, 15, 3, ()),
    ],
)
def test_uniform(layers: int, layer: int, depth: int, expected: tuple[int, ...]) -> None:
    assert uniform(layer, layers, depth) == expected


@given(st.integers(2, 120), st.data())
def test_uniform_takes_later_layers_in_order_and_the_last(layers: int, data: st.DataObject) -> None:
    layer, depth = data.draw(st.integers(0, layers - 2)), data.draw(st.integers(1, 9))
    chosen = uniform(layer, layers, depth)
    assert len(chosen) == min(depth, layers - 1 - layer)
    assert list(chosen) == sorted(set(chosen))
    assert chosen[0] > layer
    assert chosen[-1] == layers - 1


@pytest.mark.parametrize(
    ("layer", "depth", "expected"), [(0, 3, (1, 2, 3)), (13, 3, (14, 15)), (14, 1, (15,)), (15, 3, ())]
)
def test_sequential(layer: int, depth: int, expected: tuple[int, ...]) -> None:
    assert sequential(layer, 16, depth) == expected


@pytest.mark.parametrize(
    ("units", "depth", "tau", "expected"),
    [
        (11, 5, 0.5, (5, 5, 5, 4, 4, 4, 4, 3, 3, 3)),
        (12, 4, 0.5, (4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 2)),
        (13, 3, 0.5, (3,) * 6 + (2,) * 6),
        (11, 5, 1.0, (5, 5, 4, 4, 3, 3, 2, 2, 1, 1)),
        (5, 4, 0.0, (4, 4, 4, 4)),
        (5, 1, 1.0, (1, 1, 1, 1)),
        (2, 3, 1.0, (3,)),
        (1, 3, 0.5, ()),
    ],
)
def test_pyramid_depths(units: int, depth: int, tau: float, expected: tuple[int, ...]) -> None:
    assert pyramid_depths(units, depth, tau) == expected


@given(st.integers(1, 3), st.integers(0, 5), st.integers(1, 40), st.integers(0, 20000))
def test_closest_width(square: int, linear: int, scale: int, target: int) -> None:
    def macs(width: int) -> int:
        return scale * (square * width**2 + linear * width)

    best = min(abs(macs(width) - target) for width in range(1, 200))
    assert abs(macs(closest_width(macs, target)) - target) == best
