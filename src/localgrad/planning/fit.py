"""What fits into the memory of one device: the least cutting whose training step stays below a limit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, final, runtime_checkable

import torch

from localgrad.errors import LocalgradError
from localgrad.method import Method
from localgrad.network import LocalNetwork, find_partition, localize
from localgrad.partition import EqualMemory, PaperTable
from localgrad.planning.balance import in_bytes
from localgrad.planning.costs import unit_macs
from localgrad.planning.links import parse_size
from localgrad.spec import Backbone, Partition


@runtime_checkable
class DeepMethod(Method, Protocol):
    """A method whose auxiliary networks have a depth that may be smaller (AugLocal): a frozen dataclass."""

    @property
    def depth(self) -> int:
        """Layers of an auxiliary network, its classifier counted."""
        ...


@final
@dataclass(frozen=True)
class Choice:
    """One way to train a network: modules, method (with its depth), recomputation."""

    modules: int
    method: Method
    recompute: bool

    def __str__(self) -> str:
        """The choice in the words of ``localize``."""
        depth = f", depth={self.method.depth}" if isinstance(self.method, DeepMethod) else ""
        return f"modules={self.modules}{depth}, recompute={self.recompute}"


@final
@dataclass(frozen=True)
class Tried:
    """A choice and the live bytes of its step; None where the method cannot be cut so, and ``refused`` says why.

    ``origin`` is how the cut was made, ``units`` how many units it has.
    """

    choice: Choice
    peak: int | None
    units: int = 0
    origin: str = ""
    refused: str = ""


@final
@dataclass(frozen=True)
class Fit:
    """What was found: ``chosen`` has the fewest modules that fit into ``limit`` bytes, of all that were ``tried``."""

    limit: int
    chosen: Tried
    tried: tuple[Tried, ...]

    @property
    def whole(self) -> tuple[Tried, ...]:
        """One module, the network as a whole, as it is and recomputed; where it was tried so."""
        return tuple(one for one in self.tried if one.choice.modules == 1 and one.peak is not None)


def partition_of(backbone: Backbone, method: Method, modules: int) -> Partition:
    """The method's own cut into ``modules``, and where no paper has one for this network and number, equal memory.

    Raises LocalgradError for more modules than blocks, and for what the method cannot train.
    """
    try:
        own = find_partition(backbone, method, modules, None)
    except LocalgradError:
        if modules == 1 or method_is_whole(method, backbone):
            raise
        return EqualMemory(modules)(backbone)
    by_table = modules > 1 and isinstance(method.cut(backbone, modules), PaperTable)
    return EqualMemory(modules)(backbone) if by_table and backbone.source is not None else own


def method_is_whole(method: Method, backbone: Backbone) -> bool:
    """Whether the method trains networks as one unit only: backpropagation."""
    try:
        method.cut(backbone, 2)
    except LocalgradError:
        return True
    return False


def network_of(backbone: Backbone, choice: Choice) -> tuple[LocalNetwork, Partition]:
    """The network of a choice on the meta device, and its cut. Raises LocalgradError for what cannot be."""
    spans = partition_of(backbone, choice.method, choice.modules)
    with torch.device("meta"):
        return localize(backbone, choice.method, partition=spans, recompute=choice.recompute), spans


def step_macs_ratio(backbone: Backbone, choice: Choice) -> float:
    """MACs of a training step of a choice, recomputation counted, as a ratio to backpropagation."""
    macs, whole = unit_macs(network_of(backbone, choice)[0])
    return sum(unit.step for unit in macs) / whole


def limit_of(memory: object) -> int:
    """Bytes from a text such as 4GiB, or a whole number. Raises LocalgradError for anything else."""
    if isinstance(memory, str):
        return parse_size(memory)
    if type(memory) is not int or memory < 1:
        raise LocalgradError(f"memory: expected a size such as '4GiB' or a number of bytes, got {memory!r}.")
    return memory


Peak = Callable[[LocalNetwork], int]
"""Live bytes of a training step of a network on the meta device."""


def fit(
    backbone: Backbone,
    method: Method,
    memory: str | int,
    peak: Peak,
    *,
    recompute: bool | None = None,
) -> Fit:
    """The smallest number of modules whose training step stays below ``memory``, such as "4GiB" or a number of bytes.

    Less cutting is better: one module is backpropagation. ``recompute`` None takes recomputation where the cut does not
    fit without; True and False keep to one. A method with a ``depth`` (AugLocal) keeps its own if any cut fits, else
    the next smaller one. What one module would need is always counted.

    Every ``peak`` takes about a second, so not all numbers are tried: 1, 2, 4, 8, ... and all blocks, and then, by
    bisection, those between the first of these that fits and the one before. It is assumed that between these two, a
    finer cut takes no more memory, and that recomputation never takes more. Numbers that the method refuses count as
    not fitting.

    Raises LocalgradError when nothing fits: it says the smallest that was found, and by which choice.
    """
    limit = limit_of(memory)
    tried: dict[Choice, Tried] = {}
    kinds = (True, False) if recompute is None else (recompute,)

    def look(choice: Choice) -> Tried:
        if choice not in tried:
            try:
                net, spans = network_of(backbone, choice)
                tried[choice] = Tried(choice, peak(net), len(net.units), spans.origin)
            except LocalgradError as error:
                tried[choice] = Tried(choice, None, refused=str(error))
        return tried[choice]

    def fits(own: Method, modules: int) -> bool:
        """By the kind that takes least, unless it is refused: groups that run as one cannot recompute."""
        kind = next((kind for kind in kinds if look(Choice(modules, own, kind)).peak is not None), None)
        return kind is not None and (look(Choice(modules, own, kind)).peak or 0) <= limit

    for kind in reversed(kinds):
        look(Choice(1, method, kind))
    for own in _depths(method):
        modules = _fewest(partial(fits, own), _doublings(len(backbone.blocks)))
        if modules is not None:
            found = [look(Choice(modules, own, kind)) for kind in reversed(kinds)]
            chosen = next(one for one in found if one.peak is not None and one.peak <= limit)
            return Fit(limit, chosen, tuple(tried.values()))
    raise LocalgradError(_nothing(limit, tuple(tried.values())))


def _depths(method: Method) -> Sequence[Method]:
    if not isinstance(method, DeepMethod):
        return [method]
    # A frozen dataclass, as every method is; the protocol cannot say so.
    deep: Any = method
    return [replace(deep, depth=depth) for depth in range(method.depth, 1, -1)]


def _doublings(blocks: int) -> list[int]:
    found = [1]
    while found[-1] * 2 < blocks:
        found.append(found[-1] * 2)
    return found if blocks == 1 else [*found, blocks]


def _fewest(fits: Callable[[int], bool], grid: Sequence[int]) -> int | None:
    """The fewest modules that fit: the first of the grid, then bisection down to the one before it."""
    below = 0
    for coarse in grid:
        if not fits(coarse):
            below = coarse
            continue
        found = coarse
        while found - below > 1:
            middle = (below + found) // 2
            below, found = (below, middle) if fits(middle) else (middle, found)
        return found
    return None


def _nothing(limit: int, tried: Sequence[Tried]) -> str:
    counted = [one for one in tried if one.peak is not None]
    if not counted:
        return f"memory: no cut of this network can be trained. {tried[0].refused}"
    least = min(counted, key=lambda one: one.peak or 0)
    more = "" if least.choice.recompute else ", recompute=True"
    return (
        f"memory: nothing fits {in_bytes(limit)}. The smallest found takes {in_bytes(least.peak or 0, up=True)} of "
        f"live memory, with {least.choice}. Take a larger limit, a smaller batch{more} or precision bfloat16."
    )
