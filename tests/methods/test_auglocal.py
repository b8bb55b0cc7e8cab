"""AugLocal: selections, tails, heads, and what it refuses. The released code's numbers are in golden/."""

import pytest
import torch

from localgrad import Backbone, LocalgradError, Partition, Sequential, Span, localize
from localgrad.auxnets import Decoder, FlatMLP, Truncated
from localgrad.backbones import resnet32, resnet110
from localgrad.backbones.resnet import BasicBlock
from localgrad.blocks import ConvBNReLU
from localgrad.count import count_macs
from localgrad.methods import AugLocal, Lambdas
from localgrad.methods.auglocal import Selection
from localgrad.methods.reconstruction import Reconstruction
from localgrad.partition import papers

from ..conftest import random_batch, sgd, tiny_resnet


def auxnets(method: AugLocal, modules: int = 16) -> list[Truncated]:
    backbone = resnet32()
    units = method.units(backbone, method.cut(backbone, modules)(backbone))
    return [unit.objectives[0].aux for unit in units[:-1]]


def test_sequential_takes_the_next_layers() -> None:
    aux = auxnets(AugLocal(depth=4, tau=0, selection="sequential"))
    assert aux[0].blocks == (BasicBlock(16, 16),) * 3
    assert aux[4].blocks == (BasicBlock(16, 16), BasicBlock(16, 32, 2), BasicBlock(32, 32))
    assert aux[10].blocks == (BasicBlock(32, 64, 2), BasicBlock(64, 64), BasicBlock(64, 64))


def test_repetitive_repeats_the_units_own_layer() -> None:
    aux = auxnets(AugLocal(depth=4, tau=0, selection="repetitive"))
    assert aux[0].blocks == (ConvBNReLU(16, 16),) * 3
    assert aux[1].blocks == (BasicBlock(16, 16),) * 3
    assert aux[6].blocks == (BasicBlock(32, 32),) * 3


@pytest.mark.parametrize(("selection", "kernel"), [("conv1x1", 1), ("conv3x3", 3)])
def test_convolutions_cost_what_uniform_costs(selection: Selection, kernel: int) -> None:
    """As deep as uniform's, and as wide as brings the MACs closest: one channel more or less is farther away."""
    backbone = resnet32()
    for depth in (2, 4):
        plain = auxnets(AugLocal(depth, tau=0, selection=selection))
        for layer, (conv, uniform) in enumerate(zip(plain, auxnets(AugLocal(depth, tau=0)), strict=True)):
            shape = backbone.shapes()[layer]
            assert len(conv.blocks) == len(uniform.blocks) == depth - 1
            assert {(block.kernel, block.stride) for block in conv.blocks} == {(kernel, 1)}
            counts, _ = count_macs(uniform.build(), shape)
            target, width = counts["conv"] + counts["linear"], conv.blocks[0].out_channels

            def macs(width: int, shape: tuple[int, ...] = shape, layers: int = depth - 1) -> int:
                c, h, w = shape
                return h * w * kernel**2 * (c * width + (layers - 1) * width**2) + width * 10

            counts, _ = count_macs(conv.build(), shape)
            assert counts["conv"] + counts["linear"] == macs(width)
            assert abs(macs(width) - target) == min(abs(macs(width + i) - target) for i in (-1, 0, 1))


@pytest.mark.parametrize("selection", ["uniform", "sequential", "conv1x1", "conv3x3"])
def test_strict_tail_takes_what_is_left(selection: Selection) -> None:
    lengths = [len(aux.blocks) for aux in auxnets(AugLocal(depth=4, tau=0, selection=selection, tail="strict"))]
    assert lengths == [3] * 13 + [2, 1]


def test_repetitive_with_stride_halves_where_uniform_does() -> None:
    """Uniform goes from 16 to 32 and 64 channels and strides twice, or once, or never; the own layer does so too."""
    aux = auxnets(AugLocal(depth=6, tau=0, selection="repetitive-strided"))
    assert aux[0].blocks == tuple(ConvBNReLU(16, 16, stride=stride) for stride in (1, 2, 1, 2, 1))
    assert aux[1].blocks == tuple(BasicBlock(16, 16, stride) for stride in (1, 2, 1, 2, 1))
    assert aux[6].blocks == tuple(BasicBlock(32, 32, stride) for stride in (1, 1, 2, 1, 1))


