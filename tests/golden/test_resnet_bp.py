"""Parameters and MACs of the papers' CIFAR ResNets and of their 1c2f heads: exact integers."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from localgrad.auxnets import ConvFC
from localgrad.backbones import resnet32, resnet110
from localgrad.count import count_macs
from localgrad.methods import DGL
from localgrad.partition import papers
from localgrad.spec import AuxSpec, Backbone, Partition, chain

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


def in_golden_words(module: nn.Module) -> dict:
    """The columns of the golden file."""
    counts, _ = count_macs(module, (3, 32, 32))
    by_operator = {
        "conv": counts["conv"],
        "batch_norm": counts["norm"],
        "adaptive_avg_pool2d": counts["pool"],
        "linear": counts["linear"],
    }
    return {
        "params": parameters(module),
        "macs_conv_linear": counts["conv"] + counts["linear"],
        "fvcore_by_operator": by_operator,
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


GNDGL = [row.split("/")[1:3] for row in NETS if row.startswith("gndgl/") and "/K1/" not in row]


@pytest.mark.parametrize(("name", "modules"), GNDGL)
def test_gndgl_heads(name: str, modules: str) -> None:
    """GN-DGL's 1c2f, with one more auxiliary head after the last block (its table for groups)."""
    backbone = BACKBONES[name]
    partition = papers(int(modules[1:]), "gndgl")(backbone)
    found = heads(backbone, DGL(head="gndgl-1c2f", widen=2 if name.endswith("x2") else 1), partition)
    assert len(found) == int(modules[1:])
    assert sum(parameters(head.build()) for head in found) == NETS[f"gndgl/{name}/{modules}/G1"]["params_aux"]
