"""Feature maps: Grad-CAM against finite differences in float64, maps that are known, and nothing is changed."""

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from tests.backbones.foreign_kinds import vit
from tests.conftest import changed, copy_of, random_batch, tiny_resnet
from torch import Tensor, nn

from localgrad import Backbone, LocalgradError, LocalNetwork, equal_blocks, localize
from localgrad.analysis.maps import FeatureMap, channel_mean, feature_maps, grad_cam, normalised, positions
from localgrad.backbones import mlp
from localgrad.method import Method
from localgrad.methods import DGL, DGSSL, GNDGL, MLAAN, AugLocal, Backprop, PredSim
from localgrad.rng import random_states, same_states

SMALL = tiny_resnet(8)  # stem, three blocks
BATCH = random_batch(SMALL, rows=3)
X, Y = BATCH.x, BATCH.y
assert Y is not None


def trained(method: Method, units: int | None = 2, backbone: Backbone = SMALL, seed: int = 0) -> LocalNetwork:
    """Freshly initialised, with statistics of BatchNorm that are not those of the start."""
    partition = None if units is None else equal_blocks(units)
    net = localize(backbone, method, partition=partition, seed=seed)
    draw = torch.Generator().manual_seed(1)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean = torch.randn(part.num_features, generator=draw) / 4
            part.running_var = torch.rand(part.num_features, generator=draw) + 0.5
    return net


def slow_grad_cam(h: Tensor, logit: Callable[[Tensor], Tensor]) -> Tensor:
    """Written out for one image, h_CHW in float64: derivatives from differences, one feature at a time."""
    channels, high, wide = h.shape
    out = torch.zeros(high, wide, dtype=torch.float64)
    for c in range(channels):
        weight = 0.0
        for i in range(high):
            for j in range(wide):
                moved = torch.zeros_like(h)
                moved[c, i, j] = 1e-6
                weight += float(logit(h + moved) - logit(h - moved)) / 2e-6
        out += weight / (high * wide) * h[c]
    return out.clamp(min=0)


@pytest.mark.parametrize("of", ["unit", "block"])
def test_grad_cam_equals_finite_differences(of: str) -> None:
    net = trained(DGL(head="1c2f")).double().eval()
    x, y = X.double(), Y
    found = feature_maps(net, x, y, kind="grad-cam", of=of)  # type: ignore[arg-type]
    names = ["layer1.0", "layer3.0"] if of == "unit" else ["stem", "layer1.0", "layer2.0", "layer3.0"]
    assert [one.name for one in found] == names
    with torch.no_grad():
        h, maps = x[:1], list(found)
        for index, unit in enumerate(net.unit_list()):
            blocks = list(unit.body)
            for place, block in enumerate(blocks):
                h = block(h)
                if of == "unit" and place < len(blocks) - 1:
                    continue
                rest = blocks[place + 1 :]

                def logit(h_CHW: Tensor, rest: list[nn.Module] = rest, unit: nn.Module = unit) -> Tensor:
                    h_BCHW = h_CHW[None]
                    for later in rest:
                        h_BCHW = later(h_BCHW)
                    logits = net.class_logits(unit, h_BCHW)  # type: ignore[arg-type]
                    assert logits is not None
                    return logits[0, y[0]]

                one = maps.pop(0)
                expected = slow_grad_cam(h[0], logit)
                assert one.map_BHW is not None and one.unit == index and expected.max() > 0
                torch.testing.assert_close(one.map_BHW[0].double(), expected, rtol=1e-4, atol=1e-6)
    assert not maps


def test_a_network_whose_map_is_known() -> None:
    """Behind global average pooling and a linear layer Grad-CAM is CAM (Zhou et al. 2016) over the number of pixels."""
    net = trained(Backprop(), None).eval()
    (cam,) = feature_maps(net, X, Y, kind="grad-cam")
    (mean,) = feature_maps(net, X)
    head = dict(net.named_modules())["model." + net.backbone.head_name]
    (weight,) = [parameter for name, parameter in head.named_parameters() if parameter.ndim == 2]
    with torch.no_grad():
        h = X
        for block in net.unit_list()[0].body:
            h = block(h)
        expected = torch.einsum("bc,bchw->bhw", weight[Y], h).relu() / (h.shape[2] * h.shape[3])
        torch.testing.assert_close(mean.map_BHW, h.mean(1))
        assert torch.equal(cam.predicted_B, net(X).argmax(1))
    torch.testing.assert_close(cam.map_BHW, expected)
    assert torch.equal(cam.classes_B, Y) and mean.classes_B is mean.predicted_B is None
    assert cam.shape == (32, 2, 2) and (cam.name, cam.unit, cam.missing) == ("layer3.0", 0, "")


