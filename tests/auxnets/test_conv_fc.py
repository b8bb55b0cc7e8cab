"""The XcYf family: layers and parameters by formula."""

import pytest
import torch
from torch import nn

from localgrad.auxnets import ConvFC


@pytest.mark.parametrize(("convs", "fcs"), [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3), (2, 2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_family(convs: int, fcs: int, stride: int) -> None:
    c, out, hidden, classes = 4, 6, 5, 3
    head = ConvFC(c, classes, out, stride, convs, fcs, hidden).build()
    conv = [part for part in head.modules() if isinstance(part, nn.Conv2d)]
    linear = [part for part in head.modules() if isinstance(part, nn.Linear)]
    assert [(part.in_channels, part.stride[0]) for part in conv] == [(c, stride), (out, 1)][:convs]
    assert len(linear) == fcs
    assert not isinstance(list(head.modules())[-1], nn.ReLU)

    channels = out if convs else c
    expected = sum(9 * i * out + 2 * out for i in (c, out)[:convs])
    for index in range(fcs):
        width = classes if index == fcs - 1 else hidden
        expected += channels * width + width
        channels = width
    assert sum(parameter.numel() for parameter in head.parameters()) == expected
    assert head(torch.randn(2, c, 7, 5)).shape == (2, classes)


def test_0c1f_is_pooling_and_a_linear_layer() -> None:
    head = ConvFC(4, 3, 8, 2, convs=0, fcs=1).build()
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(head(x), head.fc1(x.mean((2, 3))))
