"""The chain of submodules that a forward pass was seen to be, for a top level that cannot be traced.

A forward that only hands one tensor from submodule to submodule may do so by any Python code: tests of sizes, loops,
counters. Watching it once shows the chain. What it does to a tensor in between would be lost, so this is an error.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, fx, nn

from localgrad.backbones.leaves import run_on_meta


class NotAChainError(Exception):
    """What a forward does besides handing one tensor from submodule to submodule."""


@final
@dataclass
class _Call:
    """One call of a submodule: the one tensor that it read, what it returned, the calls inside; with versions."""

    path: str
    given: tuple[Tensor, int] | None
    inside: "list[_Call]" = field(default_factory=list)
    result: object = None
    version: int = 0


def _watch(model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> _Call:
    """All calls of a forward pass of a meta copy."""
    stack: list[_Call] = []
    done: list[_Call] = []

    def enter(path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        one = len(args) == 1 and not kwargs and isinstance(args[0], Tensor)
        call = _Call(path, (args[0], args[0]._version) if one else None)
        if stack:
            stack[-1].inside.append(call)
        stack.append(call)

    def leave(result: object) -> None:
        call = stack.pop()
        call.result, call.version = result, result._version if isinstance(result, Tensor) else 0
        done.append(call)

    hooks = []
    for path, module in model.named_modules():
        hooks.append(
            module.register_forward_pre_hook(
                lambda _module, args, kwargs, path=path: enter(path, args, kwargs), with_kwargs=True
            )
        )
        hooks.append(module.register_forward_hook(lambda _module, _args, result: leave(result)))
    try:
        run_on_meta(model, shape, dtype)
    finally:
        for hook in hooks:
            hook.remove()
    return done[-1]


def _steps(call: _Call, opened: Collection[str]) -> list[str]:
    """Paths of the submodules whose chain the call is; raises NotAChainError when it does anything else."""
    if call.path and call.path not in opened:
        return [call.path]
    who = repr(call.path) if call.path else "the top level"
    if not call.inside or call.given is None:
        raise NotAChainError(f"{who} calls no submodule with one tensor")
    paths: list[str] = []
    before, (h, version) = "the input", call.given
    for sub in call.inside:
        if sub.given is None or sub.given[0] is not h or sub.given[1] != version:
            raise NotAChainError(f"{sub.path!r} does not read {before} as it is")
        paths += _steps(sub, opened)
        if not isinstance(sub.result, Tensor):
            raise NotAChainError(f"{sub.path!r} returns a {type(sub.result).__name__}, not one tensor")
        before, h, version = f"what {sub.path!r} returns", sub.result, sub.version
    if call.result is not h or call.version != version:
        raise NotAChainError(f"{who} does not return {before} as it is")
    return paths


def observed_chain(
    model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, opened: Collection[str]
) -> tuple[str, ...]:
    """Paths of the submodules that ``model``, a meta copy, applies one after the other to an input of ``shape``.

    ``opened`` are looked into. Raises NotAChainError when the forward does anything else, or not the same in training.
    """
    chains = [tuple(_steps(_watch(model.train(mode), shape, dtype), opened)) for mode in (True, False)]
    if chains[0] != chains[1]:
        raise NotAChainError("in training other submodules are called than in evaluation")
    return chains[0]


def chain_graph(paths: Collection[str]) -> fx.Graph:
    """The submodules under ``paths`` one after the other, as a graph."""
    graph = fx.Graph()
    node = graph.placeholder("x")
    for path in paths:
        node = graph.call_module(path, (node,))
    graph.output(node)
    return graph
