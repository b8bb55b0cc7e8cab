"""Classifiers behind a vector of channels."""

import pytest
import torch
from torch import nn

from localgrad.auxnets import VectorMLP
from localgrad.errors import LocalgradError


def widths(spec: VectorMLP) -> list[tuple[int, int]]:
    return [(part.in_features, part.out_features) for part in spec.build().modules() if isinstance(part, nn.Linear)]


def test_widths_are_four_times_the_channels_and_bounded() -> None:
    assert widths(VectorMLP(6, 5)) == [(6, 24), (24, 24), (24, 24), (24, 5)]
    assert widths(VectorMLP(6, 5, hidden=2, max_hidden=10)) == [(6, 10), (10, 10), (10, 5)]
    assert widths(VectorMLP(6, 5, hidden=0)) == [(6, 5)]


def test_layers() -> None:
    assert list(dict(VectorMLP(6, 5, hidden=1).build().named_children())) == ["fc1", "bn1", "relu1", "fc"]
    assert list(dict(VectorMLP(6, 5, hidden=0, batch_norm=True).build().named_children())) == ["bn", "fc"]
    biases = [
        part.bias is not None for part in VectorMLP(6, 5, 1, hidden_bias=False).build() if hasattr(part, "weight")
    ]
    assert biases == [False, True, True]


def test_shape() -> None:
    spec = VectorMLP(6, 5)
    assert spec.shape((6,)) == tuple(spec.build()(torch.randn(2, 6)).shape[1:]) == (5,)
    with pytest.raises(LocalgradError, match=r"VectorMLP: expected features of shape \(6,\), got \(6, 2\)"):
        spec.shape((6, 2))
