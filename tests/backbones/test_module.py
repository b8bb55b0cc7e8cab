"""Foreign networks: wrapped in place, cut where one tensor is alive, equal to their own forward."""

import copy
import subprocess
import sys
from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import localgrad as lg
from localgrad.backbones.module import wrap
from tests.backbones.foreign import EXAMPLE, Head, Plain, chained, conv, sgd


def batch(rows: int = 4, size: int = 64) -> lg.Batch:
    generator = torch.Generator().manual_seed(0)
    return lg.Batch(x=torch.randn(rows, 3, size, size, generator=generator), y=torch.arange(rows))


class UNet(nn.Module):
    """A skip connection over every border."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.up1, self.up2 = conv(3, 4), conv(4, 4), conv(8, 4), conv(8, 4)
        self.head = Head(7)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(a)
        c = self.up1(torch.cat([b, b * 2], 1))
        d = self.up2(torch.cat([c, a], 1))
        out: Tensor = self.head(torch.cat([d, x], 1))
        return out


class Functional(nn.Module):
    """What the top level does itself: its own parameter and buffer, dropout by the training flag, sizes."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((3, 1, 1), 0.5))
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.conv1, self.conv2, self.fc = conv(3, 4), conv(4, 4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.shape[0]
        x = self.conv1(x - self.mean) * self.scale
        x = F.adaptive_avg_pool2d(self.conv2(x), 1)
        x = F.dropout(x.view(rows, -1), 0.5, training=self.training)
        out: Tensor = self.fc(x)
        return out


class SizeDependent(nn.Module):
    """Cannot be traced."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.shape[-1] > 4 else x


def test_a_step_of_a_unit_changes_its_own_parameters_only() -> None:
    model = timm.create_model("resnet50", num_classes=10)
    net = lg.localize(model, lg.methods.DGL(max_hidden=32), modules=4, example=EXAMPLE)
    loop = lg.Sequential(net, optimizer=sgd)
    units = net.unit_list()
    h, data = batch().x, batch()
    for index, (unit, update) in enumerate(zip(units, loop.updates, strict=True)):
        before = [[p.detach().clone() for p in other.parameters()] for other in units]
        h, terms = unit.step(h, data, update)
        assert terms["ce"].isfinite()
        for j, (other, values) in enumerate(zip(units, before, strict=True)):
            same = [torch.equal(p, old) for p, old in zip(other.parameters(), values, strict=True)]
            assert not all(same) if j == index else all(same)
    assert set(loop.step(batch(4, 96)).losses) == {0, 1, 2, 3}  # other sizes than the example's


def test_names_weights_and_export_stay_the_models_own() -> None:
    model = torchvision.models.resnet18(num_classes=10)
    net = lg.localize(model, lg.methods.DGL(max_hidden=32), modules=3, example=EXAMPLE)
    assert net.model is model
    assert net.backbone.num_classes == 10
    own = {f"model.{key}" for key in model.state_dict()}
    keys = set(net.state_dict())
    assert own < keys
    assert all(key.startswith("aux.") for key in keys - own)
    assert list(net.unit_list()[0].body)[1] is model.get_submodule("layer1.0")
    lg.Sequential(net, optimizer=sgd).step(batch())
    exported = net.export()
    assert type(exported) is type(model) and exported is not model
    assert all(
        torch.equal(a, b) for a, b in zip(exported.state_dict().values(), model.state_dict().values(), strict=True)
    )


def test_auxiliary_weights_are_a_function_of_the_seed() -> None:
    def auxnets(seed: int) -> list[Tensor]:
        model = torchvision.models.resnet18()
        return list(lg.localize(model, lg.methods.DGL(max_hidden=32), 2, example=EXAMPLE, seed=seed).aux.parameters())

    assert all(torch.equal(a, b) for a, b in zip(auxnets(0), auxnets(0), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(auxnets(0), auxnets(1), strict=True))


def test_modules_means_equal_macs() -> None:
    model = torchvision.models.resnet18()
    backbone = wrap(model, EXAMPLE)
    method = lg.methods.DGL(max_hidden=32)
    net = lg.localize(model, method, modules=4, example=EXAMPLE)
    expected = lg.equal_macs(4)(backbone)
    assert expected.origin == "equal_macs(4)"
    assert [unit.span for unit in net.unit_list()] == list(expected.spans)
    assert len(lg.localize(model, method, example=EXAMPLE).units) == 9
    assert len(lg.localize(model, method, partition=lg.equal_blocks(2), example=EXAMPLE).units) == 2
    assert len(lg.localize(backbone, method, modules=2).units) == 2


def test_works_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = timm.create_model("resnet50")
        net = lg.localize(model, lg.methods.DGL(max_hidden=1024), modules=4, example=torch.zeros(1, 3, 224, 224))
    assert {p.device.type for p in net.parameters()} == {"meta"}
    assert net.backbone.shapes()[-1] == (2048, 7, 7)


def test_shapes_of_other_images() -> None:
    backbone = wrap(torchvision.models.resnet18(), EXAMPLE)
    assert backbone.shapes() == backbone.shapes((3, 64, 64))
    assert backbone.shapes((3, 96, 64))[-1] == (512, 3, 2)
    with pytest.raises(lg.LocalgradError, match=r"block 'conv1' does not run on an input of shape \(4, 64, 64\)"):
        backbone.blocks[0].shape((4, 64, 64))


def test_train_and_eval_flags_are_left_as_they_are() -> None:
    model = torchvision.models.resnet18().train()
    model.layer1.eval()
    flags = [module.training for module in model.modules()]
    net = lg.localize(model, lg.methods.DGL(max_hidden=32), modules=2, example=EXAMPLE)
    assert flags == [module.training for module in model.modules()]
    assert net.training
    model = torchvision.models.resnet18().eval()
    net = lg.localize(model, lg.methods.DGL(max_hidden=32), modules=2, example=EXAMPLE)
    assert not net.training
    lg.Sequential(net, optimizer=sgd).step(batch())
    assert model.training and model.bn1.num_batches_tracked == 1


def test_the_top_levels_own_tensors_and_training_flag() -> None:
    model = Functional()
    net = lg.localize(model, lg.methods.DGL(), modules=2, example=EXAMPLE)
    assert net.backbone.block_names == ("conv1.0", "conv2.0")
    x = batch().x
    for mode in (True, False):
        net.train(mode)
        results = []
        for forward in (net, lambda x: chained(net, x)):
            torch.manual_seed(0)
            results.append(forward(x))
        assert torch.equal(*results)
        assert bool((net.unit_list()[-1].aux(torch.ones(4, 4, 8, 8)) == model.fc(torch.ones(4, 4))).all()) is not mode
    assert any(p is model.scale for p in net.unit_list()[0].parameters())
    other = copy.deepcopy(net).to(torch.float64)
    assert torch.equal(chained(other, x.double()), other(x.double()))
    assert any(p is other.model.scale for p in other.unit_list()[0].parameters())


def test_a_plain_sequential_is_not_traced() -> None:
    block = nn.Sequential(*conv(3, 4), *conv(4, 4))
    model = nn.Sequential(
        block, SizeDependent(), nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5),
    )  # fmt: skip
    net = lg.localize(model, lg.methods.DGL(), modules=2, example=EXAMPLE).eval()
    assert net.backbone.block_names == ("0", "2")
    assert net.backbone.head_name == "8"
    assert [type(m) for m in net.unit_list()[-1].aux.children()] == [nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear]
    x = batch().x
    assert torch.equal(chained(net, x), model(x))
    assert wrap(nn.Sequential(block, Head()), EXAMPLE).block_names == ("0.0", "0.3")


def test_a_submodule_that_cannot_be_traced_is_one_block() -> None:
    class Branch(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = super().forward(x) if x.shape[-1] > 4 else x  # type: ignore[no-untyped-call]
            return out

    two = [nn.Sequential(*conv(4, 4), *conv(4, 4)) for _ in range(2)]

    class Pair(nn.Sequential):
        """Two weight layers: what a repeated block has."""

    model = Plain(Branch(*(Pair(*part) for part in two)))
    backbone = wrap(model, EXAMPLE)
    assert backbone.block_names == ("conv1.0", "between", "conv2.0")
    model = Plain(nn.Sequential(*(Pair(*part) for part in two)))
    assert wrap(model, EXAMPLE).block_names == ("conv1.0", "between.0", "between.1", "conv2.0")


def test_a_stage_that_differs_in_training_is_one_block() -> None:
    class Pair(nn.Sequential):
        """A repeated block."""

    class Stage(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return out * 2 if self.training else out

    model = Plain(Stage(*(Pair(*conv(4, 4), *conv(4, 4)) for _ in range(2))))
    assert wrap(model, EXAMPLE).block_names == ("conv1.0", "between", "conv2.0")


@pytest.mark.parametrize(
    ("between", "message"),
    [
        (
            lambda x: x * 2 if x.sum() > 0 else x,
            r"the forward of Plain looks at the values of a tensor \(.*test_module.py:\d+ in <lambda>, in or behind "
            r"'conv1.2'\)\. torch says: .*take torch.where or a mask instead of `if`",
        ),
        (lambda x: x[x[:, 0, 0, 0] > 0], r"the forward of Plain looks at the values of a tensor \(.*in <lambda>"),
        (lambda x: x * sum(x.tolist()[0][0][0]), r"the forward of Plain looks at the values of a tensor \("),
        (
            lambda x: x * 2 if x.shape[2] > 4 else x,
            r"Plain cannot be traced at its top level \(.*test_module.py:\d+ in <lambda>\).*cuts=\['stem', .*"
            r"localize\(\[stem, stage1, head\], ...\).*submodule of its own",
        ),
        (lambda x: x + torch.ones(4, 1, 1), r"cannot be traced.*makes a tensor of shape \(4, 1, 1\)"),
    ],
)
def test_an_untraceable_top_level_says_where(between: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(lg.LocalgradError, match=message):
        wrap(Plain(between), EXAMPLE)


def test_a_top_level_that_differs_in_training_is_refused() -> None:
    class Noisy(Plain):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = super().forward(x * 2 if self.training else x)
            return out

    with pytest.raises(lg.LocalgradError, match=r"forward of Noisy does something else in training .*first at"):
        wrap(Noisy(nn.Identity()), EXAMPLE)


def test_skips_over_every_border_are_named() -> None:
    with pytest.raises(
        lg.LocalgradError,
        match=r"modules=3: UNet can be cut into at most 1 units, one per block \(down1\.0\)\. Take modules=1\. There "
        r"are no more borders \(.* two or more cross behind 'down1\.0': the input and 'down1\.0'; and so in 11 more",
    ):
        lg.localize(UNet(), lg.methods.DGL(), modules=3, example=EXAMPLE)


def test_more_modules_than_blocks_says_what_a_block_is() -> None:
    with pytest.raises(
        lg.LocalgradError, match=r"^modules=5: Plain .* at most 2 units, .* A block is a repeated submodule"
    ):
        lg.localize(Plain(nn.Identity()), lg.methods.DGL(), modules=5, example=EXAMPLE)


def test_parameters_shared_between_units_are_refused() -> None:
    model = Plain(nn.Identity())
    model.between = model.conv3 = conv(4, 4)
    model.conv3[0].weight = model.conv2[0].weight
    with pytest.raises(lg.LocalgradError, match=r"'conv3.0.weight' of Plain is used by the units 'between.0' and"):
        lg.localize(model, lg.methods.DGL(), modules=3, example=EXAMPLE)
    assert (
        len(lg.localize(model, lg.methods.DGL(), example=EXAMPLE, partition=lg.partition.Explicit(("conv1.0",))).units)
        == 2
    )


def test_what_the_user_gave_wrong() -> None:
    model, method = torchvision.models.resnet18(), lg.methods.DGL()
    with pytest.raises(lg.LocalgradError, match=r"ResNet is an nn.Module, so it needs an example batch"):
        lg.localize(model, method, modules=4)
    with pytest.raises(
        lg.LocalgradError,
        match=r"does not run on an example of shape \(1, 4, 64, 64\).*torch says, in or behind 'conv1'",
    ):
        lg.localize(model, method, modules=4, example=torch.zeros(1, 4, 64, 64))
    with pytest.raises(lg.LocalgradError, match=r"must be a batch, .*got shape \(3,\)"):
        lg.localize(model, method, modules=4, example=torch.zeros(3))
    with pytest.raises(lg.LocalgradError, match=r"resnet20 knows its images, \(3, 32, 32\): leave example out"):
        lg.localize(lg.backbones.resnet20(), method, modules=4, example=EXAMPLE)
    with pytest.raises(lg.LocalgradError, match=r"logits of shape \(B, classes\), got shape \(2, 4, 64, 64\)"):
        wrap(conv(3, 4), EXAMPLE)
    with pytest.raises(lg.LocalgradError, match=r"Linear has no block before its head"):
        wrap(nn.Linear(3, 4), torch.zeros(1, 3))
    with pytest.raises(lg.LocalgradError, match=r"expected a Backbone or an nn.Module, got int"):
        wrap(3, EXAMPLE)  # type: ignore[arg-type]


def test_localgrad_imports_neither_timm_nor_torchvision() -> None:
    code = "import sys, localgrad; sys.exit(bool({'timm', 'torchvision'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_of_another_dtype_than_auxiliary_networks(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(64, 10)).to(dtype)
    named = rf"'0\.weight' of Sequential is {dtype}, and .* made in torch\.float32"
    with pytest.raises(lg.LocalgradError, match=named):
        lg.localize(model, lg.methods.DGL(), 2, example=torch.zeros(2, 3, 4, 4, dtype=dtype))
