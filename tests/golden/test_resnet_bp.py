"""Parameters and MACs of the papers' networks and of their auxiliary heads: exact integers."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from localgrad import localize
from localgrad.auxnets import ConvFC, MlpSR
from localgrad.backbones import (
    cifar_resnet,
    four_stage_resnet,
    imagenet_resnet34,
    imagenet_vgg13,
    predsim_vgg,
    resnet32,
    resnet110,
    vgg6a,
    vgg6b,
    vgg8b,
)
from localgrad.count import count_macs
from localgrad.methods import DGL, GNDGL, PredSim
from localgrad.partition import papers
from localgrad.recipes import cifar10
from localgrad.spec import AuxSpec, Backbone, Partition, Shape, chain

from .recipe import golden

NETS = golden("resnet_bp")["nets"]
BACKBONES = {"resnet32": resnet32(), "resnet110": resnet110(), "resnet32x2": resnet32(width=2)}


def built(backbone: Backbone, head: AuxSpec | None = None) -> nn.Module:
    """The plain network on the meta device, with another head if given."""
    with torch.device("meta"):
        parts = [block.build() for block in (*backbone.blocks, head or backbone.head)]
    return chain((*backbone.block_names, backbone.head_name), parts)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def in_golden_words(module: nn.Module, image: Shape = (3, 32, 32)) -> dict:
    """The columns of the golden file."""
    counts, _ = count_macs(module, image)
    by_operator = {
        "conv": counts["conv"],
        "batch_norm": counts["norm"],
        "adaptive_avg_pool2d": counts["pool"],
        "linear": counts["linear"],
    }
    return {
        "params": parameters(module),
        "macs_conv_linear": counts["conv"] + counts["linear"],
        "fvcore_by_operator": {name: count for name, count in by_operator.items() if count},
        "fvcore_total": sum(by_operator.values()),
        "ptflops_0_6_9": counts.total(),
    }


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("auglocal/resnet32/classes10", "resnet32"),
        ("auglocal/resnet110/classes10", "resnet110"),
        ("infopro/resnet32", "resnet32"),
    ],
)
def test_networks(row: str, name: str) -> None:
    assert in_golden_words(built(BACKBONES[name])) == NETS[row]


OTHERS = {
    "auglocal/exp_imagenet/resnet34/224": imagenet_resnet34(),
    "auglocal/exp_imagenet/vgg13/224": imagenet_vgg13(),
    "predsim/vgg6b": vgg6b(),
    "predsim/vgg6a_x3": vgg6a(feat_mult=3),
}


@pytest.mark.parametrize("row", OTHERS)
def test_deep_networks_and_vggs(row: str) -> None:
    expected = {key: value for key, value in NETS[row].items() if key != "cfg"}
    assert in_golden_words(built(OTHERS[row]), OTHERS[row].image) == expected


@pytest.mark.parametrize("row", [row for row in NETS if row.startswith("predsim/") and "cfg" in NETS[row]])
def test_predsim_layouts(row: str) -> None:
    expected = dict(NETS[row])
    assert in_golden_words(built(predsim_vgg(expected.pop("cfg")))) == expected


def test_predsim_resnet34() -> None:
    """Its global average pooling is a fixed-size one, which neither counter counts."""
    ours = in_golden_words(built(four_stage_resnet(34, 10, 1, (3, 32, 32), "cifar")))
    pool = ours["fvcore_by_operator"].pop("adaptive_avg_pool2d")
    assert pool == 512 * 4 * 4
    totals = {key: ours[key] - pool for key in ("fvcore_total", "ptflops_0_6_9")}
    assert {**ours, **totals} == NETS["predsim/resnet34"]


def test_dgl_study_network() -> None:
    """Six convolutions with an MLP-SR each; the last one's is the network's own head: no 1x1s, two hidden layers.

    The released head holds a BatchNorm2d more, 2c parameters, which its forward pass leaves out: no MACs. Its network
    pools the last maps to 2x2, and these once more, which changes nothing.
    """
    expected, backbone = NETS["dgl/auxiliary_nets_study/depth6/mlp-sr"], cifar10.dgl_conv6().backbone
    shapes = backbone.shapes()
    assert backbone.head == MlpSR(512, shapes[-1][1:], 10, convs=0, hidden=2)
    heads = [*(DGL().auxnet(backbone, shape) for shape in shapes[:-1]), backbone.head]
    with torch.device("meta"):
        blocks, nets = [block.build() for block in backbone.blocks], [head.build() for head in heads]
    assert [parameters(block) for block in blocks] == expected["params_blocks"]
    unused = [2 * shape[0] for shape in shapes]
    assert [parameters(net) + bn for net, bn in zip(nets, unused, strict=True)] == expected["params_aux"]
    assert sum(map(parameters, (*blocks, *nets))) + sum(unused) == expected["params_total"]

    def macs(module: nn.Module, shape: Shape) -> int:
        counts, _ = count_macs(module, shape)
        return counts["conv"] + counts["linear"]

    inputs = [backbone.image, *shapes[:-1]]
    bodies = [macs(block, shape) for block, shape in zip(blocks, inputs, strict=True)]
    auxiliary = [macs(net, shape) for net, shape in zip(nets, shapes, strict=True)]
    assert [list(pair) for pair in zip(bodies, auxiliary, strict=True)] == expected["macs_block_aux"]
    theirs, ours = expected["net_with_last_aux"], in_golden_words(built(backbone))
    again = 512 * 2 * 2
    ours["fvcore_by_operator"]["adaptive_avg_pool2d"] += again
    ours["fvcore_total"] += again
    assert {key: ours[key] for key in theirs} == theirs


@pytest.mark.parametrize(("layers", "first"), [(20, 5), (110, 27)])
def test_dgl_resnets_of_its_comparison(layers: int, first: int) -> None:
    """They are cut behind ``first`` blocks, stem included, and have no convolutions in their shortcuts (option A)."""
    expected, backbone = NETS[f"dgl/ddg_comparison/resnet{layers}/K2"], cifar_resnet(layers, shortcut="A")
    with torch.device("meta"):
        own = [parameters(block.build()) for block in backbone.blocks]
    assert [sum(own[:first]), sum(own[first:])] == expected["params_blocks"]
    unused = 2 * 32
    assert parameters(DGL().auxnet(backbone, (32, 16, 16)).build()) + unused == expected["params_aux0"]
    assert parameters(backbone.head.build()) == expected["params_fc"]
    assert sum(own) + expected["params_aux0"] + expected["params_fc"] == expected["params_total"]


def test_dgl_resnet110_recipe_is_that_of_its_comparison() -> None:
    expected = NETS["dgl/ddg_comparison/resnet110/K2"]
    with torch.device("meta"):
        net = cifar10.dgl_resnet110_option_a().network()
    first, last = net.unit_list()
    assert [parameters(first.body), parameters(last.body)] == expected["params_blocks"]
    assert parameters(net) == expected["params_total"] - 2 * 32


@pytest.mark.parametrize("name", ["resnet32", "resnet32x2"])
def test_gndgl_networks_with_either_head(name: str) -> None:
    expected, backbone = NETS[f"gndgl/{name}/K1/G1"], BACKBONES[name]
    widen = 2 if name.endswith("x2") else 1
    head = DGL(head="gndgl-1c2f", widen=widen).auxnet(backbone, backbone.shapes()[-1])
    plain, strided = built(backbone), built(backbone, head)
    assert in_golden_words(plain) == expected["avgpool_fc_variant"]
    assert in_golden_words(strided) == expected["strided_head_variant"]
    assert parameters(head.build()) == expected["params_strided_head"]
    assert parameters(plain) - parameters(plain.get_submodule("head")) == expected["params_stem_blocks"]
    assert parameters(plain.get_submodule("head")) == expected["params_unused_fc"]


@pytest.mark.parametrize(("row", "name"), [("mlaan/resnet32/K15", "resnet32"), ("mlaan/resnet110/K54", "resnet110")])
def test_mlaan_main_networks(row: str, name: str) -> None:
    assert parameters(built(BACKBONES[name])) == NETS[row]["params_main"]


def heads(backbone: Backbone, method: DGL, partition: Partition) -> list[ConvFC]:
    """The auxiliary heads of all units but the last."""
    found = [unit.objectives[0].aux for unit in method.units(backbone, partition)[:-1]]
    assert all(isinstance(head, ConvFC) for head in found)
    return found


INFOPRO = [row.split("/")[1:] for row in NETS if row.startswith("infopro/") and "/K" in row]


@pytest.mark.parametrize(("name", "modules", "loss"), INFOPRO)
def test_infopro_heads(name: str, modules: str, loss: str) -> None:
    """1c2f to 10 classes for cross-entropy, to 128 features for contrast; the count includes InfoPro's decoders.

    A decoder is conv3x3 c -> 12, BN, conv3x3 12 -> 3, both convolutions with bias: 108 c + 363 parameters.
    """
    backbone = BACKBONES[name]
    found = heads(backbone, DGL(head="1c2f"), papers(int(modules[1:]))(backbone))
    outputs = 128 if loss == "contrast" else 10
    aux = sum(parameters(replace(head, num_classes=outputs).build()) for head in found)
    decoders = sum(108 * head.in_channels + 363 for head in found)
    expected = NETS[f"infopro/{name}/{modules}/{loss}"]["params_with_aux"]
    assert parameters(built(backbone)) + aux + decoders == expected


GNDGL_HEADS = [row.split("/")[1:3] for row in NETS if row.startswith("gndgl/") and row.endswith("/G1")]


@pytest.mark.parametrize(("name", "modules"), [row for row in GNDGL_HEADS if row[1] != "K1"])
def test_gndgl_heads(name: str, modules: str) -> None:
    """GN-DGL's 1c2f, with one more auxiliary head after the last block (its table for groups)."""
    backbone = BACKBONES[name]
    partition = papers(int(modules[1:]), "gndgl")(backbone)
    found = heads(backbone, DGL(head="gndgl-1c2f", widen=2 if name.endswith("x2") else 1), partition)
    assert len(found) == int(modules[1:])
    assert sum(parameters(head.build()) for head in found) == NETS[f"gndgl/{name}/{modules}/G1"]["params_aux"]


