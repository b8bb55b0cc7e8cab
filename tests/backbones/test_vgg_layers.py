"""Conv and hidden layers with dropout and pooling in front; their neuron groups; what cannot be."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from localgrad import LocalgradError
from localgrad.backbones.vgg_layers import ConvLayer, HiddenLayer, LinearHead


def names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_children()]


def batch_norm(x: torch.Tensor) -> torch.Tensor:
    axes = [0, *range(2, x.ndim)]
    return (x - x.mean(axes, keepdim=True)) / (x.var(axes, correction=0, keepdim=True) + 1e-5).sqrt()


def test_conv_layer_written_out() -> None:
    layer = ConvLayer(3, 5, pool=True, nonlinearity="leaky_relu").build().double()
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    conv = F.conv2d(F.max_pool2d(x, 2), layer.conv.weight, layer.conv.bias, padding=1)
    out = batch_norm(conv)
    torch.testing.assert_close(layer(x), torch.where(out > 0, out, 0.01 * out), rtol=1e-10, atol=1e-10)
    assert layer(x).shape[1:] == ConvLayer(3, 5, pool=True).shape((3, 7, 6)) == (5, 3, 3)


def test_hidden_layer_written_out() -> None:
    spec = HiddenLayer(3, (5, 4), 6, pool=True)
    layer = spec.build().double()
    x = torch.randn(8, 3, 5, 4, dtype=torch.float64)
    out = F.linear(F.max_pool2d(x, 2).flatten(1), layer.fc.weight, layer.fc.bias)
    torch.testing.assert_close(layer(x), batch_norm(out).clamp(min=0), rtol=1e-10, atol=1e-10)
    assert spec.shape((3, 5, 4)) == (6,)


def test_order_of_the_front() -> None:
    assert names(ConvLayer(3, 4, pool=True, dropout=0.1).build()) == ["dropout", "pool", "conv", "bn", "act"]
    assert names(ConvLayer(3, 4).build()) == ["conv", "bn", "act"]
    hidden = HiddenLayer(3, (4, 4), 6, pool=True, dropout=0.1).build()
    assert names(hidden) == ["dropout", "pool", "flatten", "fc", "bn", "act"]
    assert isinstance(hidden.dropout, nn.Dropout2d)
    head = LinearHead(6, 3, dropout=0.1).build()
    assert names(head) == ["dropout", "fc"]
    assert type(head.dropout) is nn.Dropout


def test_dropout_takes_whole_channels_of_the_input() -> None:
    """What a layer puts out is never dropped: the loss reads it before, the next layer after dropout."""
    layer = ConvLayer(16, 4, dropout=0.5).build()
    x = torch.ones(4, 16, 6, 6)
    dropped = layer.dropout(x)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(dropped.amin((2, 3)), dropped.amax((2, 3)))


@pytest.mark.parametrize(
    "spec", [ConvLayer(4, 6, pool=True, dropout=0.25, nonlinearity="leaky_relu"), HiddenLayer(4, (8, 8), 6, pool=True)]
)
def test_groups_make_the_layer_together(spec: ConvLayer | HiddenLayer) -> None:
    whole = spec.build().eval()
    parts = [spec.group(4, start, stop) for start, stop in ((0, 1), (1, 4), (4, 6))]
    x, outs = torch.randn(3, 4, 8, 8), []
    for part, (start, stop) in zip(parts, ((0, 1), (1, 4), (4, 6)), strict=True):
        assert part.shape((4, 8, 8))[0] == stop - start
        module = part.build().eval()
        cut = {key: value[start:stop] if value.ndim else value for key, value in whole.state_dict().items()}
        module.load_state_dict(cut)
        outs.append(module(x))
    torch.testing.assert_close(torch.cat(outs, 1), whole(x))


def test_rebuild() -> None:
    layer = ConvLayer(4, 8, pool=True, dropout=0.1)
    assert layer.rebuild(in_channels=2, stride=1) == ConvLayer(2, 8, dropout=0.1)
    assert ConvLayer(4, 8).rebuild(in_channels=2, stride=2, groups=2) == ConvLayer(2, 8, pool=True, groups=2)
    assert LinearHead(4, 3).rebuild(in_channels=5) == LinearHead(5, 3)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ConvLayer(3, 4).group(3, 2, 2), r"ConvLayer\.group: expected 0 <= start < stop <= 4, got start=2, st"),
        (
            lambda: HiddenLayer(3, (4, 4), 6).group(3, 0, 7),
            r"HiddenLayer\.group: expected .* <= 6, got start=0, stop=7",
        ),
        (
            lambda: ConvLayer(3, 4, pool=True).shape((3, 1, 8)),
            r"ConvLayer: .* at least 2x2 before max-pooling, got \(3,",
        ),
        (lambda: ConvLayer(3, 4).shape((2, 8, 8)), r"ConvLayer: expected input of shape \(3, H, W\), got \(2, 8, 8\)"),
        (lambda: HiddenLayer(3, (4, 4), 6).shape((3, 4, 5)), r"HiddenLayer: .* shape \(3, 4, 4\), got \(3, 4, 5\)"),
        (lambda: HiddenLayer(3, (1, 1), 6, pool=True).shape((3, 1, 1)), r"HiddenLayer: .* at least 2x2"),
        (lambda: HiddenLayer(3, (4, 4), 6).rebuild(in_channels=2, stride=1), r"HiddenLayer: .* cannot be copied into"),
        (lambda: LinearHead(6, 3).shape((5,)), r"LinearHead: expected input of shape \(6,\), got \(5,\)"),
    ],
)
def test_what_cannot_be(call, text: str) -> None:
    with pytest.raises(LocalgradError, match=text):
        call()
