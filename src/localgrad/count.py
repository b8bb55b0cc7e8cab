"""Multiply-accumulates of a module's forward pass, counted layer call by layer call as the papers count them.

The convention of the papers' columns (golden/README.md, ptflops): convolution k*k*C_in*C_out/groups*H_out*W_out
(+ C_out*H_out*W_out with bias), BatchNorm 2 per element, ReLU 1 per element and call, adaptive average pooling and
max-pooling their input size, linear in*out + out, everything else 0.
"""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from localgrad.pooling import global_avg_pool
from localgrad.spec import Shape

M = TypeVar("M", bound=nn.Module)


def _conv(out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None, *_: Any, **__: Any) -> Counter[str]:
    # weight is (C_out, C_in / groups, kh, kw)
    return Counter(conv=out.numel() * weight[0].numel(), bias=0 if bias is None else out.numel())


def _linear(out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Counter[str]:
    return Counter(linear=x.numel() * weight.shape[0], bias=0 if bias is None else out.numel())


def _batch_norm(out: Tensor, *_: Any, **__: Any) -> Counter[str]:
    return Counter(norm=2 * out.numel())


def _relu(out: Tensor, *_: Any, **__: Any) -> Counter[str]:
    return Counter(relu=out.numel())


def _pool(_out: Tensor, x: Tensor, *_: Any, **__: Any) -> Counter[str]:
    return Counter(pool=x.numel())


def _max_pool(_out: Tensor, x: Tensor, *_: Any, **__: Any) -> Counter[str]:
    return Counter(max_pool=x.numel())


_RULES: dict[Callable[..., Any], Callable[..., Counter[str]]] = {
    F.conv1d: _conv, F.conv2d: _conv, F.conv3d: _conv, F.linear: _linear, F.batch_norm: _batch_norm,
    F.relu: _relu, F.relu_: _relu, torch.relu: _relu, torch.relu_: _relu, Tensor.relu: _relu, Tensor.relu_: _relu,
    F.max_pool2d: _max_pool, global_avg_pool: _pool, F.adaptive_avg_pool2d: _pool, F.adaptive_avg_pool1d: _pool,
}  # fmt: skip


@final
class _Counting(TorchFunctionMode):
    """Adds up the rules over the calls made inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        rule = _RULES.get(func)
        if rule is not None and func in (F.relu, F.relu_, torch.relu_, Tensor.relu_):
            size = args[0].numel() if args else kwargs["input"].numel()
            self.counts["relu"] += size
            return func(*args, **kwargs)
        out = func(*args, **kwargs)
        if rule is not None:
            self.counts.update(rule(out, *args, **kwargs))
        return out


def weightless_copy(module: M, device: torch.device | str, *, channels_last: bool = False) -> M:
    """A deep copy with new, uninitialised parameters and buffers on ``device``: the structure without the weights.

    No weight is read or copied; shapes, strides, dtypes and ``requires_grad`` are kept, gradients are not.
    ``channels_last`` lays tensors of four axes out in that format. On the meta device a BatchNorm that averages over
    all batches (``momentum=None``) averages over the last ones: it would ask for the count of batches, a value.
    """
    # `units` of a LocalNetwork are views past nn.Module's registration: what they hold beside its own is copied too.
    views = vars(module).get("units", module)
    memo: dict[int, Any] = {}
    for own in (module, views):
        for parameter in own.parameters():
            memo[id(parameter)] = nn.Parameter(_unfilled(parameter, device, channels_last), parameter.requires_grad)
        for buffer in own.buffers():
            memo[id(buffer)] = _unfilled(buffer, device, channels_last)
    copied = copy.deepcopy(module, memo)
    if torch.device(device).type == "meta":
        for part in copied.modules():
            if isinstance(part, nn.modules.batchnorm._NormBase) and part.momentum is None:
                part.momentum = 0.1
    return copied


def _unfilled(tensor: Tensor, device: torch.device | str, channels_last: bool) -> Tensor:
    if channels_last and tensor.ndim == 4:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=device, memory_format=torch.channels_last)
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)


def forward_macs(module: nn.Module, shape: Shape) -> tuple[Counter[str], Any]:
    """Forward MACs of one sample of ``shape`` by kind, and what came out.

    Kinds are conv, linear, bias, norm, relu, pool, max_pool.

    Runs a copy of the module in eval mode on the meta device: nothing is computed, the module is not touched. The
    output is whatever the module returns, with a batch axis of 1.
    """
    copied = weightless_copy(module, "meta").eval()
    with torch.no_grad(), _Counting() as counting:
        out = copied(torch.empty((1, *shape), device="meta"))
    return +counting.counts, out


def count_macs(module: nn.Module, shape: Shape) -> tuple[Counter[str], Shape]:
    """``forward_macs`` of a module that returns one tensor, and the shape of one sample of it."""
    counts, out = forward_macs(module, shape)
    return counts, tuple(out.shape[1:])
