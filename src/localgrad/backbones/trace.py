"""What a foreign network does, as a graph of calls to its own submodules, and the shapes of all values on the way.

torch.fx under a leaf rule: only the top level, plain containers and stages are traced into. What owns parameters or
buffers stays one call (plain tracing bakes ``training=True`` into norm layers), and so does every repeated block, so
that nothing inside it needs to be traceable.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, fx, nn

from localgrad.backbones.leaves import calls, is_opened, meta_copy, run_on_meta
from localgrad.errors import LocalgradError
from localgrad.rng import seeded

BATCH = 2
"""Batch size of the meta run; a value that has it is recognised as the batch size where the structure says so too."""

FLAG = "training"
"""Target of the ``get_attr`` nodes that stand for the training flag of whatever module runs the graph."""

_ROOT = "model"


@final
@dataclass(frozen=True)
class Traced:
    """``source`` is the input's node, ``nodes`` the calls in order, ``result`` the node of the logits.

    ``values`` holds what each node gave on the meta device for a batch of BATCH, in eval mode.
    """

    source: fx.Node
    nodes: tuple[fx.Node, ...]
    result: fx.Node
    values: Mapping[fx.Node, object]

    def tensor(self, node: fx.Node) -> Tensor | None:
        """The node's value if it is one floating tensor with the batch in front."""
        value = self.values.get(node)
        if isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 2 and len(value) == BATCH:
            return value
        return None


@final
class _Entry(nn.Module):
    """Calls the model with one argument, so that its others keep their defaults instead of becoming inputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        return self.model(x)


@final
class _Tracer(fx.Tracer):
    """Traces into opened modules; one that cannot be traced becomes a leaf."""

    def __init__(self, leaves: frozenset[str]) -> None:
        super().__init__()
        self.proxy_buffer_attributes = True
        self.leaves = leaves

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Everything but the top level and opened modules."""
        if module_qualified_name == _ROOT:
            return False
        return module_qualified_name.removeprefix(f"{_ROOT}.") in self.leaves or not is_opened(m)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Trace into an opened module, and take back what was recorded if that fails."""
        path = self.path_of_module(m)
        if path == _ROOT or self.is_leaf_module(m, path):
            return super().call_module(m, forward, args, kwargs)
        before, stack = set(self.graph.nodes), self.module_stack.copy()
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:  # noqa: BLE001 - a forward may raise anything when it meets a proxy
            for node in reversed(list(self.graph.nodes)):
                if node not in before:
                    self.graph.erase_node(node)
            self.module_stack = stack
            return self.create_proxy("call_module", path, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        """A node of its own for every use of a parameter: a shared one might be taken back."""
        return super().getattr(attr, attr_val, {})

    def create_arg(self, a: Any) -> Any:
        """Refuse tensors that forward makes itself: they would be frozen into the graph, on one device."""
        argument = super().create_arg(a)
        if isinstance(a, Tensor) and isinstance(argument, fx.Node) and str(argument.target).startswith("_tensor_const"):
            raise TypeError(f"forward makes a tensor of shape {tuple(a.shape)} that does not depend on its input")
        return argument


def _trace(model: nn.Module, leaves: frozenset[str]) -> fx.Graph:
    """The graph of a meta copy with the model's own paths as targets. Raises LocalgradError at the top level."""
    tracer = _Tracer(leaves)
    try:
        with seeded(0):
            graph = tracer.trace(_Entry(model))
    except Exception as error:
        raise LocalgradError(
            f"localize: the forward of {type(model).__name__} cannot be traced at its top level "
            f"({_where(error)}): {error}. Put the code that depends on the data or makes tensors into a submodule of "
            "its own, or give an nn.Sequential of the network's parts."
        ) from error
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            node.target = str(node.target).removeprefix(f"{_ROOT}.")
    return graph


