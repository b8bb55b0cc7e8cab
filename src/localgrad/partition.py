"""Ways to cut a backbone into spans. A cut is a small frozen object; ``cut(backbone)`` gives the Partition."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, final

import torch

from localgrad.count import count_macs
from localgrad.errors import LocalgradError, nearest
from localgrad.partition_tables import TABLES
from localgrad.segments import body_tape
from localgrad.spec import Backbone, Partition, Span


class Cut(Protocol):
    """A rule that cuts any backbone, or a paper's own."""

    def __call__(self, backbone: Backbone) -> Partition:
        """The spans. Raises LocalgradError when the rule does not fit the backbone."""
        ...


def from_sizes(sizes: Sequence[int], origin: str) -> Partition:
    """Consecutive spans of the given numbers of blocks."""
    spans, start = [], 0
    for size in sizes:
        spans.append(Span(start, start + size))
        start += size
    return Partition(tuple(spans), origin)


def _check_count(backbone: Backbone, modules: int) -> None:
    if not 1 <= modules <= len(backbone.blocks):
        raise LocalgradError(
            f"modules={modules}: {backbone.name} has {len(backbone.blocks)} blocks, "
            f"so modules must be between 1 and {len(backbone.blocks)}."
        )


@final
@dataclass(frozen=True)
class EqualBlocks:
    """``modules`` spans whose numbers of blocks differ by at most one, the larger first."""

    modules: int

    def __call__(self, backbone: Backbone) -> Partition:
        """The spans. Raises LocalgradError when there are fewer blocks than modules."""
        _check_count(backbone, self.modules)
        size, larger = divmod(len(backbone.blocks), self.modules)
        return from_sizes([size + 1] * larger + [size] * (self.modules - larger), f"equal_blocks({self.modules})")


@final
@dataclass(frozen=True)
class EqualMacs:
    """``modules`` spans whose largest number of forward MACs (bodies only) is the smallest possible."""

    modules: int

    def __call__(self, backbone: Backbone) -> Partition:
        """The spans. Raises LocalgradError when there are fewer blocks than modules."""
        _check_count(backbone, self.modules)
        shape, macs = backbone.image, []
        for block in backbone.blocks:
            with torch.device("meta"):
                module = block.build()
            counts, shape = count_macs(module, shape)
            macs.append(float(counts.total()))
        return from_sizes(balance(macs, self.modules), f"equal_macs({self.modules})")


@final
@dataclass(frozen=True)
class EqualMemory:
    """``modules`` spans whose largest memory of activations (bodies only) is the smallest possible.

    A span's memory is what its layers read, keep and give, and gradients on the way back, counted on the meta device.
    Weights, auxiliary networks and recomputation do not count.
    """

    modules: int

    def __call__(self, backbone: Backbone) -> Partition:
        """The spans. Raises LocalgradError when there are fewer blocks than modules."""
        _check_count(backbone, self.modules)
        blocks = []
        for block in backbone.blocks:
            with torch.device("meta"):
                blocks.append(block.build())
        tape, starts = body_tape(blocks, (backbone.image, *backbone.shapes()[:-1]))
        outputs = [tape.pieces[start].entering for start in starts[1:-1]]

        def used(start: int, stop: int) -> float:
            held = outputs[stop - 1] if stop < len(blocks) else 0
            return tape.kept_by(starts[start], starts[stop]) + held

        return from_sizes(balance_by(used, len(blocks), self.modules), f"equal_memory({self.modules})")


@final
@dataclass(frozen=True)
class Explicit:
    """Spans that end after the named blocks; the last span takes the rest: ``Explicit(("layer1.4", "layer2.4"))``.

    When the last block is named, the last span is empty: the classifier becomes a unit of its own.
    """

    ends: tuple[str, ...]

    def __call__(self, backbone: Backbone) -> Partition:
        """The spans. Raises LocalgradError for names that are unknown, repeated or out of order."""
        positions = []
        for name in self.ends:
            if name not in backbone.block_names:
                raise LocalgradError(
                    f"Explicit cut: {backbone.name} has no block {name!r}. {nearest(name, backbone.block_names)}"
                )
            positions.append(backbone.block_names.index(name) + 1)
        if positions != sorted(set(positions)):
            raise LocalgradError(f"Explicit cut: the ends must follow the order of the network, got {list(self.ends)}.")
        borders = [0, *positions, len(backbone.blocks)]
        sizes = [stop - start for start, stop in pairwise(borders)]
        return from_sizes(sizes, f"explicit({', '.join(self.ends)})")


@final
@dataclass(frozen=True)
class PaperTable:
    """The split that a paper's code uses for this network and K (methods.md 0.2). ``source`` names the table.

    ``modules=1`` and one module per block need no table. Any other K without a table raises a LocalgradError that names
    the Ks there are, and the cut that works for any K.
    """

    modules: int
    source: str = "infopro"

    def __call__(self, backbone: Backbone) -> Partition:
        """The spans."""
        _check_count(backbone, self.modules)
        if self.source not in TABLES:
            raise LocalgradError(f"split table {self.source!r} is unknown. {nearest(self.source, TABLES)}")
        tables = TABLES[self.source].get(backbone.name, {})
        if self.modules in tables:
            ends = tuple(f"layer{stage}.{block}" if stage else "stem" for stage, block in tables[self.modules])
            spans = Explicit(ends)(backbone).spans
            return Partition(spans, f"papers({self.modules}, {self.source!r})")
        if self.modules in (1, len(backbone.blocks)):
            return EqualBlocks(self.modules)(backbone)
        known = sorted({1, len(backbone.blocks), *tables})
        raise LocalgradError(
            f"modules={self.modules}: the papers have no split of {backbone.name} into {self.modules} modules "
            f"(table {self.source!r} has {', '.join(map(str, known))}). Take one of these, or "
            f"cut evenly: partition=localgrad.equal_blocks({self.modules}) or localgrad.equal_macs({self.modules}), on "
            "the command line --cut equal_blocks or --cut equal_macs."
        )


equal_blocks = EqualBlocks
equal_macs = EqualMacs
equal_memory = EqualMemory
explicit = Explicit
papers = PaperTable


def balance(weights: Sequence[float], parts: int) -> list[int]:
    """Sizes of ``parts`` consecutive non-empty groups of ``weights`` whose largest sum is the smallest possible."""
    prefix = [0.0]
    for weight in weights:
        prefix.append(prefix[-1] + weight)
    return balance_by(lambda start, stop: prefix[stop] - prefix[start], len(weights), parts)


def balance_by(cost: Callable[[int, int], float], n: int, parts: int) -> list[int]:
    """Sizes of ``parts`` consecutive non-empty groups of ``n`` things whose largest cost is the smallest possible.

    ``cost(start, stop)`` is that of the things from start to stop. Dynamic programming, O(parts n^2) comparisons; among
    equals the earliest borders.
    """
    costs = {(start, stop): cost(start, stop) for stop in range(n + 1) for start in range(stop)}
    best = [[float("inf")] * (n + 1) for _ in range(parts + 1)]
    cut = [[0] * (n + 1) for _ in range(parts + 1)]
    best[0][0] = 0.0
    for part in range(1, parts + 1):
        for stop in range(part, n + 1):
            for start in range(part - 1, stop):
                largest = max(best[part - 1][start], costs[start, stop])
                if largest < best[part][stop]:
                    best[part][stop], cut[part][stop] = largest, start
    sizes, stop = [], n
    for part in range(parts, 0, -1):
        start = cut[part][stop]
        sizes.append(stop - start)
        stop = start
    return sizes[::-1]
