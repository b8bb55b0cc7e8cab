"""Modules that are not ours, as a sequence of their calls: the same results, and what is left whole."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from localgrad import Sequential, cost, localize
from localgrad.forward_calls import Call, forward_calls, why_whole
from localgrad.methods import DGL, Backprop
from localgrad.recompute import apply_layer

from .conftest import changed, copy_of, random_batch, sgd, tiny_resnet

torchvision = pytest.importorskip("torchvision")
BLOCKS = {"basic": torchvision.models.resnet.BasicBlock, "bottleneck": torchvision.models.resnet.Bottleneck}


def small_resnet(kind: str, width: int = 4) -> nn.Module:
    """torchvision's own network with few channels: two stages, the second with a shortcut that is a convolution."""
    model = torchvision.models.ResNet(BLOCKS[kind], [1, 2, 1, 1], num_classes=4)
    scale = 64 // width
    for module in model.modules():
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d):
                inside = child.in_channels if child.in_channels == 3 else child.in_channels // scale
                setattr(module, name, nn.Conv2d(
                    inside, child.out_channels // scale, child.kernel_size, child.stride, child.padding, bias=False,
                ))  # fmt: skip
            elif isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.BatchNorm2d(child.num_features // scale))
    model.maxpool = nn.Identity()  # so that the first blocks are larger than the stem
    model.fc = nn.Linear(model.fc.in_features // scale, 4)
    return model


@pytest.mark.parametrize("kind", BLOCKS)
def test_calls_of_a_residual_block(kind: str) -> None:
    block = small_resnet(kind).layer2[0]
    calls = forward_calls(block)
    assert all(isinstance(call, Call) for call in calls)
    assert [call.before for call in calls[1:]] == [call.after for call in calls[:-1]]
    assert {id(p) for call in calls for p in call.parameters()} == {id(p) for p in block.parameters()}
    h = torch.randn(2, *([16 if kind == "bottleneck" else 4]), 6, 6)
    expected, out = block.eval()(h), h
    for call in calls:
        out = apply_layer(call, out)
    assert torch.equal(out, expected)


@pytest.mark.parametrize(
    ("kind", "method"), [("basic", Backprop()), ("bottleneck", Backprop()), ("bottleneck", DGL(max_hidden=4))], ids=str
)
def test_a_foreign_network_trains_as_without(kind: str, method) -> None:
    """Also the loss of every step and BatchNorm statistics; inside of blocks something is recomputed."""
    results, recomputed = [], []
    for recompute in (False, True):
        torch.manual_seed(1)
        modules = None if isinstance(method, Backprop) else 5
        net = localize(small_resnet(kind), method, modules, example=torch.zeros(1, 3, 32, 32), recompute=recompute)
        loop, like = Sequential(net, sgd), tiny_resnet(image=(3, 32, 32))
        losses = [loop.step(random_batch(like, seed=index)).losses for index in range(2)]
        results.append((losses, copy_of(net)))
        segments = [segment for unit in net.unit_list() for segment in unit.body_segments]
        recomputed.append(any(isinstance(layer, Call) for own in segments if own.recomputed for layer in own.layers))
    assert results[0][0] == results[1][0]
    assert not changed(results[0][1], results[1][1])
    assert recomputed == [False, True]


@pytest.mark.parametrize(("kind", "modules"), [("basic", 5), ("bottleneck", 1)])
def test_it_needs_less_memory(kind: str, modules: int) -> None:
    found = []
    for recompute in (False, True):
        with torch.device("meta"):
            model, example = small_resnet(kind, 16), torch.zeros(1, 3, 32, 32)
            net = localize(model, DGL(max_hidden=4), modules, example=example, recompute=recompute)
        found.append(cost.memory(net, 16).peak)
    assert found[1] < found[0]


class Two(nn.Module):
    """Two convolutions; ``kind`` says what stands between them."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.a, self.b, self.kind = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), kind
        self.drop = nn.Dropout(0.5)
        if kind == "parameter":
            self.gamma = nn.Parameter(torch.ones(()))
        self.last: Tensor | None = None

    def forward(self, h: Tensor) -> Tensor:
        out = self.a(h)
        match self.kind:
            case "dropout":
                out = self.drop(out)
            case "functional dropout":
                out = functional.dropout(out, 0.5, self.training)
            case "parameter":
                out = out * self.gamma
            case "size":
                out = out.reshape(out.shape[0], 4, *out.shape[2:])
            case "branch":
                out = out if out.sum() > 0 else -out
            case "keeps":
                self.last = out
            case "constant":
                out = out + torch.ones(1)
            case "random":
                out = out + torch.rand(1)
        return self.b(out) + h


WHOLE = {
    "dropout": None,
    "plain": None,
    "functional dropout": "it does something else in training than in evaluation",
    "parameter": "it has parameters of its own beside those of its parts",
    "size": "it cannot be traced (TraceError: Proxy object cannot be iterated)",
    "branch": "it cannot be traced (TraceError: ",
    "keeps": "it keeps values of its forward pass",
    "constant": "its forward pass uses sizes, constants, or several inputs or outputs",
    "random": "its forward pass uses sizes, constants, or several inputs or outputs",
}


@pytest.mark.parametrize("kind", WHOLE)
def test_what_is_left_whole(kind: str) -> None:
    module, state, reason = Two(kind), torch.get_rng_state(), WHOLE[kind]
    found = forward_calls(module)
    assert (found == [module]) == (reason is not None)
    assert (why_whole(module) or "").startswith(reason or "")
    assert (why_whole(module) is None) == (reason is None)
    assert torch.equal(state, torch.get_rng_state()) and module.last is None and module.training


def test_layers_are_no_parts_that_stay_whole() -> None:
    assert why_whole(nn.Conv2d(3, 3, 1)) is None and why_whole(nn.Sequential(nn.Linear(3, 3), nn.ReLU())) is None


def whole_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        Two("size"),
        Two("plain"),
        Two("size"),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )


def test_localize_says_what_stays_whole(caplog: pytest.LogCaptureFixture) -> None:
    """Once per reason; nothing without recomputation."""
    example = torch.zeros(1, 3, 8, 8)
    plain = localize(whole_network(), DGL(max_hidden=4), 3, example=example)
    assert plain.kept_whole() == {} and not caplog.messages
    net = localize(whole_network(), DGL(max_hidden=4), 3, example=example, recompute=True)
    reason = WHOLE["size"]
    assert net.kept_whole() == {"model.1": reason, "model.3": reason}
    assert caplog.messages == [
        "localize: recompute cannot cut inside of 2 modules (model.1, model.3), recomputed or kept as a whole: "
        f"{reason}."
    ]


def test_hooks_inside_are_called() -> None:
    module, seen = Two("plain"), []
    module.a.register_forward_hook(lambda *_: seen.append("a"))
    out = torch.randn(1, 4, 5, 5)
    for call in forward_calls(module):
        out = apply_layer(call, out)
    assert seen == ["a"]