def _where(error: Exception) -> str:
    """File, line and function of the last frame that is neither torch's nor of this folder."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/torch/" not in f.filename and Path(f.filename).parent != Path(__file__).parent]
    return f"{own[-1].filename}:{own[-1].lineno} in {own[-1].name}" if own else "inside torch"


def _reads_values(error: Exception) -> bool:
    """Whether torch refused to tell a value: tensors on the meta device have none."""
    text = str(error)
    return any(words in text for words in ("meta tensor", "Meta tensor", "meta device type tensor", "register_meta"))


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


def _scope(node: fx.Node) -> str:
    """Path of the innermost opened module that a node was recorded in; "" is the top level."""
    stack = node.meta.get("nn_module_stack", {})
    paths = [path.removeprefix(_ROOT).removeprefix(".") for path, _ in stack.values()]
    return next((path for path in reversed(paths) if path != node.target), "")


def _flag(graph: fx.Graph, user: fx.Node) -> fx.Node:
    """A node in front of ``user`` that reads the training flag."""
    with graph.inserting_before(user):
        return graph.create_node("get_attr", FLAG)


def _unify(graph: fx.Graph, evaluation: fx.Graph) -> fx.Node | None:
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


def _trace_both(model: nn.Module) -> fx.Graph:
    """One graph for training and evaluation. Opened modules that do different things in the two become leaves."""
    leaves: frozenset[str] = frozenset()
    while True:
        graph, evaluation = _trace(model.train(), leaves), _trace(model.eval(), leaves)
        different = _unify(graph, evaluation)
        if different is None:
            return graph
        scope = _scope(different)
        if not scope or scope in leaves:
            raise LocalgradError(
                f"localize: the top level of {type(model).__name__} does something else in training than in evaluation "
                f"(first at {str(different.target)!r}). Switch that off (aux_logits=False for Inception and "
                "GoogLeNet), or put it into a submodule of its own."
            )
        leaves |= {scope}


def _without_checks(graph: fx.Graph, values: Mapping[fx.Node, object]) -> Iterator[fx.Node]:
    """The calls that matter: no assertions, and none of the sizes that only they read."""
    for node in reversed(graph.nodes):
        if node.op.startswith("call") and not node.users and not isinstance(values[node], Tensor):
            graph.erase_node(node)
    yield from (node for node in graph.nodes if node.op.startswith("call"))


def chain_graph(model: nn.Module) -> fx.Graph:
    """The graph of a plain Sequential: its children one after the other, without tracing."""
    graph = fx.Graph()
    node = graph.placeholder("x")
    for name in model._modules:
        node = graph.call_module(name, (node,))
    graph.output(node)
    return graph


def trace(model: nn.Module, example: Tensor, *, whole_children: bool = False) -> Traced:
    """What ``model`` does with a batch like ``example``; ``whole_children`` takes a Sequential's children as they are.

    Raises LocalgradError when the model does not run on the example, gives no logits_BK or cannot be traced.
    """
    who, copied, shape = type(model).__name__, meta_copy(model), (BATCH, *example.shape[1:])
    with calls(copied) as called:
        try:
            logits = run_on_meta(copied, shape, example.dtype)
        except Exception as error:
            behind = f"in or behind {called[-1]!r}" if called else "before the first submodule"
            if _reads_values(error):
                first = str(error).partition(". ")[0].rstrip("!.")
                raise LocalgradError(
                    f"localize: the forward of {who} looks at the values of a tensor ({_where(error)}, {behind}). "
                    f"torch says: {first}. A network is cut without computing anything, so what its forward "
                    "does must not depend on values: take torch.where or a mask instead of `if`, float() or "
                    "nonzero(), or take the decision outside of forward."
                ) from error
            raise LocalgradError(
                f"localize: {who} does not run on an example of shape {tuple(example.shape)}, {example.dtype}, read as "
                f"(B, C, H, W) on the meta device. torch says, {behind}: {error}. Give a batch as the network expects "
                "it, such as example=torch.zeros(1, 3, 224, 224)."
            ) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != BATCH:
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise LocalgradError(
            f"localize: {who} must map a batch to logits of shape (B, classes), got {got} for B={BATCH}. "
            "Wrap it in a module that returns logits."
        )
    graph = chain_graph(copied) if whole_children else _trace_both(copied)
    interpreter = fx.Interpreter(copied.eval(), garbage_collect_values=False, graph=graph)
    with torch.no_grad(), torch.device("meta"), seeded(0):
        interpreter.run(torch.empty(shape, dtype=example.dtype, device="meta"))
    values = dict(interpreter.env)
    nodes = tuple(_without_checks(graph, values))
    every = list(graph.nodes)
    source, result = every[0], every[-1].args[0]
    assert isinstance(result, fx.Node)  # the model's output was seen to be a tensor
    return Traced(source, nodes, result, values)
