"""Which parts of a foreign network are opened, and a copy of it to look at: the ground under ``trace.py``."""

import copy
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from localgrad.rng import seeded

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def weight_layers(module: nn.Module) -> int:
    """Number of layers with weights of two or more axes: convolutions and linear layers, not norms or scales."""
    return sum(any(p.ndim >= 2 for p in part.parameters(recurse=False)) for part in module.modules())


def is_stage(module: nn.Module) -> bool:
    """Whether the module is a run of repeated blocks: two siblings of one class with several weight layers each.

    Siblings count inside a plain container, or as numbered attributes (``b1``, ``b2``). The two different MLPs of a
    Mixer block are none.
    """
    contained = type(module) in _CONTAINERS or isinstance(module, nn.Sequential)
    children = [
        child
        for name, child in module.named_children()
        if type(child) not in _CONTAINERS and (contained or re.search(r"\d$", name)) and weight_layers(child) >= 2
    ]
    if max(Counter(map(type, children)).values(), default=0) >= 2:
        return True
    return any(is_stage(child) for child in module.children())


def is_opened(module: nn.Module) -> bool:
    """Whether borders may lie inside a submodule: plain Sequentials and stages, never norms, which own tensors only."""
    return type(module) in _CONTAINERS or is_stage(module)


def meta_copy(model: nn.Module) -> nn.Module:
    """A copy of ``model`` in eval mode whose tensors are on the meta device; nothing is allocated or touched."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for holder in (module._parameters, module._buffers, module.__dict__):
            for value in holder.values():
                if not isinstance(value, Tensor) or is_lazy(value):
                    continue
                with torch.no_grad():
                    empty = torch.empty_like(value, device="meta")
                is_parameter = isinstance(value, nn.Parameter)
                memo[id(value)] = nn.Parameter(empty, value.requires_grad) if is_parameter else empty
    return copy.deepcopy(model, memo).eval()


def run_on_meta(module: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> Any:
    """Output of ``module``, a meta copy, for a meta batch of ``shape``. Draws and changes nothing."""
    with torch.no_grad(), torch.device("meta"), seeded(0):
        return module(torch.empty(shape, dtype=dtype, device="meta"))


@contextmanager
def calls(model: nn.Module) -> Iterator[list[str]]:
    """Paths of the submodules in the order in which they are called inside; says where a forward pass stopped."""
    paths: list[str] = []
    hooks = [
        part.register_forward_pre_hook(lambda _module, _args, path=path: paths.append(path))
        for path, part in model.named_modules()
    ]
    try:
        yield paths
    finally:
        for hook in hooks:
            hook.remove()