JOINT = "avgpool_fc_variant"
GROUPED = [
    row.split("/")[1:]
    for row in NETS
    if row.startswith("gndgl/") and not row.endswith("/G1") and JOINT not in NETS[row]
]


@pytest.mark.parametrize("name", ["resnet32", "resnet32x2"])
def test_gndgl_one_module_of_groups_with_either_head(name: str) -> None:
    expected = NETS[f"gndgl/{name}/K1/G4"]
    with torch.device("meta"):
        nets = [localize(BACKBONES[name], GNDGL(4, final_head=head), 1) for head in ("linear", "1c2f")]
        strided = nets[1].model.get_submodule(nets[1].backbone.head_name)
    assert in_golden_words(nets[0].model) == expected[JOINT]
    assert in_golden_words(nets[1].model) == expected["strided_head_variant"]
    assert parameters(strided) == expected["params_strided_head"]
    assert parameters(nets[1].model) - parameters(strided) == expected["params_stem_blocks"]


@pytest.mark.parametrize(("name", "modules", "groups"), GROUPED)
def test_gndgl_networks_of_groups(name: str, modules: str, groups: str) -> None:
    """Blocks made by groups, and their auxiliary heads, which see the channels of all groups."""
    expected = NETS[f"gndgl/{name}/{modules}/{groups}"]
    with torch.device("meta"):
        net = localize(BACKBONES[name], GNDGL(int(groups[1:])), int(modules[1:]))
    head = parameters(net.model.get_submodule(net.backbone.head_name))
    assert parameters(net.model) - head == expected["params_stem_blocks"]
    assert parameters(net.aux) == expected["params_aux"]


@pytest.mark.parametrize("name", ["vgg8b", "vgg19"])
def test_predsim_networks_with_their_local_classifiers(name: str) -> None:
    expected = NETS[f"predsim/{name}/predsim_local"]
    backbone = vgg8b() if name == "vgg8b" else predsim_vgg(NETS[f"predsim/{name}"]["cfg"])
    with torch.device("meta"):
        net = localize(backbone, PredSim())
    assert parameters(net) == expected["params_total"]
    assert parameters(net.model.get_submodule("head")) == expected["params_influenced_by_global_loss"]
