"""Which layers AugLocal's auxiliary networks copy and what they cost, against the released code: exact integers."""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import nn

from localgrad.auxnets import Truncated, uniform
from localgrad.backbones import resnet32, resnet110
from localgrad.count import count_macs
from localgrad.method import Method
from localgrad.methods import DGL, AugLocal
from localgrad.objective import UnitSpec
from localgrad.spec import AuxSpec, Backbone, Block, Shape

from .recipe import golden

GOLDEN = golden("auglocal_selection")


@cache
def cost(spec: AuxSpec | Block, shape: Shape) -> tuple[int, int, int]:
    """Parameters, conv + linear MACs, and these with batch-norm and adaptive pooling."""
    with torch.device("meta"):
        module = spec.build()
    counts, _ = count_macs(module, shape)
    macs = counts["conv"] + counts["linear"]
    return sum(p.numel() for p in module.parameters()), macs, macs + counts["norm"] + counts["pool"]


def units_of(method: Method, backbone: Backbone, modules: int | None = None) -> tuple[UnitSpec, ...]:
    """The units as data; nothing is built."""
    return method.units(backbone, method.cut(backbone, modules)(backbone))


def total(costs: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
    """Sums by column."""
    return tuple(map(sum, zip((0, 0, 0), *costs, strict=True)))


def body_costs(backbone: Backbone) -> list[tuple[int, int, int]]:
    """Cost of every block, and last of the head."""
    shapes = (backbone.image, *backbone.shapes())
    return [cost(block, shape) for block, shape in zip((*backbone.blocks, backbone.head), shapes, strict=True)]


def aux_costs(backbone: Backbone, units: Sequence[UnitSpec]) -> list[tuple[int, int, int]]:
    """Cost of the auxiliary network of every unit but the last."""
    return [cost(unit.objectives[0].aux, backbone.shapes()[unit.span.stop - 1]) for unit in units[:-1]]


def case_name(case: dict) -> str:
    return f"D{case['aux_net_depth']}-tau{case['pyramid_coeff']}"


def test_blocks_of_resnet32() -> None:
    assert [list(row) for row in body_costs(resnet32())[:-1]] == GOLDEN["resnet32_layers"]


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=case_name)
def test_selection_and_cost(case: dict) -> None:
    backbone = resnet32()
    units = units_of(AugLocal(depth=case["aux_net_depth"] + 1, tau=case["pyramid_coeff"] or 0), backbone, 16)
    assert len(units) == case["num_local_modules"]
    assert list(range(units[-1].span.start, units[-1].span.stop)) == case["last_module_layers"]

    costs, main = aux_costs(backbone, units), body_costs(backbone)
    rows = []
    for unit, numbers in zip(units[:-1], costs, strict=True):
        aux, layer = unit.objectives[0].aux, unit.span.stop - 1
        assert isinstance(aux, Truncated)
        depth = len(aux.blocks)
        blocks = [
            [index, block.in_channels, block.out_channels, block.stride]
            for index, block in zip(uniform(layer, 16, depth), aux.blocks, strict=True)
        ]
        rows.append([layer, depth, aux.head.batch_norm, blocks, *numbers])
    assert rows == case["aux"]

    (aux_params, aux_macs, aux_full), (params, macs, full) = total(costs), total(main)
    assert aux_params == case["total_aux_params"]
    assert aux_macs == case["total_aux_macs"]
    assert params + aux_params == case["total_params_with_aux"]
    assert macs + aux_macs == case["total_train_forward_macs"]
    assert full + aux_full == case["total_train_forward_fvcore"]
    assert total(main[units[-1].span.start :])[1] == case["last_module_macs"]


def test_bn_only_where_the_golden_cases_have_one() -> None:
    """The BatchNorm1d of a short auxiliary network is built, not only declared."""
    for unit in units_of(AugLocal(depth=6, tau=1.0), resnet32(), 16)[:-1]:
        aux = unit.objectives[0].aux
        norms = [part for part in aux.build().modules() if isinstance(part, nn.BatchNorm1d)]
        assert len(norms) == (len(aux.blocks) <= 1)


@pytest.mark.parametrize(("rule", "head"), [("DGL", "auglocal"), ("InfoPro", "1c2f")])
def test_heads_by_width(rule: str, head: str) -> None:
    backbone, method = resnet32(), DGL(head=head)
    for width, size in ((16, 32), (32, 16), (64, 8)):
        expected = GOLDEN["heads"][rule]["per_width"][str(width)]
        shape = (width, size, size)
        assert cost(method.auxnet(backbone, shape), shape) == tuple(expected.values()), width


def test_dgl_totals() -> None:
    backbone, expected = resnet32(), GOLDEN["heads"]["DGL"]
    aux_params, aux_macs, aux_full = total(aux_costs(backbone, units_of(DGL(head="auglocal"), backbone, 16)))
    _, macs, full = total(body_costs(backbone))
    assert aux_params == expected["total_aux_params"]
    assert aux_macs == expected["total_aux_macs"]
    assert macs + aux_macs == expected["total_train_forward_macs"]
    assert full + aux_full == expected["total_train_forward_fvcore"]


