"""Feature maps, stage by stage, against what hooks on the network itself see and what timm gives."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import timm
import torch
from timm.models import FeatureListNet
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from torchvision.models.resnet import BasicBlock, ResNet

import localgrad as lg
from localgrad.adapters.timm import feature_extractor
from localgrad.adapters.torchvision import detection_backbone
from localgrad.backbones import cifar_resnet, four_stage_resnet, mlp, vgg8b
from localgrad.methods import DGL, GNDGL, AugLocal, Backprop
from tests.conftest import changed, copy_of, tiny_resnet

IMAGES = torch.zeros(1, 3, 64, 64)


def seen_by_hooks(model: nn.Module, names: Sequence[str], x: Tensor) -> list[Tensor]:
    """The outputs of submodules in a forward pass of the whole network."""
    found: dict[str, Tensor] = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: found.update({name: out.clone()}))
        for name in names
    ]
    model.eval()
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return [found[name] for name in names]


def warmed(model: nn.Module, image: tuple[int, ...]) -> None:
    """BatchNorm statistics that are not those of a fresh network."""
    model.train()
    with torch.no_grad():
        model(torch.randn(4, *image))


@pytest.mark.parametrize(
    ("net", "names", "channels", "reduction"),
    [
        (
            lg.localize(tiny_resnet(14), AugLocal(2)), ["layer1.1", "layer2.1", "layer3.1"], [8, 16, 32], [1, 2, 4],
        ),
        (
            lg.localize(four_stage_resnet(50, 4, 0.125, (3, 64, 64)), DGL(), partition=lg.equal_blocks(2)),
            ["layer1.2", "layer2.3", "layer3.5", "layer4.2"], [32, 64, 128, 256], [4, 8, 16, 32],
        ),
        (
            # Linear layers stand behind the last map.
            lg.localize(vgg8b(4, feat_mult=0.125), Backprop()),
            ["conv1", "conv3", "conv4", "conv5"], [32, 64, 64, 64], [1, 2, 4, 8],
        ),
        (
            lg.localize(tiny_resnet(14), GNDGL(groups=2), 7),
            ["layer1.1", "layer2.1", "layer3.1"], [8, 16, 32], [1, 2, 4],
        ),
    ],
    ids=["cifar", "imagenet", "vgg", "groups"],
)  # fmt: skip
def test_maps_of_our_own_networks(
    net: lg.LocalNetwork, names: list[str], channels: list[int], reduction: list[int]
) -> None:
    image = net.backbone.image
    warmed(net, image)
    before = copy_of(net)
    made = feature_extractor(net).eval()
    info = made.feature_info
    assert (info.module_name(), info.channels(), info.reduction()) == (names, channels, reduction)
    x = torch.randn(2, *image)
    with torch.no_grad():
        maps = made(x)
    expected = seen_by_hooks(net.model, names, x)
    assert all(torch.equal(own, other) for own, other in zip(maps, expected, strict=True))
    assert [tuple(one.shape[1:]) for one in maps] == [
        (c, image[1] // r, image[2] // r) for c, r in zip(channels, reduction, strict=True)
    ]
    # The exported network alone, as localgrad.load gives one: the same maps, without the Backbone.
    plain = feature_extractor(net.export(), torch.zeros(1, *image)).eval()
    with torch.no_grad():
        assert all(torch.equal(own, other) for own, other in zip(plain(x), maps, strict=True))
    # A copy: training it leaves the network alone. Keys are the network's own, the head is gone.
    torch.stack([one.mean() for one in made.train()(x)]).sum().backward()
    assert all(p.grad is None for p in net.parameters()) and not changed(before, copy_of(net))
    keys = set(made.state_dict())
    own = {f"body.model.{name}" for name in net.model.state_dict()}
    assert keys < own and not any("head" in key for key in keys)


def small_resnet() -> ResNet:
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3)


def test_maps_of_somebody_elses_networks() -> None:
    model = small_resnet()
    warmed(model, (3, 64, 64))
    names = ["layer1", "layer2", "layer3", "layer4"]
    made, x = feature_extractor(model, IMAGES).eval(), torch.randn(2, 3, 96, 96)  # another size than the example's
    with torch.no_grad():
        maps = made(x)
    assert all(torch.equal(own, other) for own, other in zip(maps, seen_by_hooks(model, names, x), strict=True))
    assert made.feature_info.reduction() == [4, 8, 16, 32]
    assert "body.model.layer4.0.conv1.weight" in made.state_dict() and "body.model.fc.weight" not in made.state_dict()
    # Trained by local learning in place, it is the same network.
    net = lg.localize(model, DGL(max_hidden=8), 3, example=IMAGES)
    with torch.no_grad():
        again = feature_extractor(net).eval()(x)
    assert all(torch.equal(own, other) for own, other in zip(maps, again, strict=True))


@pytest.mark.parametrize(
    ("name", "cuts", "options"),
    [
        ("resnet10t", ["act1"], {}),
        ("test_convnext", ["stages.0", "stages.1", "stages.2"], {"flatten_sequential": True}),
    ],
)
def test_maps_are_timms(name: str, cuts: list[str], options: dict[str, Any]) -> None:
    """Where timm's maps lie inside blocks, ``cuts`` names them: before a max-pooling, before a norm."""
    model = timm.create_model(name, num_classes=3)
    warmed(model, (3, 64, 64))
    count = len(model.feature_info)
    theirs = FeatureListNet(copy.deepcopy(model), out_indices=tuple(range(count)), **options).eval()
    made, x = feature_extractor(model, IMAGES, cuts=cuts).eval(), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert all(torch.equal(own, other) for own, other in zip(made(x), theirs(x), strict=True))
    for of in ("channels", "reduction"):
        assert getattr(made.feature_info, of)() == getattr(theirs.feature_info, of)()
    with pytest.raises(lg.LocalgradError, match=r"feature_extractor: localize: .*nowhere"):
        feature_extractor(model, IMAGES, cuts=["nowhere"])


