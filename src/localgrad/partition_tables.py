"""The papers' split tables (methods.md 0.2): for each source and network, K to the borders (stage, block).

A border says that a module ends after this block; stage 0 is the stem; the last module runs to the end of the network.
"""

Ends = tuple[tuple[int, int], ...]


def _stage(stage: int, *blocks: int) -> Ends:
    return tuple((stage, block) for block in blocks)


_RESNET32: dict[int, Ends] = {
    2: ((2, 1),),
    3: ((1, 4), (2, 4)),
    4: ((1, 2), (2, 1), (3, 0)),
    8: ((1, 0), (1, 2), (1, 4), (2, 1), (2, 3), (3, 0), (3, 2)),
    16: ((0, 0), *_stage(1, *range(5)), *_stage(2, *range(5)), *_stage(3, *range(4))),
}
_RESNET110: dict[int, Ends] = {
    2: ((2, 8),),
    3: ((1, 17), (2, 17)),
    4: ((1, 11), (2, 7), (3, 3)),
    8: ((1, 4), (1, 11), (2, 0), (2, 7), (2, 14), (3, 3), (3, 10)),
    16: (*_stage(1, 1, 4, 7, 10, 13, 16), *_stage(2, 1, 4, 7, 11, 15), *_stage(3, 1, 5, 9, 13)),
    55: ((0, 0), *_stage(1, *range(18)), *_stage(2, *range(18)), *_stage(3, *range(17))),
}
_RESNET50: dict[int, Ends] = {
    2: ((3, 0),),
    3: ((2, 1), (3, 3)),
    4: ((2, 0), (3, 0), (3, 4)),
    8: ((1, 1), (2, 0), (2, 2), (3, 0), (3, 2), (3, 4), (4, 0)),
    16: (*_stage(1, *range(3)), *_stage(2, *range(4)), *_stage(3, *range(6)), *_stage(4, 0, 1)),
}
# A module per block, the stem merged into the first.
_IMAGENET34 = _RESNET50[16]
_IMAGENET101: Ends = (*_stage(1, *range(3)), *_stage(2, *range(4)), *_stage(3, *range(23)), *_stage(4, 0, 1))
_IMAGENET152: Ends = (*_stage(1, *range(3)), *_stage(2, *range(8)), *_stage(3, *range(36)), *_stage(4, 0, 1))
_MLAAN_STAGE = (1, 2, 4, 5, 7, 9, 11, 13, 14, 16, 17)

TABLES: dict[str, dict[str, dict[int, Ends]]] = {
    # InfoPro, AugLocal (its K=16 and K=55), GN-DGL with one group, the thesis' ResNet-110 and ResNet-50. AugLocal's
    # ImageNet networks and VGGs have a module per block, which needs no table.
    "infopro": {"resnet32": _RESNET32, "resnet110": _RESNET110, "cifar_resnet50": _RESNET50},
    # InfoPro*, balanced memory.
    "infopro_balanced_cifar10": {"resnet110": {2: ((1, 14),), 3: ((1, 9), (2, 2)), 4: ((1, 6), (1, 14), (2, 8))}},
    "infopro_balanced_stl10": {"resnet110": {2: ((1, 14),), 3: ((1, 8), (2, 1)), 4: ((1, 6), (1, 14), (2, 8))}},
    "infopro_balanced_imagenet": {
        "imagenet_resnet101": {2: ((2, 0),)},
        "imagenet_resnet152": {2: ((2, 5),)},
        "imagenet_resnext101_32x8d": {2: ((2, 2),)},
    },
    # DGL's own networks. ResNet-110: half of its 58 layers, conv, BatchNorm, ReLU and pooling counted in. ImageNet:
    # modules of 3 convolutions; of 4 and 8; half of ResNet-152's 51 layers, rounded up.
    "dgl": {
        "resnet110": {2: ((2, 7),)},
        "imagenet_vgg13": {4: ((2, 0), (3, 1), (5, 0))},
        "imagenet_vgg19": {2: ((3, 3),), 4: ((2, 1), (3, 3), (4, 3))},
        "imagenet_resnet152": {2: ((3, 13),)},
    },
    # MLAAN merges the stem into the first block; its K counts the stem all the same (methods.md 12, row 29).
    "mlaan": {
        "resnet32": {8: _RESNET32[8], 15: _RESNET32[16][1:], 16: _RESNET32[16][1:]},
        "resnet110": {
            32: (*_stage(1, *_MLAAN_STAGE), *_stage(2, *_MLAAN_STAGE), *_stage(3, 1, 3, 4, 6, 7, 9, 11, 13, 15)),
            54: _RESNET110[55][1:],
            55: _RESNET110[55][1:],
        },
        "imagenet_resnet34": {16: _IMAGENET34, 17: _IMAGENET34},
        "imagenet_resnet101": {33: _IMAGENET101, 34: _IMAGENET101},
        "imagenet_resnet152": {50: _IMAGENET152, 51: _IMAGENET152},
    },
    # GN-DGL with groups: one more border after the last block, so the classifier is a module of its own; K counts the
    # grouped modules. With K=1 the groups are independent thin networks, as text and MACs of the paper have it; the
    # command in the released code would train them jointly, and crashes (methods.md 12, row 15).
    "gndgl": {"resnet32": {1: ((3, 4),), **{k: (*ends, (3, 4)) for k, ends in _RESNET32.items()}}},
}
