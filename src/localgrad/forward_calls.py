"""The forward pass of a module that is not ours as a sequence of its calls, so that it can be cut between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import fx, nn
from torch.utils._pytree import tree_map_only

from localgrad.count import weightless_copy
from localgrad.rng import seeded

_NUMBERS = {"size", "dim", "item", "numel", "tolist", "chunk", "split", "unbind", "getitem", "getattr"}
"""Calls that may give something else than one tensor."""


@final
@dataclass(frozen=True)
class _Value:
    """What a call gave, by its name."""

    name: str


@final
class Call(nn.Module):
    """One call of a forward pass: it takes the values that are still needed, and returns those still needed after it.

    ``target`` is a submodule, in place, a function, or the name of a method of a tensor.
    """

    def __init__(
        self,
        target: Any,
        given: tuple[Any, Mapping[str, Any]],
        name: str,
        before: tuple[str, ...],
        after: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.target = target
        self.given, self.name, self.before, self.after = given, name, before, after

    def forward(self, *h: Any) -> Any:
        """The values behind the call: a tensor, or several in a tuple."""
        values = dict(zip(self.before, h, strict=True))
        args, kwargs = tree_map_only(_Value, lambda value: values[value.name], self.given)
        if isinstance(self.target, str):
            values[self.name] = getattr(args[0], self.target)(*args[1:], **kwargs)
        else:
            values[self.name] = self.target(*args, **kwargs)
        return values[self.name] if self.after == (self.name,) else tuple(values[name] for name in self.after)


def has_weights(module: nn.Module) -> bool:
    """Whether a module has parameters of two or more axes: a norm has no weights, nor have biases."""
    return any(parameter.ndim > 1 for parameter in module.parameters())


def has_hooks(module: nn.Module) -> bool:
    """Whether something is called beside the module's forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


@final
class _Tracer(fx.Tracer):
    """Opens what only puts modules with weights together; dropout and its like read their own mode."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        own = next(m.parameters(recurse=False), None) is not None or next(m.buffers(recurse=False), None) is not None
        return own or has_hooks(m) or not has_weights(m) or super().is_leaf_module(m, module_qualified_name)


def forward_calls(module: nn.Module) -> list[nn.Module]:
    """The calls of ``module``, each a new module that holds the submodule it calls; the module itself if that fails.

    They do the same bit for bit. Modules stay whole that have fewer than two parts with weights, that cannot be traced
    with one input, that do something else in training than in evaluation, that keep values, or that use sizes or
    parameters outside of submodules. Nothing is computed, drawn or changed.
    """
    nodes = _opened(module)
    return [module] if isinstance(nodes, str) else _calls(module, nodes)


def why_whole(module: nn.Module) -> str | None:
    """Why ``forward_calls`` leaves a module whole that has several parts with weights; None for any other module."""
    nodes = _opened(module) if sum(map(has_weights, module.children())) > 1 else ""
    return nodes if isinstance(nodes, str) and nodes else None


def _opened(module: nn.Module) -> list[fx.Node] | str:
    """The traced calls of a module with its input and output, or why it stays whole."""
    if sum(map(has_weights, module.children())) < 2:
        return "it has fewer than two parts with weights"
    if next(module.parameters(recurse=False), None) is not None:
        return "it has parameters of its own beside those of its parts"
    copied = weightless_copy(module, "meta")
    try:
        with seeded(0), torch.device("meta"):
            graph, other = _Tracer().trace(copied.train()), _Tracer().trace(copied.eval())
    except Exception as error:  # noqa: BLE001 - a forward may raise anything when it meets a proxy
        first, _, _ = str(error).partition("\n")[0].partition(". ")
        return f"it cannot be traced ({type(error).__name__}: {first})"
    if any(isinstance(value, fx.Proxy) for part in copied.modules() for value in vars(part).values()):
        return "it keeps values of its forward pass"
    nodes = list(graph.nodes)
    if not _plain(nodes):
        return "its forward pass uses sizes, constants, or several inputs or outputs"
    return nodes if str(graph) == str(other) else "it does something else in training than in evaluation"


def _plain(nodes: list[fx.Node]) -> bool:
    """Whether there are one input, one output, and calls between that give a tensor each, all of which is used."""
    first, *calls, last = nodes
    return (
        first.op == "placeholder"
        and len(calls) > 1
        and last.args[0] is calls[-1]
        and all(node.op in ("call_module", "call_function", "call_method") and node.users for node in calls)
        and not any(getattr(node.target, "__name__", node.target) in _NUMBERS for node in calls)
    )


def _calls(module: nn.Module, nodes: list[fx.Node]) -> list[nn.Module]:
    source, *calls, _ = nodes
    place = {node: index for index, node in enumerate(nodes)}
    found: list[nn.Module] = []
    alive = [source]
    for node in calls:
        after = [one for one in (node, *alive) if any(place[user] > place[node] for user in one.users)]
        given = tree_map_only(fx.Node, lambda one: _Value(one.name), (node.args, node.kwargs))
        target = module.get_submodule(str(node.target)) if node.op == "call_module" else node.target
        names = tuple(one.name for one in alive), tuple(one.name for one in after)
        found.append(Call(target, given, node.name, *names))
        alive = after
    return found
