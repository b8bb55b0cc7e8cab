"""Every row of the papers' split tables, as methods.md 0.2 lists the borders."""

from itertools import pairwise

import pytest

from localgrad import backbones
from localgrad.partition import papers
from localgrad.partition_tables import TABLES

MLAAN = "1,2,4,5,7,9,11,13,14,16,17"
MERGED = {
    ("resnet32", 16), ("resnet110", 55), ("imagenet_resnet34", 17), ("imagenet_resnet101", 34),
    ("imagenet_resnet152", 51),
}  # fmt: skip
# (stage, blocks) after which a module ends; stage 0 is the stem.
ROWS = {
    ("infopro", "resnet32", 2): "2:1",
    ("infopro", "resnet32", 3): "1:4 2:4",
    ("infopro", "resnet32", 4): "1:2 2:1 3:0",
    ("infopro", "resnet32", 8): "1:0,2,4 2:1,3 3:0,2",
    ("infopro", "resnet32", 16): "0:0 1:0-4 2:0-4 3:0-3",
    ("dgl", "resnet110", 2): "2:7",
    ("infopro", "resnet110", 2): "2:8",
    ("infopro", "resnet110", 3): "1:17 2:17",
    ("infopro", "resnet110", 4): "1:11 2:7 3:3",
    ("infopro", "resnet110", 8): "1:4,11 2:0,7,14 3:3,10",
    ("infopro", "resnet110", 16): "1:1,4,7,10,13,16 2:1,4,7,11,15 3:1,5,9,13",
    ("infopro", "resnet110", 55): "0:0 1:0-17 2:0-17 3:0-16",
    ("infopro_balanced_cifar10", "resnet110", 2): "1:14",
    ("infopro_balanced_cifar10", "resnet110", 3): "1:9 2:2",
    ("infopro_balanced_cifar10", "resnet110", 4): "1:6,14 2:8",
    ("infopro_balanced_stl10", "resnet110", 2): "1:14",
    ("infopro_balanced_stl10", "resnet110", 3): "1:8 2:1",
    ("infopro_balanced_stl10", "resnet110", 4): "1:6,14 2:8",
    ("infopro", "cifar_resnet50", 2): "3:0",
    ("infopro", "cifar_resnet50", 3): "2:1 3:3",
    ("infopro", "cifar_resnet50", 4): "2:0 3:0,4",
    ("infopro", "cifar_resnet50", 8): "1:1 2:0,2 3:0,2,4 4:0",
    ("infopro", "cifar_resnet50", 16): "1:0-2 2:0-3 3:0-5 4:0-1",
    ("infopro_balanced_imagenet", "imagenet_resnet101", 2): "2:0",
    ("infopro_balanced_imagenet", "imagenet_resnet152", 2): "2:5",
    ("infopro_balanced_imagenet", "imagenet_resnext101_32x8d", 2): "2:2",
    ("dgl", "imagenet_vgg13", 4): "2:0 3:1 5:0",
    ("dgl", "imagenet_vgg19", 2): "3:3",
    ("dgl", "imagenet_vgg19", 4): "2:1 3:3 4:3",
    ("dgl", "imagenet_resnet152", 2): "3:13",
    ("mlaan", "imagenet_resnet34", 16): "1:0-2 2:0-3 3:0-5 4:0-1",
    ("mlaan", "imagenet_resnet34", 17): "1:0-2 2:0-3 3:0-5 4:0-1",
    ("mlaan", "imagenet_resnet101", 33): "1:0-2 2:0-3 3:0-22 4:0-1",
    ("mlaan", "imagenet_resnet101", 34): "1:0-2 2:0-3 3:0-22 4:0-1",
    ("mlaan", "imagenet_resnet152", 50): "1:0-2 2:0-7 3:0-35 4:0-1",
    ("mlaan", "imagenet_resnet152", 51): "1:0-2 2:0-7 3:0-35 4:0-1",
    ("mlaan", "resnet32", 8): "1:0,2,4 2:1,3 3:0,2",
    ("mlaan", "resnet32", 15): "1:0-4 2:0-4 3:0-3",
    ("mlaan", "resnet32", 16): "1:0-4 2:0-4 3:0-3",
    ("mlaan", "resnet110", 32): f"1:{MLAAN} 2:{MLAAN} 3:1,3,4,6,7,9,11,13,15",
    ("mlaan", "resnet110", 54): "1:0-17 2:0-17 3:0-16",
    ("mlaan", "resnet110", 55): "1:0-17 2:0-17 3:0-16",
    ("gndgl", "resnet32", 1): "3:4",
    ("gndgl", "resnet32", 2): "2:1 3:4",
    ("gndgl", "resnet32", 3): "1:4 2:4 3:4",
    ("gndgl", "resnet32", 4): "1:2 2:1 3:0,4",
    ("gndgl", "resnet32", 8): "1:0,2,4 2:1,3 3:0,2,4",
    ("gndgl", "resnet32", 16): "0:0 1:0-4 2:0-4 3:0-4",
}


def ends(row: str) -> list[str]:
    """Names of the blocks at which modules end."""
    names = []
    for stage, blocks in (part.split(":") for part in row.split()):
        for item in blocks.split(","):
            first, last = (item.split("-") * 2)[:2]
            names += [f"layer{stage}.{i}" if stage != "0" else "stem" for i in range(int(first), int(last) + 1)]
    return names


def test_no_row_is_missing() -> None:
    there = {(source, net, k) for source, nets in TABLES.items() for net, rows in nets.items() for k in rows}
    assert there == ROWS.keys()


@pytest.mark.parametrize(("source", "net", "modules"), ROWS, ids=str)
def test_row(source: str, net: str, modules: int) -> None:
    backbone = getattr(backbones, net)()
    partition = papers(modules, source)(backbone)
    expected = ends(ROWS[source, net, modules])
    assert [backbone.block_names[span.stop - 1] for span in partition.spans[:-1]] == expected
    assert (partition.spans[0].start, partition.spans[-1].stop) == (0, len(backbone.blocks))
    assert all(one.stop == two.start for one, two in pairwise(partition.spans))
    # GN-DGL has its classifier as one more span, MLAAN's larger K counts a stem that it merges (methods.md 12, row 29).
    merged = source == "mlaan" and (net, modules) in MERGED
    assert len(partition) == modules + (source == "gndgl") - merged
    assert partition.origin == f"papers({modules}, {source!r})"


def test_dgl_splits_by_number_of_layers() -> None:
    """methods.md 2.3: 3 + 3 + 3 + 1 convolutions; fours and eights; 26 of the 51 layers of ResNet-152."""

    def sizes(net: str, modules: int) -> list[int]:
        return [len(span) for span in papers(modules, "dgl")(getattr(backbones, net)()).spans]

    assert sizes("imagenet_vgg13", 4) == [3, 3, 3, 1]
    assert sizes("imagenet_vgg19", 4) == [4] * 4
    assert sizes("imagenet_vgg19", 2) == [8] * 2
    assert sizes("imagenet_resnet152", 2) == [26, 25]
