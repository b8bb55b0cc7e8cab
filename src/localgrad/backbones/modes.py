"""One graph of a foreign network for training and evaluation, from a trace of each."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import zip_longest
from typing import Any

from torch import fx

FLAG = "training"
"""Target of the ``get_attr`` nodes that stand for the training flag of whatever module runs the graph."""


class _DifferError(Exception):
    """Two traces do not agree here."""


def _merge(train: Any, evaluation: Any, same: Mapping[fx.Node, fx.Node], flag: Callable[[], fx.Node]) -> Any:
    """The argument of both traces; True in training and False in evaluation becomes the training flag."""
    if isinstance(evaluation, fx.Node) and same.get(evaluation) is train:
        return train
    if isinstance(train, tuple | list) and isinstance(evaluation, tuple | list) and len(train) == len(evaluation):
        return type(train)([_merge(a, b, same, flag) for a, b in zip(train, evaluation, strict=True)])
    if isinstance(train, dict) and isinstance(evaluation, dict) and train.keys() == evaluation.keys():
        return {name: _merge(train[name], evaluation[name], same, flag) for name in train}
    if isinstance(train, slice) and isinstance(evaluation, slice):
        parts = ((getattr(train, name), getattr(evaluation, name)) for name in ("start", "stop", "step"))
        return slice(*(_merge(a, b, same, flag) for a, b in parts))
    if train is True and evaluation is False:
        return flag()
    if not isinstance(evaluation, fx.Node) and type(train) is type(evaluation) and train == evaluation:
        return train
    raise _DifferError


def _flag(graph: fx.Graph, user: fx.Node) -> fx.Node:
    """A node in front of ``user`` that reads the training flag."""
    with graph.inserting_before(user):
        return graph.create_node("get_attr", FLAG)


def unify(graph: fx.Graph, evaluation: fx.Graph) -> fx.Node | None:
    """Make the graph of training right for evaluation too; if it cannot be, the first node where they differ."""
    same: dict[fx.Node, fx.Node] = {}
    pairs: Iterator[tuple[fx.Node | None, fx.Node | None]] = zip_longest(list(graph.nodes), evaluation.nodes)
    for a, b in pairs:
        if a is None or b is None or (a.op, a.target) != (b.op, b.target):
            return b if a is None else a
        flag = partial(_flag, graph, a)
        try:
            a.args, a.kwargs = _merge(a.args, b.args, same, flag), _merge(a.kwargs, b.kwargs, same, flag)
        except _DifferError:
            return a
        same[b] = a
    return None
