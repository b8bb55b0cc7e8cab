"""MACs over a grid of choices: AugLocal's tables 7 and 11, and what the grid leaves to others."""

import pytest

from localgrad import LocalgradError, Partition, Span, cost, equal_blocks, localize
from localgrad.backbones import cifar_resnet, resnet110
from localgrad.cost import MacsGrid, macs_grid
from localgrad.losses import cross_entropy
from localgrad.methods import DGL, AugLocal
from localgrad.objective import Objective, UnitSpec

# GFLOPs of ResNet-110 in 55 modules by depth d, printed to two digits (methods.md 10.3): tau 0.5 for d = 2 to 6 ...
TABLE_7 = {2: 0.63, 3: 0.69, 4: 0.80, 5: 0.98, 6: 1.13}
# ... and for d = 5 to 9 by tau.
TAUS = (1.0, 0.9, 0.8, 0.7, 0.6)
TABLE_11 = {
    5: (0.79, 0.83, 0.87, 0.89, 0.93),
    6: (0.90, 0.95, 0.99, 1.03, 1.09),
    7: (0.99, 1.06, 1.11, 1.17, 1.22),
    8: (1.09, 1.16, 1.22, 1.29, 1.36),
    9: (1.18, 1.26, 1.35, 1.41, 1.49),
}


def auglocal_grid(depths: list[int], taus: list[float]) -> MacsGrid:
    backbone = resnet110()
    partition = equal_blocks(55)(backbone)
    return macs_grid(backbone, lambda depth, tau: AugLocal(depth, tau).units(backbone, partition), depths, taus)


def test_all_thirty_flops_of_auglocals_paper() -> None:
    """methods.md 10.1: within 0.006 G of what is printed."""
    sweep = auglocal_grid([*TABLE_11], [*TAUS])
    depths = auglocal_grid([*TABLE_7], [0.5])
    assert (sweep.rows, sweep.columns) == (("5", "6", "7", "8", "9"), ("1.0", "0.9", "0.8", "0.7", "0.6"))
    ours = [value for grid in (sweep, depths) for row in grid.macs for value in row]
    papers = [value for row in TABLE_11.values() for value in row] + [*TABLE_7.values()]
    assert len(ours) == 30
    off = {(round(a / 1e9, 4), b) for a, b in zip(ours, papers, strict=True) if abs(a / 1e9 - b) > 0.006}
    assert not off


def test_a_grid_is_what_the_networks_cost() -> None:
    """Without ReLU and bias, what ``cost.macs`` counts for every network."""
    backbone = cifar_resnet(14, 4, 0.5, (3, 8, 8))
    methods = {(head, k): localize(backbone, DGL(head=head), k) for head in ("1c2f", "cnn") for k in (1, 7)}
    grid = macs_grid(
        backbone, lambda head, k: [unit.spec for unit in methods[head, k].unit_list()], ["1c2f", "cnn"], [1, 7]
    )
    for i, head in enumerate(("1c2f", "cnn")):
        for j, k in enumerate((1, 7)):
            counted = cost.macs(methods[head, k])
            kinds = ("conv", "linear", "norm", "pool")
            expected = sum(part.by_kind.get(kind, 0) for part in counted.parts.values() for kind in kinds)
            assert grid.macs[i][j] == expected
    assert grid.macs[0][0] == grid.macs[1][0]


def test_shared_and_chosen_objectives() -> None:
    """One object is one module, counted once; equal objects are two."""
    backbone = cifar_resnet(14, 4, 0.5, (3, 8, 8))
    shape = backbone.shapes()[2]
    one, other = DGL(head="1c2f").auxnet(backbone, shape), DGL(head="1c2f").auxnet(backbone, shape)

    def units(second: object, _column: object) -> list[UnitSpec]:
        aux = one if second == "shared" else other
        pair = (Objective("task", one, cross_entropy), Objective("more", aux, cross_entropy))
        last = UnitSpec(1, "head", Span(3, 7), (Objective("task", backbone.head, cross_entropy),))
        return [UnitSpec(0, "first", Span(0, 3), pair), last]

    (shared,), (apart,) = macs_grid(backbone, units, ["shared", "apart"], [0]).macs
    (alone,), (chosen,) = macs_grid(backbone, units, ["shared", "apart"], [0], objectives=("task",)).macs
    assert shared == alone == chosen
    network = macs_grid(backbone, units, ["shared"], [0], objectives=()).macs[0][0]
    assert apart - shared == shared - network > 0


def test_table() -> None:
    grid = MacsGrid(("5", "10"), ("1.0", "0.9"), ((790_400_000, 830_000_000), (1_234_567_890, 1)))
    assert str(grid).splitlines() == ["      1.0    0.9", "5   0.790  0.830", "10  1.235  0.000"]


def test_groups_are_for_macs() -> None:
    backbone = cifar_resnet(14, 4, 0.5, (3, 8, 8))
    unit = UnitSpec(0, "first", Span(0, 7, (4, 4)), (Objective("task", backbone.head, cross_entropy),))
    with pytest.raises(LocalgradError, match=r"units with neuron groups are counted by cost\.macs\(net\)"):
        macs_grid(backbone, lambda _row, _column: [unit], [0], [0])


def test_partition_is_the_methods() -> None:
    partition = Partition((Span(0, 3), Span(3, 7)))
    backbone = cifar_resnet(14, 4, 0.5, (3, 8, 8))
    grid = macs_grid(backbone, lambda head, _: DGL(head=head).units(backbone, partition), ["mlp", "mlp-sr"], ["K=2"])
    assert grid.macs[0][0] != grid.macs[1][0]