def test_the_equations() -> None:
    h = torch.tensor([[[[1.0, 2.0]], [[3.0, -4.0]]]])
    assert torch.equal(channel_mean(h), torch.tensor([[[2.0, -1.0]]]))
    gradient = torch.tensor([[[[2.0, 0.0]], [[-1.0, 1.0]]]])  # means 1 and 0
    assert torch.equal(grad_cam(h, gradient), torch.tensor([[[1.0, 2.0]]]))
    assert torch.equal(grad_cam(h, -gradient), torch.zeros(1, 1, 2))
    maps = torch.tensor([[[1.0, 3.0]], [[5.0, 5.0]], [[-2.0, -1.0]]])
    assert normalised(maps).tolist() == [[[0, 1]], [[0, 0]], [[0, 1]]]
    assert normalised(maps[:2], from_zero=True).tolist() == [[[pytest.approx(1 / 3), 1]], [[1, 1]]]


def test_positions() -> None:
    tokens = torch.arange(9.0)[None, :, None].expand(2, 9, 4)  # B, N, C
    found = positions(tokens, 1, "here")
    assert found is not None and found.shape == (2, 4, 3, 3) and found[1, 2].flatten().tolist() == list(range(9))
    found = positions(torch.cat([tokens[:, :1], tokens], 1), 1, "here", skip_tokens=1)
    assert found is not None and found[0, 0, 2].tolist() == [6, 7, 8]
    last = torch.arange(24.0).view(1, 2, 3, 4)  # B, H, W, C
    found = positions(last, 2, "here")
    assert found is not None and torch.equal(found, last.permute(0, 3, 1, 2))
    assert positions(torch.zeros(2, 5), 0, "here") is None
    with pytest.raises(LocalgradError, match=r"^here: 8 tokens form no square grid, so there is no map.$"):
        positions(torch.zeros(2, 8, 4), 1, "here", 0)


@pytest.mark.parametrize(
    "method",
    [DGL(), AugLocal(depth=2), PredSim(), MLAAN(), GNDGL(groups=2), Backprop()],
    ids=lambda m: type(m).__name__,
)
def test_every_method_and_nothing_is_changed(method: Method) -> None:
    net = localize(SMALL, method)
    net.train()
    frozen = next(part for part in net.modules() if isinstance(part, nn.BatchNorm2d)).eval()
    weight = next(net.parameters()).requires_grad_(False)
    states, before = random_states(), copy_of(net)
    modes = [part.training for part in net.modules()]
    for kind in ("channel-mean", "grad-cam"):
        units = feature_maps(net, X, Y, kind=kind)  # type: ignore[arg-type]
        assert [one.name for one in units] == [unit.name for unit in net.unit_list()]
        blocks = feature_maps(net, X, Y, kind=kind, of="block")  # type: ignore[arg-type]
        for found in (units, blocks):
            assert all(one.map_BHW is not None and one.map_BHW.shape[1:] == one.shape[1:] for one in found)
            assert all(one.map_BHW.isfinite().all() and not one.map_BHW.requires_grad for one in found)
        # The last block of a unit is where the unit ends; a classifier of its own has none.
        ends: dict[int, FeatureMap] = {one.unit: one for one in blocks}
        for one in units:
            if len(net.unit_list()[one.unit].span):
                assert torch.equal(one.map_BHW, ends[one.unit].map_BHW)
    assert same_states(states, random_states()) and not changed(before, copy_of(net))
    assert [part.training for part in net.modules()] == modes and not frozen.training
    assert all(parameter.grad is None for parameter in net.parameters()) and not weight.requires_grad


def test_recomputation_and_groups_give_the_same() -> None:
    plain, again = (
        localize(SMALL, DGL(), partition=equal_blocks(2), recompute=recompute) for recompute in (False, True)
    )
    for one, other in zip(*(feature_maps(net, X, Y, kind="grad-cam") for net in (plain, again)), strict=True):
        assert torch.equal(one.map_BHW, other.map_BHW)
    net = localize(SMALL, GNDGL(groups=2))
    names = [one.name for one in feature_maps(net, X, of="block")]
    assert {"layer1.0.g0", "layer1.0.g1"} <= set(names)


def test_predicted_class() -> None:
    net = trained(DGL())
    found = feature_maps(net, X, kind="grad-cam", target="predicted")
    for one in found:
        assert torch.equal(one.classes_B, one.predicted_B)
    again = feature_maps(net, X, found[0].predicted_B, kind="grad-cam")
    assert torch.equal(found[0].map_BHW, again[0].map_BHW)


