"""Borders that a user names, lists of modules, and what helps where a top level cannot be traced."""

from collections.abc import Sequence

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

import localgrad as lg
from localgrad.backbones.module import wrap
from tests.backbones.foreign import EXAMPLE, Head, Plain, chained, conv, sgd

DGL = lg.methods.DGL(max_hidden=16)


def small_resnet() -> nn.Module:
    return timm.create_model(
        "resnet18", block_args={}, layers=(2, 1, 1, 1), channels=(8, 8, 16, 16), stem_width=8, num_classes=5
    )


def cut(model: nn.Module | lg.Backbone | Sequence[nn.Module], cuts: object, modules: int | None = None) -> list[str]:
    """The last block of every unit."""
    example = None if isinstance(model, lg.Backbone) else EXAMPLE
    net = lg.localize(model, DGL, modules, cuts=cuts, example=example)  # type: ignore[arg-type]
    x = torch.randn(2, *net.backbone.image)
    with torch.no_grad():
        torch.testing.assert_close(chained(net.eval(), x), net(x))
    spans = [unit.span for unit in net.unit_list()]
    return [net.backbone.block_names[span.stop - 1] if len(span) else "" for span in spans]


class Guarded(nn.Module):
    """Hands one tensor from part to part, under conditions that cannot be traced."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.stem, self.stage, self.head = conv(3, 4), nn.Sequential(conv(4, 4), conv(4, 4)), Head()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] < 4:
            raise ValueError("too small")
        x = self.stem(x)
        if self.scale != 1:
            x = x * self.scale
        out: Tensor = self.head(self.stage(x))
        return out


def test_a_unit_ends_behind_each_name_in_any_order() -> None:
    model = small_resnet()
    assert cut(model, ["layer3", "layer1.0"]) == ["layer1.0", "layer3.0", "layer4.0"]
    assert cut(model, ("layer3.0",), modules=2) == ["layer3.0", "layer4.0"]
    assert cut(model, []) == ["layer4.0"]
    net = lg.localize(model, DGL, cuts=["layer2", "layer1.0"], example=EXAMPLE)
    assert net.backbone.block_names[:3] == ("conv1", "layer1.0", "layer1.1")  # the blocks are the finer ones
    assert [unit.span for unit in net.unit_list()] == [lg.Span(0, 2), lg.Span(2, 4), lg.Span(4, 6)]
    losses = lg.Sequential(net, optimizer=sgd).step(lg.Batch(x=torch.randn(4, 3, 64, 64), y=torch.arange(4))).losses
    assert len(losses) == 3


def test_borders_finer_than_blocks() -> None:
    model = small_resnet()
    assert cut(model, ["conv1", "act1"]) == ["conv1", "bn1", "layer4.0"]
    dense = torchvision.models.DenseNet(4, (2, 2, 2, 2), num_init_features=8, num_classes=5)
    assert cut(dense, ["features.transition1.norm"]) == ["features.denseblock1", "features.denseblock4"]
    vgg = torchvision.models.VGG(torchvision.models.vgg.make_layers([4, "M", 4, 4]), num_classes=5)
    vgg.classifier = nn.Sequential(nn.Linear(4 * 49, 8), nn.ReLU(), nn.Linear(8, 5))
    # A border in what would be the head.
    assert wrap(vgg, EXAMPLE).block_names[-1] == "features.5"
    assert wrap(vgg, EXAMPLE, ["classifier.0"]).block_names[-1] == "classifier.0"


def test_behind_the_last_block_is_the_head() -> None:
    assert cut(small_resnet(), ["layer4"]) == ["layer4.0", ""]


def test_names_of_blocks_of_a_backbone() -> None:
    resnet = lg.backbones.resnet20()
    assert cut(resnet, ["layer2.0", "layer1.1"]) == ["layer1.1", "layer2.0", "layer3.2"]
    with pytest.raises(lg.LocalgradError, match=r"cuts: resnet20 has no block 'layer2.9'. Did you mean layer2.0"):
        cut(resnet, ["layer2.9"])


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        (["layr3"], r"cuts: ResNet has no submodule 'layr3'. Did you mean layer3"),
        (["layer3", "layer3"], r"cuts names 'layer3' twice"),
        (["layer3.0", "layer3"], r"'layer3.0' and 'layer3' are the same border; name one of them"),
        ("layer3", r"cuts must be a list of names, .* got 'layer3'"),
        ([3], r"cuts must be a list of names, .* got \[3\]"),
        (
            ["layer1.0.conv1"],
            r"no border behind 'layer1.0.conv1' of ResNet: exactly one tensor must cross, but 'maxpool' and "
            r"'layer1.0.conv1' do. The nearest borders lie behind 'maxpool' and 'layer1.0'\.",
        ),
        (["fc"], r"no border behind 'fc' of ResNet: it gives the logits"),
    ],
)
def test_what_is_no_cut(cuts: object, message: str) -> None:
    with pytest.raises(lg.LocalgradError, match=message):
        cut(small_resnet(), cuts)


def test_what_is_called_never_or_often_names_no_border() -> None:
    model = Plain(nn.Identity())
    model.extra = nn.ReLU()
    with pytest.raises(lg.LocalgradError, match=r"no border behind 'extra' of Plain: forward does not call it"):
        cut(model, ["extra"])
    model.between = model.conv2
    with pytest.raises(lg.LocalgradError, match=r"no border behind 'conv2' of Plain: it is called several times"):
        cut(model, ["conv2"])


def test_contradictions() -> None:
    model = small_resnet()
    with pytest.raises(lg.LocalgradError, match=r"modules=5 contradicts .* 2 spans: .*\(cuts\(layer2\)\)"):
        cut(model, ["layer2"], modules=5)
    with pytest.raises(lg.LocalgradError, match=r"cuts and partition both say where to cut"):
        lg.localize(model, DGL, cuts=["layer2"], partition=lg.equal_blocks(2), example=EXAMPLE)


def test_a_block_that_cannot_be_traced_says_so() -> None:
    class Branching(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = super().forward(x) if x.shape[-1] > 4 else x  # type: ignore[no-untyped-call]
            return out

    with pytest.raises(
        lg.LocalgradError,
        match=r"no border behind 'between.0' of Plain: 'between' stays whole: it cannot be traced \(.*test_cuts.py:\d+",
    ):
        cut(Plain(Branching(conv(4, 4), conv(4, 4))), ["between.0"])


def test_names_help_where_the_top_level_only_hands_on() -> None:
    with pytest.raises(lg.LocalgradError, match=r"Guarded cannot be traced at its top level \(.*test_cuts.py:\d+ in"):
        lg.localize(Guarded(), DGL, modules=2, example=EXAMPLE)
    assert cut(Guarded(), ["stem"]) == ["stem", "stage"]
    assert cut(Guarded(), ["stage.0", "stem.0"]) == ["stem.0", "stage.0", "stage.1"]


def test_names_do_not_help_where_it_computes_something_itself() -> None:
    with pytest.raises(
        lg.LocalgradError,
        match=r"Guarded cannot be traced .*only handed one tensor .* but 'stage' does not read what 'stem' returns as "
        r"it is\. Give a list of modules",
    ):
        cut(Guarded(scale=2.0), ["stem"])


def test_what_changes_in_place_is_seen() -> None:
    class InPlace(Guarded):
        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            if x.shape[-1] > 4:
                x *= 2
            out: Tensor = self.head(self.stage(x))
            return out

    with pytest.raises(lg.LocalgradError, match=r"but 'stage' does not read what 'stem' returns as it is"):
        cut(InPlace(), ["stem"])


def test_another_chain_in_training_is_seen() -> None:
    class Switching(Guarded):
        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            if x.shape[-1] > 4 and self.training:
                x = self.stage(x)
            out: Tensor = self.head(x)
            return out

    with pytest.raises(lg.LocalgradError, match=r"in training other submodules are called than in evaluation"):
        cut(Switching(), ["stem"])


def test_a_list_of_modules_is_not_traced() -> None:
    parts = Guarded(scale=2.0)
    assert cut([parts.stem, parts.stage, parts.head], None) == ["0", "1"]
    assert cut((parts.stem, parts.stage, parts.head), ["0"]) == ["0", "1"]
    assert cut([parts.stem, parts.stage, parts.head], ["1.0"]) == ["1.0.0", "1.1.0"]
    net = lg.localize([parts.stem, parts.stage, parts.head], DGL, example=EXAMPLE)
    assert type(net.model) is nn.Sequential and net.model[0] is parts.stem
    with pytest.raises(lg.LocalgradError, match=r"a list must hold the modules .* got int at index 1"):
        lg.localize([parts.stem, 3], DGL, example=EXAMPLE)  # type: ignore[list-item]
    with pytest.raises(lg.LocalgradError, match=r"a list needs at least two modules, got 1"):
        lg.localize([parts.stem], DGL, example=EXAMPLE)