def test_repetitive_convolutions_keep_the_channels() -> None:
    aux = auxnets(AugLocal(depth=4, tau=0, selection="repetitive-conv3x3"))
    assert aux[1].blocks == (ConvBNReLU(16, 16),) * 3
    assert aux[11].blocks == (ConvBNReLU(64, 64),) * 3


def test_a_rule_per_stage() -> None:
    """Table 10, row 4: stage 1 repetitive with stride, stage 2 repetitive, stage 3 uniform; the stem is of stage 1."""
    rules: tuple[Selection, ...] = ("repetitive-strided", "repetitive", "uniform")
    mixed = auxnets(AugLocal(depth=4, selection=rules, tail="strict"))
    plain = [auxnets(AugLocal(depth=4, selection=rule, tail="strict")) for rule in rules]
    assert mixed == [*plain[0][:6], *plain[1][6:11], *plain[2][11:]]
    assert mixed[6] != plain[0][6]
    with pytest.raises(
        LocalgradError, match=r"selection has 2 words, resnet32 has 3 stages of equal channels\. Give one"
    ):
        auxnets(AugLocal(selection=("uniform", "repetitive")))


def test_imagenet_vgg13_classifier() -> None:
    aux = auxnets(AugLocal(depth=3, classifier="flat-mlp"))
    assert {net.head for net in aux} == {FlatMLP(10)}
    assert [net.blocks for net in aux] == [net.blocks for net in auxnets(AugLocal(depth=3))]
    losses = Sequential(localize(tiny_resnet(), AugLocal(3, classifier="flat-mlp"), 7), sgd).step(
        random_batch(tiny_resnet())
    )
    assert all(value > 0 for terms in losses.losses.values() for value in terms.values())


def test_reconstruction_leaves_the_task_as_it_is() -> None:
    """Table 13: InfoPro's decoder beside the same auxiliary network, weights from the first to the last local unit."""
    lambdas = Lambdas(first=(2, 0.5), last=(0, 1))
    method = AugLocal(depth=3, reconstruction=Reconstruction(lambdas, widen=2))
    backbone = resnet32()
    partition = papers(16)(backbone)
    units, plain = method.units(backbone, partition), AugLocal(depth=3).units(backbone, partition)
    assert method.needs == {"y", "image"}
    for unit, other in zip(units[:-1], plain[:-1], strict=True):
        task, recon = unit.objectives
        assert task.aux == other.objectives[0].aux
        assert recon.aux == Decoder(backbone.shapes()[unit.span.stop - 1][0], (3, 32, 32), widen=2)
        assert recon.needs == {"image"}
    assert units[-1] == plain[-1]
    weights = [tuple(part.weight for part in unit.objectives) for unit in units[:-1]]
    assert (weights[0], weights[-1]) == ((0.5, 2), (1, 0))
    assert len(units) == 14


@pytest.mark.parametrize(("backbone", "modules", "last"), [(resnet32(), 16, (0.5, 0.2)), (resnet110(), 55, (1, 0.5))])
def test_reconstruction_takes_infopros_schedule(backbone: Backbone, modules: int, last: tuple[float, float]) -> None:
    *local, _ = AugLocal(depth=2, reconstruction=Reconstruction()).units(backbone, papers(modules)(backbone))
    assert tuple(part.weight for part in local[-1].objectives) == pytest.approx(last, rel=1e-12)
    assert local[0].objectives[1].weight == 5


def test_reconstruction_trains_and_says_what_it_misses() -> None:
    backbone = tiny_resnet()
    lambdas = Lambdas(first=(2, 0.5), last=(0.5, 1))
    net = localize(backbone, AugLocal(depth=3, reconstruction=Reconstruction(lambdas)), 7)
    loop, batch = Sequential(net, sgd), random_batch(backbone)
    losses = [loop.step(batch).losses for _ in range(10)]
    assert losses[0][0].keys() == {"task.ce", "reconstruction.bce"}
    assert all(losses[-1][unit][name] < losses[0][unit][name] for unit in losses[0] for name in losses[0][unit])
    assert localize(backbone, AugLocal(depth=3, reconstruction=Reconstruction()), 1).needs == {"y"}
    with pytest.raises(
        LocalgradError, match=r"no lambda schedule is published .* K=7, .* source='auglocal'\. Give one"
    ):
        localize(backbone, AugLocal(depth=3, reconstruction=Reconstruction()), 7)


