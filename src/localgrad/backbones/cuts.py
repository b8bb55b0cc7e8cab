"""Borders that a user names: ``cuts=["layer1.0", ...]``, a unit ends behind each."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise

from torch import fx, nn

from localgrad.backbones.atoms import Atom, alive_behind, is_border, labels
from localgrad.backbones.trace import Traced
from localgrad.backbones.tracer import ROOT
from localgrad.errors import LocalgradError, nearest
from localgrad.partition import from_sizes
from localgrad.spec import Backbone, Partition

_STACK = "nn_module_stack"


def check_cuts(cuts: object) -> tuple[str, ...]:
    """The names, or a LocalgradError unless they are a list of different strings."""
    if isinstance(cuts, str) or not isinstance(cuts, Sequence) or not all(isinstance(cut, str) for cut in cuts):
        raise LocalgradError(
            f"localize: cuts must be a list of names, a unit ends behind each: cuts=['layer1.0', ...], got {cuts!r}."
        )
    for index, cut in enumerate(cuts):
        if cut in cuts[:index]:
            raise LocalgradError(f"localize: cuts names {cut!r} twice; a network can be cut once at each border.")
    return tuple(cuts)


def check_paths(model: nn.Module, cuts: Sequence[str]) -> None:
    """Raise LocalgradError for a cut that is not the path of a submodule."""
    paths = [path for path, _ in model.named_modules(remove_duplicate=False) if path]
    for cut in cuts:
        if cut not in paths:
            raise LocalgradError(
                f"localize: cuts: {type(model).__name__} has no submodule {cut!r}. {nearest(cut, paths)}"
            )


def cut_atoms(model: nn.Module, traced: Traced, atoms: Sequence[Atom], cuts: Sequence[str]) -> dict[str, int]:
    """For each cut the index of the atom that ends there.

    Raises LocalgradError for a submodule that is not called or called several times, and where more than one tensor
    crosses.
    """
    at, ends, crossing = {atom.nodes[-1]: k for k, atom in enumerate(atoms)}, _ends(traced), alive_behind(traced)
    found: dict[str, int] = {}
    for cut in cuts:
        place = _place(model, traced, ends, cut)
        while not is_border(crossing[place], traced) and _unpacks(traced.nodes, place + 1):
            place += 1
        who = f"localize: cuts: there is no border behind {cut!r} of {type(model).__name__}"
        if not is_border(crossing[place], traced):
            raise LocalgradError(
                f"{who}: exactly one tensor must cross, but {labels(crossing[place], traced)} do. "
                + _neighbours(traced, atoms, ends, place)
            )
        if traced.nodes[place] is traced.nodes[-1]:
            raise LocalgradError(f"{who}: it gives the logits, so nothing would be left for the last unit.")
        end = at[traced.nodes[place]]
        other = next((name for name, index in found.items() if index == end), None)
        if other is not None:
            raise LocalgradError(f"localize: cuts: {other!r} and {cut!r} are the same border; name one of them.")
        found[cut] = end
    return found


def _scopes(node: fx.Node) -> Iterator[tuple[str, str]]:
    """Paths of the submodules that a node was recorded in, each with the name of that call of it."""
    if node.op == "call_module":
        yield str(node.target), node.name
        # Without tracing there are no stacks, only the paths of what is called.
        parents = str(node.target).split(".")[:-1]
        yield from ((path, path) for path in accumulate(parents, "{}.{}".format) if not node.meta.get(_STACK))
    for key, (owner, _) in node.meta.get(_STACK, {}).items():
        path = owner.removeprefix(ROOT).removeprefix(".")
        if path and not (node.op == "call_module" and path == node.target):
            yield path, str(key)


def _ends(traced: Traced) -> dict[str, int | None]:
    """Index of the last node of each submodule that is called; None if it is called several times."""
    calls: dict[str, set[str]] = {}
    ends: dict[str, int | None] = {}
    for index, node in enumerate(traced.nodes):
        for path, call in _scopes(node):
            calls.setdefault(path, set()).add(call)
            ends[path] = index if len(calls[path]) == 1 else None
    return ends


def _place(model: nn.Module, traced: Traced, ends: Mapping[str, int | None], cut: str) -> int:
    """Index of the last node that belongs to the submodule."""
    place = ends.get(cut)
    if place is not None:
        return place
    who = f"localize: cuts: there is no border behind {cut!r} of {type(model).__name__}"
    if cut in ends:
        raise LocalgradError(
            f"{who}: it is called several times. Name the submodule that it is called in, or one that is called once."
        )
    closed = (f"{path!r} stays whole: {why}" for path, why in traced.closed.items() if cut.startswith(f"{path}."))
    raise LocalgradError(f"{who}: {next(closed, 'forward does not call it')}.")


def _unpacks(nodes: Sequence[fx.Node], place: int) -> bool:
    """Whether a node takes one value out of a tuple that a submodule returned."""
    return place < len(nodes) and getattr(nodes[place].target, "__name__", "") == "getitem"


def _neighbours(traced: Traced, atoms: Sequence[Atom], ends: Mapping[str, int | None], place: int) -> str:
    """The nearest borders on both sides that have a name."""
    order = {node: index for index, node in enumerate(traced.nodes)}
    borders = {order[atom.nodes[-1]] for atom in atoms[:-1]}
    names: dict[int, str] = {}
    for path, end in ends.items():
        if end in borders and (end not in names or len(path) < len(names[end])):
            names[end] = path
    near = [
        names[end] for end in (*sorted(e for e in names if e < place)[-1:], *sorted(e for e in names if e > place)[:1])
    ]
    if not near:
        return "There is no border behind any submodule."
    return f"The nearest borders lie behind {' and '.join(map(repr, near))}."


def partition_at(backbone: Backbone, ends: Sequence[int], cuts: Sequence[str]) -> Partition:
    """Spans that end behind the blocks ``ends``, in any order; ``cuts`` are their names."""
    borders = [0, *sorted(end + 1 for end in ends), len(backbone.blocks)]
    named = [cut for _, cut in sorted(zip(ends, cuts, strict=True))]
    return from_sizes([stop - start for start, stop in pairwise(borders)], f"cuts({', '.join(named)})")


def cut_blocks(backbone: Backbone, cuts: Sequence[str]) -> Partition:
    """Spans that end behind the blocks named. Raises LocalgradError for a block that there is not."""
    for cut in cuts:
        if cut not in backbone.block_names:
            raise LocalgradError(
                f"localize: cuts: {backbone.name} has no block {cut!r}. {nearest(cut, backbone.block_names)}"
            )
    return partition_at(backbone, [backbone.block_names.index(cut) for cut in cuts], cuts)
