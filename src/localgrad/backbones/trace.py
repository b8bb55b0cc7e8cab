"""What a foreign network does, as a graph of calls to its own submodules, and the shapes of all values on the way.

torch.fx under a leaf rule: only the top level, plain containers and stages are traced into. What owns parameters or
buffers stays one call (plain tracing bakes ``training=True`` into norm layers), and so does every repeated block, so
that nothing inside it needs to be traceable.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, fx, nn

from localgrad.backbones.leaves import calls, meta_copy, run_on_meta
from localgrad.backbones.modes import unify
from localgrad.backbones.observed import NotAChainError, chain_graph, observed_chain
from localgrad.backbones.tracer import ROOT, Entry, Tracer, where
from localgrad.errors import LocalgradError
from localgrad.rng import seeded

BATCH = 2
"""Batch size of the meta run; a value that has it is recognised as the batch size where the structure says so too."""


@final
@dataclass(frozen=True)
class Traced:
    """``source`` is the input's node, ``nodes`` the calls in order, ``result`` the node of the logits.

    ``values`` holds what each node gave on the meta device for a batch of BATCH, in eval mode. ``sizes`` are the nodes
    whose values are numbers that depend on the size of the images but not on that of the batch. ``closed`` says why a
    submodule that was to be opened stayed one call.
    """

    source: fx.Node
    nodes: tuple[fx.Node, ...]
    result: fx.Node
    values: Mapping[fx.Node, object]
    sizes: frozenset[fx.Node] = frozenset()
    closed: Mapping[str, str] = field(default_factory=dict)

    def tensor(self, node: fx.Node) -> Tensor | None:
        """The node's value if it is one floating tensor with the batch in front."""
        value = self.values.get(node)
        if isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 2 and len(value) == BATCH:
            return value
        return None


class UntraceableError(Exception):
    """The top level cannot be traced, for the reason in the text."""


def _trace(model: nn.Module, tracer: Tracer) -> fx.Graph:
    """The graph of a meta copy with the model's own paths as targets. Raises UntraceableError at the top level."""
    try:
        with seeded(0):
            graph = tracer.trace(Entry(model))
    except Exception as error:
        raise UntraceableError(f"cannot be traced at its top level ({where(error)}): {error}") from error
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            node.target = str(node.target).removeprefix(f"{ROOT}.")
    return graph


def _reads_values(error: Exception) -> bool:
    """Whether torch refused to tell a value: tensors on the meta device have none."""
    text = str(error)
    return any(words in text for words in ("meta tensor", "Meta tensor", "meta device type tensor", "register_meta"))


def _scope(node: fx.Node) -> str:
    """Path of the innermost opened module that a node was recorded in; "" is the top level."""
    stack = node.meta.get("nn_module_stack", {})
    paths = [path.removeprefix(ROOT).removeprefix(".") for path, _ in stack.values()]
    return next((path for path in reversed(paths) if path != node.target), "")


def _trace_both(model: nn.Module, example: Tensor, opened: Collection[str]) -> tuple[fx.Graph, dict[str, str]]:
    """One graph for training and evaluation, and what stayed closed in it for which reason.

    Opened modules that do different things in the two become leaves. Raises UntraceableError at the top level.
    """
    leaves: dict[str, str] = {}
    while True:
        tracer = Tracer(leaves, opened, example)
        graph, evaluation = _trace(model.train(), tracer), _trace(model.eval(), Tracer(leaves, opened, example))
        different = unify(graph, evaluation)
        if different is None:
            return graph, {**tracer.closed, **leaves}
        scope = _scope(different)
        reason = f"does something else in training than in evaluation (first at {str(different.target)!r})"
        if not scope or scope in leaves:
            raise UntraceableError(f"{reason}; switch that off (aux_logits=False for Inception and GoogLeNet)")
        leaves[scope] = f"it {reason}"


def _without_checks(graph: fx.Graph, values: Mapping[fx.Node, object]) -> Iterator[fx.Node]:
    """The calls that matter: no assertions, and none of the sizes that only they read."""
    for node in reversed(graph.nodes):
        if node.op.startswith("call") and not node.users and not isinstance(values[node], Tensor):
            graph.erase_node(node)
    yield from (node for node in graph.nodes if node.op.startswith("call"))


def _graph_of(
    model: nn.Module, example: Tensor, *, cuts: Sequence[str], whole_children: bool
) -> tuple[fx.Graph, dict[str, str]]:
    """The graph of a meta copy for an ``example`` on the meta device, and what stayed closed in it."""
    if whole_children:
        return chain_graph(model._modules), {}
    opened = {cut[:dot] for cut in cuts for dot, letter in enumerate(cut) if letter == "."}
    try:
        return _trace_both(model, example, opened)
    except UntraceableError as error:
        says = f"localize: the forward of {type(model).__name__} {error}"
        if not cuts:
            raise LocalgradError(
                f"{says}. What helps: name the borders, cuts=['stem', 'stage1', ...], if the forward only hands one "
                "tensor from submodule to submodule; or give a list of modules, localize([stem, stage1, head], ...); "
                "or put the code that depends on the data or makes tensors into a submodule of its own."
            ) from error
        try:
            return chain_graph(observed_chain(model, tuple(example.shape), example.dtype, opened)), {}
        except NotAChainError as chain:
            raise LocalgradError(
                f"{says}. Cuts would help if its forward only handed one tensor from submodule to submodule, but "
                f"{chain}. Give a list of modules, localize([stem, stage1, head], ...), or put the code between the "
                "submodules into a submodule of its own."
            ) from error


def _run(graph: fx.Graph, model: nn.Module, example: Tensor) -> dict[fx.Node, Any]:
    """What every node gives on the meta device."""
    interpreter = fx.Interpreter(model, garbage_collect_values=False, graph=graph)
    with torch.no_grad(), torch.device("meta"), seeded(0):
        interpreter.run(example)
    return dict(interpreter.env)


def _is_size(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_size(part) for part in value)
    return isinstance(value, int | float)


def _sizes(graph: fx.Graph, model: nn.Module, values: Mapping[fx.Node, object], example: Tensor) -> frozenset[fx.Node]:
    """Nodes whose values are numbers that do not depend on the batch size."""
    numbers = [node for node in graph.nodes if node.op.startswith("call") and _is_size(values[node])]
    if not numbers:
        return frozenset()
    other = _run(graph, model, torch.cat([example, example[:1]]))
    return frozenset(node for node in numbers if other[node] == values[node])


def trace(model: nn.Module, example: Tensor, *, cuts: Sequence[str] = (), whole_children: bool = False) -> Traced:
    """What ``model`` does with a batch like ``example``; ``whole_children`` takes a Sequential's children as they are.

    ``cuts`` are paths of submodules that borders are wanted behind: what they lie in is opened, and a top level that
    cannot be traced is watched instead, if it only hands one tensor from submodule to submodule.

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
                    f"localize: the forward of {who} looks at the values of a tensor ({where(error)}, {behind}). "
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
    meta = torch.empty(shape, dtype=example.dtype, device="meta")
    graph, closed = _graph_of(copied, meta, cuts=cuts, whole_children=whole_children)
    values = _run(graph, copied.eval(), meta)
    nodes = tuple(_without_checks(graph, values))
    every = list(graph.nodes)
    source, result = every[0], every[-1].args[0]
    assert isinstance(result, fx.Node)  # the model's output was seen to be a tensor
    return Traced(source, nodes, result, values, _sizes(graph, copied, values, meta), closed)