@pytest.mark.parametrize(
    "selection",
    ["uniform", "sequential", "repetitive", "conv1x1", "conv3x3", "repetitive-strided", "repetitive-conv3x3"],
)
@pytest.mark.parametrize("image", [(1, 8, 8), (3, 7, 12)])
def test_every_selection_trains(selection: Selection, image: tuple[int, int, int]) -> None:
    """Also with a classifier of its own, behind which no layer is left to copy."""
    backbone = tiny_resnet(image=image)
    spans = Partition((Span(0, 2), Span(2, 7), Span(7, 7)))
    for net in (
        localize(backbone, AugLocal(3, selection=selection), 7),
        localize(backbone, AugLocal(3, selection=selection, tail="strict"), partition=spans),
    ):
        losses = Sequential(net, sgd).step(random_batch(backbone)).losses
        assert all(torch.tensor(list(terms.values())).isfinite().all() for terms in losses.values())


@pytest.mark.parametrize(
    ("head_bn", "expected"),
    [("auto", [False, False, False, True, True]), (True, [True] * 5), (False, [False] * 5)],
)
def test_head_bn(head_bn: bool | str, expected: list[bool]) -> None:
    method = AugLocal(depth=4, tau=1.0, tail="strict", head_bn=head_bn)
    backbone = tiny_resnet()
    units = method.units(backbone, method.cut(backbone, 7)(backbone))
    assert [unit.objectives[0].aux.head.batch_norm for unit in units[:-1]][-5:] == expected


@pytest.mark.parametrize(
    ("depth", "tail", "modules", "units"),
    [(2, "joint", 7, 6), (6, "joint", 7, 2), (6, "strict", 7, 7), (6, "joint", 1, 1), (9, "strict", 7, 7)],
)
def test_number_of_units(depth: int, tail: str, modules: int, units: int) -> None:
    net = localize(tiny_resnet(), AugLocal(depth, tail=tail), modules)
    assert len(net.units) == units
    assert net.units[-1].span.stop == 7


def test_joint_tail_merges_modules_not_blocks() -> None:
    net = localize(resnet32(), AugLocal(depth=3), 8)
    assert [len(unit.span) for unit in net.units] == [2, 2, 2, 2, 2, 6]
    assert AugLocal(depth=3).join_tail(Partition(tuple(Span(i, i + 1) for i in range(4)), "mine")).origin == (
        "mine, joint tail of 3"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"depth": 1},
            r"depth counts the classifier and must be a whole number of at least 2 \(one layer and it\), got 1\.",
        ),
        (
            {"depth": 6.5},
            r"depth counts the classifier and must be a whole number of at least 2 \(one layer and it\), got 6\.5\.",
        ),
        ({"tau": 1.5}, r"tau must be between 0 \(no pyramid\) and 1, got 1\.5\."),
        ({"tau": "0.5"}, r"tau must be between 0 .* got '0\.5'"),
        ({"tau": -0.1}, r"tau must be between 0 .* got -0\.1"),
        ({"tau": float("nan")}, r"tau must be between 0 .* got nan"),
        ({"selection": "unifrom"}, r"selection 'unifrom' is unknown\. Did you mean uniform\?"),
        ({"selection": ("uniform", "unifrom")}, r"selection 'unifrom' is unknown\. Did you mean uniform\?"),
        ({"selection": ()}, r"selection must be a word or a tuple of words, one per stage, got \(\)"),
        ({"selection": ["uniform"]}, r"selection must be a word or a tuple of words, one per stage, got \['uniform'\]"),
        ({"classifier": "mlp"}, r"classifier 'mlp' is unknown\. Did you mean flat-mlp\?"),
        ({"reconstruction": True}, r"reconstruction must be Reconstruction\(lambdas=\.\.\.\) or None, got True\."),
        ({"tail": "zzz"}, r"tail 'zzz' is unknown\. There are: joint, strict\."),
        ({"head_bn": "yes"}, r"head_bn must be True, False or 'auto', got 'yes'\."),
    ],
)
def test_what_cannot_be(arguments: dict, text: str) -> None:
    with pytest.raises(LocalgradError, match="AugLocal: " + text):
        AugLocal(**arguments)


@pytest.mark.parametrize("depth", [7, 9])
def test_a_tail_that_swallows_every_module(depth: int) -> None:
    text = (
        rf"AugLocal\(depth={depth}, tail='joint'\) trains the last {depth} modules jointly, so modules=7 leaves no "
        r"local unit\. Take depth below 7, more modules, tail='strict', or modules=1 for backpropagation\."
    )
    with pytest.raises(LocalgradError, match=text):
        localize(tiny_resnet(), AugLocal(depth))
