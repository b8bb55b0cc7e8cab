"""The leap lists of MLAAN's code (methods.md 9.2): for each network and K, the blocks copied for every module.

A block is (stage, block), counted from 0, the stem being stage 0. There is a list for every module but the last.
ImageNet's name blocks that lie before the end of a module; so they are in the code.
"""

from localgrad.errors import LocalgradError, nearest
from localgrad.partition import PaperTable
from localgrad.spec import Backbone, Partition

Leaps = tuple[tuple[int, int], ...]


def _to(*blocks: int) -> Leaps:
    """Blocks written as 30 for (3, 0), 317 for (3, 17)."""
    return tuple((int(str(block)[0]), int(str(block)[1:])) for block in blocks)


_EARLY = _to(20, 30, 32, 34)
_EARLY_3 = _to(20, 30, 33, 34)
_MIDDLE = _to(30, 32, 33, 34)
_RESNET101_ENDS = (_to(20, 30, 40, 42), _to(30, 40, 41), _to(40, 41), _to(41, 42))


def _stages(sizes: tuple[int, int, int, int]) -> tuple[Leaps, ...]:
    """The lists of ImageNet ResNet-101 and -152: one per stage."""
    return tuple(leaps for leaps, size in zip(_RESNET101_ENDS, sizes, strict=True) for _ in range(size))


# By the number of units: MLAAN's K counts the stem, which is no module of its own, in all but K=8 and K=32.
LEAPS: dict[str, dict[int, tuple[Leaps, ...]]] = {
    "resnet32": {
        15: (
            *(_EARLY, _EARLY, _EARLY_3, _EARLY, _EARLY_3),
            *(_MIDDLE,) * 5,
            *(_to(31, 32, 34), _to(32, 33, 34), _to(33, 34), _to(34)),
        ),
        8: (_EARLY, _EARLY, _EARLY_3, _MIDDLE, _MIDDLE, _to(32, 33, 34), _to(33, 34)),
    },
    "resnet110": {
        54: (
            *(_to(20, 30, 32, 317),) * 18,
            *(_to(30, 32, 33, 317),) * 17,
            _to(30, 33, 34, 317),
            *(_to(38, 317),) * 7,
            *(_to(314, 317),) * 4,
            *(_to(315, 317),) * 2,
            *(_to(316, 317),) * 3,
            _to(317),
        ),
        32: (
            *(_to(20, 30, 32, 317),) * 11,
            *(_to(30, 32, 33, 317),) * 10,
            _to(30, 33, 34, 317),
            *(_to(38, 317),) * 4,
            *(_to(314, 317),) * 2,
            *(_to(315, 317), _to(316, 317), _to(317)),
        ),
    },
    "imagenet_resnet34": {
        16: (
            *(_to(20, 21, 30, 40, 42),) * 3,
            *(_to(21, 30, 40, 42),) * 4,
            *(_to(31, 40, 41),) * 6,
            *(_to(41, 41, 42), _to(41, 42)),
        )
    },
    "imagenet_resnet101": {33: _stages((3, 4, 23, 2))},
    "imagenet_resnet152": {50: _stages((3, 8, 36, 2))},
}


def published_leaps(backbone: Backbone, partition: Partition) -> tuple[tuple[int, ...], ...] | None:
    """The code's lists as indices of blocks, if it has any for this network cut as MLAAN cuts it; else None."""
    lists = LEAPS.get(backbone.name, {}).get(len(partition))
    if lists is None or PaperTable(len(partition), "mlaan")(backbone).spans != partition.spans:
        return None
    place = backbone.block_names.index
    return tuple(tuple(place(f"layer{stage}.{block}") for stage, block in leaps) for leaps in lists)


def given_leaps(
    backbone: Backbone, partition: Partition, lists: tuple[tuple[str, ...], ...]
) -> tuple[tuple[int, ...], ...]:
    """A user's lists of block names as indices.

    Raises LocalgradError for another number of lists than modules but the last, unknown names, and blocks that do not
    come later than the module's end and in the order of the network.
    """
    if len(lists) != len(partition) - 1:
        raise LocalgradError(
            f"MLAAN: leaps needs one list per module but the last, {len(partition) - 1} for these {len(partition)} "
            f"modules, got {len(lists)}. Give () for a module without leaps, or leaps=True."
        )
    names, found = backbone.block_names, []
    for module, (span, leaps) in enumerate(zip(partition.spans, lists, strict=False)):
        for name in leaps:
            if name not in names:
                raise LocalgradError(f"MLAAN: {backbone.name} has no block {name!r}. {nearest(name, names)}")
        indices = tuple(map(names.index, leaps))
        before, behind = (span.stop - 1, *indices), indices
        for one, other in zip(before, behind, strict=False):
            if other <= one:
                raise LocalgradError(
                    f"MLAAN: the leaps of module {module}, which ends at {names[span.stop - 1]!r}, point backwards: "
                    f"{names[other]!r} does not come after {names[one]!r}. Name later blocks, in the order of the "
                    f"network, got {list(leaps)}."
                )
        found.append(indices)
    return tuple(found)