class InPlace(nn.Module):
    """Changes its input before it reads it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, h: Tensor) -> Tensor:
        return self.layer(h.sub_(0.1).relu_())


def test_blocks_that_work_in_place() -> None:
    first, second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
    last = nn.Linear(4 * 64, 4)
    model = nn.Sequential(OrderedDict(a=first, b=InPlace(second), flat=nn.Flatten(), fc=InPlace(last)))
    net: LocalNetwork = localize(model, Backprop(), example=torch.zeros(1, 3, 8, 8))
    cams = feature_maps(net, X, Y, kind="grad-cam", of="block")
    means = feature_maps(net, X, of="block")
    assert [one.name for one in cams[:2]] == ["a", "b"]
    a = first(X).detach().requires_grad_()
    b = second((a - 0.1).relu())
    logits = last((b.flatten(1) - 0.1).relu())
    gradients = torch.autograd.grad(logits.gather(1, Y[:, None]).sum(), (a, b))
    for h, gradient, cam, mean in zip((a, b), gradients, cams, means, strict=False):
        torch.testing.assert_close(cam.map_BHW, grad_cam(h.detach(), gradient))
        torch.testing.assert_close(mean.map_BHW, h.detach().mean(1))
        assert cam.map_BHW.max() > 0


class AlwaysDraws(nn.Module):
    """Noise in evaluation mode too, and an input changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 1)

    def forward(self, h: Tensor) -> Tensor:
        return self.layer(h.mul_(2)) + torch.randn(1)


def test_a_network_that_draws_and_changes_its_input() -> None:
    model = nn.Sequential(OrderedDict(a=AlwaysDraws(), flat=nn.Flatten(), fc=nn.Linear(4 * 64, 4)))
    net: LocalNetwork = localize(model, Backprop(), example=torch.zeros(1, 3, 8, 8))
    x, states = X.clone(), random_states()
    first, again = (feature_maps(net, x, of="block")[0] for _ in range(2))
    assert torch.equal(x, X) and same_states(states, random_states())
    assert torch.equal(first.map_BHW, again.map_BHW)


def test_tokens() -> None:
    net: LocalNetwork = localize(vit(), Backprop(), example=torch.zeros(1, 3, 32, 32))
    x = torch.randn(2, 3, 32, 32)
    tokens = next(shape for shape in net.backbone.shapes() if len(shape) == 2)
    side = int((tokens[0] - 1) ** 0.5)
    assert side**2 == tokens[0] - 1
    with pytest.raises(
        LocalgradError, match=rf"maps: block '.+': {tokens[0]} tokens form no square grid.*: skip_tokens=1."
    ):
        feature_maps(net, x, of="block")
    for kind in ("channel-mean", "grad-cam"):
        found = feature_maps(net, x, torch.tensor([0, 1]), kind=kind, of="block", skip_tokens=1)  # type: ignore[arg-type]
        shown = [one for one in found if len(one.shape) == 2]
        assert shown and all(one.map_BHW is not None and one.map_BHW.shape == (2, side, side) for one in shown)


def test_units_without_classifier_say_so() -> None:
    silent = MLAAN(cascade=2, first_own=False)
    net = localize(SMALL, silent, partition=equal_blocks(4))
    assert not net.unit_list()[0].spec.objectives
    found = feature_maps(net, X, Y, kind="grad-cam")
    assert (found[0].map_BHW, found[0].missing) == (None, "no classifier")
    assert all(one.map_BHW is not None for one in found[1:])
    assert feature_maps(net, X)[0].map_BHW is not None
    with pytest.raises(LocalgradError, match=r"Grad-CAM asks for a class, and resnet8.* learnt without labels"):
        feature_maps(localize(SMALL, DGSSL(), partition=equal_blocks(2)), X, Y, kind="grad-cam")
    assert len(feature_maps(localize(SMALL, DGSSL(), partition=equal_blocks(2)), X)) == 2


def test_what_is_refused() -> None:
    net = trained(DGL())
    with pytest.raises(LocalgradError, match="Grad-CAM of the labels needs labels_B"):
        feature_maps(net, X, kind="grad-cam")
    with pytest.raises(LocalgradError, match="expected labels from 0 to 3, got 0 to 4"):
        feature_maps(net, X, torch.tensor([0, 4, 1]), kind="grad-cam")
    with pytest.raises(LocalgradError, match=r"skip_tokens=1, but no features of resnet8.* are tokens"):
        feature_maps(net, X, skip_tokens=1)
    flat = localize(mlp((8, 8), num_classes=4, image=(3, 8, 8)), Backprop())
    with pytest.raises(LocalgradError, match=r"has no channel-mean map. .*: features of shape 8 have no positions"):
        feature_maps(flat, X)
    with torch.no_grad():
        next(net.parameters()).fill_(float("nan"))
    mode = net.train().training
    with pytest.raises(LocalgradError, match=r"features of 'layer1.0' are not finite: has the network diverged"):
        feature_maps(net, X)
    assert net.training is mode and all(part.training for part in net.modules())
