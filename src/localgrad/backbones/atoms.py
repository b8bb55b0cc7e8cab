"""Where a traced network can be cut, and which cuts are borders of blocks. Pure functions of the trace."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import final

from torch import Tensor, fx, nn

from localgrad.backbones.leaves import weight_layers
from localgrad.backbones.trace import BATCH, Traced

_POOLING = re.compile(r"adaptive_?\w*pool|global_?\w*pool|^mean$", re.IGNORECASE)


@final
@dataclass(frozen=True)
class Atom:
    """Calls between two neighbouring places where one tensor is alive: from ``source`` to ``result``."""

    nodes: tuple[fx.Node, ...]
    source: fx.Node
    result: fx.Node


def is_batch_size(node: fx.Node, traced: Traced) -> bool:
    """Whether a node reads the batch size of a tensor: ``x.shape[0]`` or ``x.size(0)``."""
    if type(traced.values.get(node)) is not int or traced.values[node] != BATCH:
        return False
    if node.op == "call_method":
        return node.target == "size" and list(node.args[1:]) == [0]
    return getattr(node.target, "__name__", "") == "getitem" and bool(node.args[1] == 0)


def alive_behind(traced: Traced) -> list[tuple[fx.Node, ...]]:
    """What crosses a border behind each node: values that later calls read.

    Sizes need no tensor to carry them: a batch size is read off a block's own input, others are fixed.
    """
    done: set[fx.Node] = {traced.source}
    alive: dict[fx.Node, None] = {traced.source: None}
    crossing = []
    for node in traced.nodes:
        done.add(node)
        alive[node] = None
        alive = {n: None for n in alive if n is traced.result or any(user not in done for user in n.users)}
        crossing.append(tuple(n for n in alive if n not in traced.sizes and not is_batch_size(n, traced)))
    return crossing


def is_border(crossing: Sequence[fx.Node], traced: Traced) -> bool:
    """Whether a network can be cut where these values cross: exactly one tensor."""
    return len(crossing) == 1 and traced.tensor(crossing[0]) is not None


def find_atoms(traced: Traced) -> tuple[list[Atom], tuple[str, ...]]:
    """The finest runs of calls between places where one tensor is alive, and which values cross at other places."""
    atoms: list[Atom] = []
    crossings: list[str] = []
    start, source = 0, traced.source
    for index, (node, crossing) in enumerate(zip(traced.nodes, alive_behind(traced), strict=True)):
        if is_border(crossing, traced):
            atoms.append(Atom(traced.nodes[start : index + 1], source, crossing[0]))
            start, source = index + 1, crossing[0]
        elif node.op == "call_module":
            crossings.append(f"behind {label(node, traced)}: {labels(crossing, traced)}")
    return atoms, tuple(crossings)


def labels(crossing: Sequence[fx.Node], traced: Traced) -> str:
    """What crosses, in words."""
    return " and ".join(label(node, traced) for node in crossing)


def label(node: fx.Node, traced: Traced) -> str:
    """The path of the submodule that gave a value, or what else it is; its type if it is no tensor."""
    value, name = traced.values[node], repr(str(node.target) if node.op == "call_module" else node.name)
    kind = "" if isinstance(value, Tensor) else f" (a {type(value).__name__})"
    return f"the input{kind}" if node.op == "placeholder" else f"{name}{kind}"


def _has_weights(model: nn.Module, nodes: Sequence[fx.Node]) -> bool:
    return any(node.op == "call_module" and weight_layers(model.get_submodule(str(node.target))) for node in nodes)


def group_atoms(
    model: nn.Module, traced: Traced, atoms: Sequence[Atom], ends: Collection[int] = ()
) -> list[list[Atom]]:
    """Atoms as blocks, the head last. Norms and weightless calls go with the weights before them.

    Behind the atoms ``ends`` a block ends in any case; the head begins behind the last of them at the earliest.
    """
    head = max([_head_start(model, traced, atoms), *(end + 1 for end in ends)])
    groups: list[list[Atom]] = []
    weighty = True
    for index, atom in enumerate(atoms[:head]):
        has_weights = _has_weights(model, atom.nodes)
        if not groups or (has_weights and weighty) or index - 1 in ends:
            groups.append([])
            weighty = False
        weighty = weighty or has_weights
        groups[-1].append(atom)
    return [*groups, list(atoms[head:])]


def _head_start(model: nn.Module, traced: Traced, atoms: Sequence[Atom]) -> int:
    """Index of the atom that pools or flattens the last feature map; without one, of the last with weights."""
    weighty = [_has_weights(model, atom.nodes) for atom in atoms]
    axes = [value.ndim if (value := traced.tensor(atom.result)) is not None else 0 for atom in atoms]
    for k in range(1, len(atoms)):
        if not any(weighty[:k]):
            continue
        behind = any(has and n > 2 for has, n in zip(weighty[k:], axes[k:], strict=True))
        if axes[k] == 2 < axes[k - 1] or (not weighty[k] and _pools(model, traced, atoms[k], maps_behind=behind)):
            return k
    last = max((k for k, has in enumerate(weighty) if has), default=0)
    return last if any(weighty[:last]) else 0


def _pools(model: nn.Module, traced: Traced, atom: Atom, *, maps_behind: bool) -> bool:
    """Whether an atom pools to 1x1, or adaptively to any size when no layer works on feature maps behind it."""
    value = traced.tensor(atom.result)
    kinds = [
        type(model.get_submodule(str(n.target))).__name__
        if n.op == "call_module"
        else str(getattr(n.target, "__name__", n.target))
        for n in atom.nodes
    ]
    if value is None or value.ndim != 4 or not any(_POOLING.search(kind) for kind in kinds):
        return False
    return tuple(value.shape[2:]) == (1, 1) or not maps_behind


def block_name(model: nn.Module, group: Sequence[Atom], default: str) -> str:
    """Path of the submodule with the weights; of the one that holds them all, or of the first, if there are several."""
    paths = [str(n.target) for atom in group for n in atom.nodes if _has_weights(model, [n])]
    if not paths:
        return default
    steps = zip(*(path.split(".") for path in paths), strict=False)
    common = takewhile(lambda step: len(set(step)) == 1, steps)
    return ".".join(step[0] for step in common) or paths[0]


def first_call(group: Sequence[Atom]) -> str:
    """Path of the first submodule that is called in a block; "block" if none is."""
    return next((str(n.target) for atom in group for n in atom.nodes if n.op == "call_module"), "block")