RESNET110 = {
    "BP": (GOLDEN["resnet110_gmacs"]["BP"], None),
    "DGL": (GOLDEN["resnet110_gmacs"]["DGL"], DGL(head="auglocal")),
    "InfoPro": (GOLDEN["resnet110_gmacs"]["InfoPro"], DGL(head="1c2f")),
    **{
        f"AugLocal d={int(depth) + 1}": (value, AugLocal(depth=int(depth) + 1, tau=0.5))
        for depth, value in GOLDEN["resnet110_gmacs"]["AugLocal"].items()
    },
}


@pytest.mark.parametrize("row", RESNET110)
def test_flops_of_resnet110(row: str) -> None:
    """Table 7 of AugLocal's paper, the counts that the released code gives, to the last digit printed."""
    expected, method = RESNET110[row]
    backbone = resnet110()
    costs = body_costs(backbone) + (aux_costs(backbone, units_of(method, backbone, 55)) if method else [])
    assert round(total(costs)[2] / 1e9, 4) == expected


@pytest.mark.parametrize("depth", GOLDEN["resnet110_pyramid_reduction"])
def test_pyramid_reduction_on_resnet110(depth: str) -> None:
    """The share of the auxiliary networks' conv and linear MACs that the pyramid saves, to the last digit."""
    backbone = resnet110()

    def macs(tau: float) -> int:
        return total(aux_costs(backbone, units_of(AugLocal(int(depth) + 1, tau), backbone, 55)))[1]

    for tau, expected in GOLDEN["resnet110_pyramid_reduction"][depth].items():
        assert round(1 - macs(float(tau)) / macs(0), 5) == expected, tau


# AugLocal's table 11: GFLOPs of ResNet-110 by depth d and tau, printed to two digits (methods.md 10.3).
TABLE_11 = {
    5: (0.79, 0.83, 0.87, 0.89, 0.93),
    6: (0.90, 0.95, 0.99, 1.03, 1.09),
    7: (0.99, 1.06, 1.11, 1.17, 1.22),
    8: (1.09, 1.16, 1.22, 1.29, 1.36),
    9: (1.18, 1.26, 1.35, 1.41, 1.49),
}


@pytest.mark.parametrize("depth", TABLE_11)
def test_the_papers_flops_by_tau(depth: int) -> None:
    backbone = resnet110()
    main = total(body_costs(backbone))[2]
    for tau, expected in zip((1.0, 0.9, 0.8, 0.7, 0.6), TABLE_11[depth], strict=True):
        aux = total(aux_costs(backbone, units_of(AugLocal(depth, tau), backbone, 55)))[2]
        assert (main + aux) / 1e9 == pytest.approx(expected, abs=0.0065), tau


@pytest.mark.parametrize(("depth", "gmacs"), [(2, 0.624), (3, 0.685), (4, 0.794), (5, 0.978), (6, 1.119)])
def test_conv_and_linear_macs_of_resnet110(depth: int, gmacs: float) -> None:
    """methods.md 14: main network and auxiliary networks, convolutions and linear layers only."""
    backbone = resnet110()
    units = units_of(AugLocal(depth), backbone, 55)
    assert round(total(body_costs(backbone) + aux_costs(backbone, units))[1] / 1e9, 3) == gmacs


def runs(depths: Sequence[int]) -> list[tuple[int, int]]:
    """Run lengths: (count, depth)."""
    starts = [i for i, depth in enumerate(depths) if i == 0 or depths[i - 1] != depth]
    return [(stop - start, depths[start]) for start, stop in pairwise([*starts, len(depths)])]


@pytest.mark.parametrize(
    ("backbone", "depth", "expected"),
    [
        (resnet32(), 6, [(3, 5), (4, 4), (3, 3)]),
        (resnet32(), 5, [(4, 4), (6, 3), (1, 2)]),
        (resnet32(), 4, [(6, 3), (6, 2)]),
        (resnet110(), 6, [(12, 5), (25, 4), (12, 3)]),
        (resnet110(), 5, [(17, 4), (32, 3), (1, 2)]),
        (resnet110(), 4, [(25, 3), (26, 2)]),
        (resnet110(), 9, [(7, 8), (13, 7), (13, 6), (12, 5), (1, 4)]),
    ],
    ids=lambda value: value.name if isinstance(value, Backbone) else None,
)
def test_pyramids_of_methods_md(backbone: Backbone, depth: int, expected: list[tuple[int, int]]) -> None:
    """methods.md 10.1: how many auxiliary networks have how many copied layers."""
    units = units_of(AugLocal(depth=depth, tau=0.5), backbone)
    assert runs([len(unit.objectives[0].aux.blocks) for unit in units[:-1]]) == expected


@pytest.mark.parametrize("depth", [2, 3, 4, 5, 6])
def test_number_of_units(depth: int) -> None:
    """methods.md 10.1: 15 to 11 local modules of ResNet-32, 54 to 50 of ResNet-110."""
    assert len(units_of(AugLocal(depth), resnet32(), 16)) == 17 - depth
    assert len(units_of(AugLocal(depth), resnet110(), 55)) == 56 - depth