def test_channels_on_the_last_axis_are_shown_first() -> None:
    model = timm.create_model("swin_tiny_patch4_window7_224", depths=(1, 1), num_heads=(2, 4), embed_dim=8, img_size=56,
                              num_classes=3)  # fmt: skip
    made, x = feature_extractor(model, torch.zeros(1, 3, 56, 56)).eval(), torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        maps = made(x)
    assert [tuple(one.shape) for one in maps] == [(1, 8, 14, 14), (1, 16, 7, 7)]
    names = made.feature_info.module_name()
    assert torch.equal(maps[0].permute(0, 2, 3, 1), seen_by_hooks(model, names, x)[0])


class Before(nn.Module):
    """A block that activates its input in place, as pre-activation networks do."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(channels, channels, 3, stride, 1)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.conv(self.relu(h))
        return out


def test_a_map_is_not_overwritten_by_the_next_block() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), Before(4, 2), Before(4, 2), nn.Flatten(), nn.LazyLinear(2))
    model(torch.zeros(1, 3, 8, 8))
    made, x = feature_extractor(model, torch.zeros(1, 3, 8, 8)), torch.randn(2, 3, 8, 8)
    first, second, _ = made(x)
    assert torch.equal(first, model[0](x)) and first.min() < 0
    assert torch.equal(second, model[1](model[0](x))) and second.min() < 0


def test_which_stages() -> None:
    net = lg.localize(tiny_resnet(14), Backprop())
    made = feature_extractor(net, out_indices=(0, -2))
    assert made.feature_info.module_name() == ["layer1.1", "layer2.1"] and len(made.feature_info.info) == 3
    assert len(made(torch.randn(1, 3, 8, 8))) == 2
    assert not any("layer3" in key for key in made.state_dict())  # nothing runs that is not asked for
    for wrong in ((0, 3), (1, 0), (0, 0), (), (-4,)):
        with pytest.raises(lg.LocalgradError, match=r"There are: 0 layer1\.1, 1 layer2\.1, 2 layer3\.1"):
            feature_extractor(net, out_indices=wrong)


def test_frozen_norms_and_stages() -> None:
    net = lg.localize(tiny_resnet(14), Backprop())
    x = torch.randn(4, 3, 8, 8)
    for made, still in (
        (feature_extractor(net), set()),
        (feature_extractor(net, freeze_batchnorm=True), {"stem", "layer1", "layer2", "layer3"}),
        (feature_extractor(net, trained=1), {"stem", "layer1", "layer2"}),
        (feature_extractor(net, trained=0), {"stem", "layer1", "layer2", "layer3"}),
    ):
        before = copy_of(made.body.model)
        made.train()(x)
        moved = changed(before, copy_of(made.body.model))
        assert {name.split(".")[0] for name in moved} == {"stem", "layer1", "layer2", "layer3"} - still
    trained = {n.split(".")[2] for n, p in feature_extractor(net, trained=1).named_parameters() if p.requires_grad}
    assert trained == {"layer3"}
    frozen = feature_extractor(net, freeze_batchnorm=True)
    assert {n.split(".")[-2][:2] for n, p in frozen.named_parameters() if not p.requires_grad} == {"bn"}
    assert all(p.requires_grad for p in feature_extractor(net).parameters())
    with pytest.raises(lg.LocalgradError, match="trained must be from 0 to 3, the number of stages, got 4"):
        feature_extractor(net, trained=4)


def test_copies_and_moves() -> None:
    made = feature_extractor(small_resnet(), IMAGES).eval()
    x = torch.randn(1, 3, 64, 64)
    twin = copy.deepcopy(made).double()
    with torch.no_grad():
        maps, doubles = made(x), twin(x.double())
        for parameter in twin.parameters():
            parameter.zero_()
        assert float(twin(x.double())[-1].abs().max()) == 0  # the twin's blocks are its own
        assert all(torch.equal(a, b) for a, b in zip(made(x), maps, strict=True))
    assert all(torch.allclose(a.double(), b, atol=1e-4) for a, b in zip(maps, doubles, strict=True))


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: (lg.localize(mlp((8, 8), image=(1, 8, 8)), Backprop()), None),
         r"mlp has no feature maps \(C, H, W\): the output of 'fc0' has the shape \(8,\) per image. Take a"),
        (lambda: (VisionTransformer(64, 16, 1, 1, 8, 8), IMAGES),
         r"VisionTransformer has no feature maps \(C, H, W\): the output of 'conv_proj' has the shape \(17, 8\)"),
        (lambda: (small_resnet(), None), "ResNet is an nn.Module, so it needs an example batch to be traced with"),
        (lambda: (lg.localize(tiny_resnet(8), Backprop()), IMAGES), "resnet8 knows its images: leave example out"),
        (lambda: ("resnet50", None), "model must be a network, such as .* got str"),
        (lambda: (cifar_resnet(8), None), "model must be a network, such as .* got Backbone"),
        (lambda: (nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ConvTranspose2d(4, 4, 2, 2), nn.Flatten(),
                                nn.Linear(4 * 64 * 64, 2)), IMAGES),
         "the maps of Sequential grow again behind '0', from reduction 2 to 1 at '1'"),
    ],
    ids=["mlp", "vit", "no example", "example", "name", "backbone", "growing"],
)  # fmt: skip
def test_refused(make: Any, error: str) -> None:
    model, example = make()
    for adapter in (feature_extractor, detection_backbone):
        with pytest.raises(lg.LocalgradError, match=error) as told:
            adapter(model, example)
        assert str(told.value).startswith(adapter.__name__)


class Shifted(nn.Module):
    """A network whose top level owns parameters: one that a stage reads, and one that only the head does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.shift = nn.Parameter(torch.randn(4, 1, 1))
        self.scale = nn.Parameter(torch.randn(4))
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.second(self.first(x) + self.shift)
        out: Tensor = self.fc(h.mean((2, 3)) * self.scale)
        return out


def test_parameters_of_the_top_level_move_along() -> None:
    model, x = Shifted(), torch.randn(2, 3, 8, 8)
    made = feature_extractor(model, torch.zeros(1, 3, 8, 8))
    maps = made(x)
    assert torch.equal(maps[0], model.first(x) + model.shift)
    moved = made.double()
    with torch.no_grad():
        assert torch.allclose(moved(x.double())[1].float(), maps[1], atol=1e-5)
    assert {name for name, _ in moved.named_parameters()} >= {"body.model.shift"}
    assert all(parameter.dtype == torch.float64 for parameter in moved.parameters())
