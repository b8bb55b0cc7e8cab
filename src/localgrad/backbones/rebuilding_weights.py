"""A foreign module once more, with weights of its own: the same configuration, nothing shared, freshly drawn."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

_RUNNING = {"running_mean": 0, "running_var": 1, "num_batches_tracked": 0}


def fresh_copy(module: nn.Module) -> nn.Module:
    """A copy of ``module`` on torch's default device (also meta) with new weights, in training mode.

    Parameters are drawn from the global random state by ``draw_weights`` and all get a gradient; no weight of
    ``module`` is read. Buffers keep their values, since they are configuration (window masks, indices of relative
    positions), but for running statistics, which start anew. Other buffers without values, on the meta device, stay
    there.
    """
    device = torch.empty(0).device
    memo: dict[int, Any] = {}
    for part in module.modules():
        for parameter in part._parameters.values():
            if parameter is not None and not is_lazy(parameter):
                empty = torch.empty_like(parameter, device=device, requires_grad=False)
                memo[id(parameter)] = nn.Parameter(empty, parameter.is_floating_point())
        for holder in (part._buffers, part.__dict__):
            for name, value in holder.items():
                if isinstance(value, Tensor):
                    running = name in _RUNNING and holder is part._buffers
                    memo[id(value)] = torch.empty_like(value, device=device) if running else _kept(value, device)
    copied = copy.deepcopy(module, memo).train()
    if device.type != "meta":
        draw_weights(copied)
    return copied


def _kept(value: Tensor, device: torch.device) -> Tensor:
    """The same values in memory of their own."""
    return value.detach().to("meta" if value.is_meta else device, copy=True)


def draw_weights(module: nn.Module) -> None:
    """Draw all parameters of ``module`` in place, parts before what is inside them.

    A part with ``reset_parameters`` has its own rule (all of torch's layers). Parameters of others: truncated normal
    with deviation 0.02 for matrices, positions and tokens, 0 for biases, 1 for scales.
    """
    with torch.no_grad():
        for part in module.modules():
            for name, parameter in part.named_parameters(recurse=False):
                if parameter.is_floating_point() and not is_lazy(parameter):
                    _draw(name, parameter)
            for name, value in _RUNNING.items():
                running = part._buffers.get(name)
                if running is not None and not running.is_meta:
                    running.fill_(value)
            reset = _own_rule(part)
            if reset is not None:
                reset()


def _own_rule(part: nn.Module) -> Callable[[], object] | None:
    """The part's method that draws its parameters; nn.MultiheadAttention has it under a private name."""
    for name in ("reset_parameters", "_reset_parameters"):
        method = getattr(part, name, None)
        if inspect.ismethod(method) and all(
            argument.default is not argument.empty for argument in inspect.signature(method).parameters.values()
        ):
            return method
    return None


def _draw(name: str, parameter: Tensor) -> None:
    """A parameter that has no rule of its own, by its shape and name."""
    if sum(size > 1 for size in parameter.shape) > 1 or any(word in name for word in ("token", "embed")):
        nn.init.trunc_normal_(parameter, std=0.02)
    elif any(word in name for word in ("bias", "beta", "shift")):
        nn.init.zeros_(parameter)
    else:
        nn.init.ones_(parameter)
