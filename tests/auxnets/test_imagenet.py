"""The auxiliary classifiers of the ImageNet experiments, layer by layer."""

import torch
from torch import nn

from localgrad.auxnets import FlatMLP, infopro_imagenet_head


def test_infopros_head() -> None:
    """methods.md 5: two strided convolutions between two pointwise ones, no bias; global pooling, linear."""
    with torch.device("meta"):
        head = infopro_imagenet_head(512, 1000).build()
        out = head(torch.empty(2, 512, 28, 28))
    convs = [part for part in head.modules() if isinstance(part, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0]) for c in convs] == [
        (512, 128, 1, 1),
        (128, 256, 3, 2),
        (256, 512, 3, 2),
        (512, 2048, 1, 1),
    ]
    assert all(conv.bias is None for conv in convs)
    assert sum(isinstance(part, nn.BatchNorm2d) for part in head.modules()) == 4
    assert sum(isinstance(part, nn.ReLU) for part in head.modules()) == 4
    assert out.shape == (2, 1000)


def test_auglocals_vgg13_classifier() -> None:
    head = FlatMLP(10, width=6).build()
    x = torch.randn(3, 4, 3, 3)
    linear = [part for part in head if isinstance(part, nn.Linear)]
    assert [(part.in_features, part.out_features) for part in linear] == [(6, 6), (6, 6), (6, 10)]
    assert [type(part).__name__ for part in head[3:5]] == ["BatchNorm1d", "ReLU"]
    assert head(x).shape == (3, 10)
    # 36 features in 6 averages of 6 neighbours in memory.
    assert torch.allclose(head[:2](x), x.reshape(3, 6, 6).mean(2))
    assert FlatMLP(1000).build()[2].in_features == 512
