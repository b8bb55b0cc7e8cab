"""What a block of a foreign network does with its input: which axis holds the channels, and whether it writes there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from localgrad.backbones.leaves import meta_copy
from localgrad.rng import seeded
from localgrad.spec import Shape

_FIRST = (("in_channels", "out_channels"), ("num_features", "num_features"), ("num_channels", "num_channels"))
_LAST = (("in_features", "out_features"), ("normalized_shape", "normalized_shape"))


@final
@dataclass(frozen=True)
class LayerCall:
    """One call of a layer: shapes of one sample before and behind it, and the axis of channels in both.

    The axis is 0 for convolutions, batch and group norms, and counted from the end, -1, for linear layers and layer
    norms; ``widths`` are the channels before and behind.
    """

    before: Shape
    after: Shape
    axis: int
    widths: tuple[int, int]


def channel_axis(shape: Shape, before: Sequence[LayerCall], behind: Sequence[LayerCall]) -> int:
    """The axis of the channels in features of ``shape``; the calls are those of the blocks before and behind them.

    The first layer behind the border that reads features of just this shape decides by its kind: the first axis for
    a convolution, batch or group norm, the last for a linear layer or layer norm. Where there is none, the last layer
    before the border that leaves just this shape; then the only axis that is as long as the first layer behind is wide.
    Where nothing decides, the first axis of three (a feature map), else the last.
    """
    if len(shape) == 1:
        return 0
    for call in behind:
        if call.before == shape:
            return call.axis % len(shape)
    for call in reversed(before):
        if call.after == shape:
            return call.axis % len(shape)
    for call in behind[:1]:
        fitting = [axis for axis, size in enumerate(shape) if size == call.widths[0]]
        if len(fitting) == 1:
            return fitting[0]
    return 0 if len(shape) == 3 else len(shape) - 1


@final
@dataclass(frozen=True)
class Look:
    """The layers that a module calls, in order, and whether it writes into its input (a ReLU in place at its start)."""

    calls: tuple[LayerCall, ...]
    writes: bool


def look(module: nn.Module, shape: Shape) -> Look:
    """What ``module`` does with samples of ``shape``. Runs a copy on the meta device in evaluation mode.

    A dropout in place writes in training only; it is recognised by its flag.
    """
    copied = meta_copy(module)
    calls: list[LayerCall] = []
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.get_default_dtype())
    h = torch.empty((2, *shape), dtype=dtype, device="meta")
    version, drops = h._version, False

    def record(layer: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        nonlocal drops
        if args and isinstance(args[0], Tensor) and isinstance(out, Tensor):
            own = args[0] is h or args[0]._base is h
            drops = drops or (own and "Dropout" in type(layer).__name__ and getattr(layer, "inplace", False) is True)
            call = _call(layer, tuple(args[0].shape[1:]), tuple(out.shape[1:]))
            if call is not None:
                calls.append(call)

    for part in copied.modules():
        part.register_forward_hook(record)
    with torch.no_grad(), torch.device("meta"), seeded(0):
        copied(h)
    return Look(tuple(calls), drops or h._version != version)


def _call(layer: nn.Module, before: Shape, after: Shape) -> LayerCall | None:
    """What the call of a layer says about axes; None for other modules, and for samples that are vectors."""
    if len(before) < 2 or len(before) != len(after):
        return None
    # A layer norm of feature maps has both kinds of names: LayerNorm2d in timm and torchvision.
    last_first = () if type(layer).__name__.endswith("2d") else tuple((names, -1) for names in _LAST)
    for names, axis in (*((names, 0) for names in _FIRST), *last_first, *((names, 0) for names in _LAST)):
        widths = tuple(_width(getattr(layer, name, None)) for name in names)
        if widths[0] and (before[axis], after[axis]) == widths:
            return LayerCall(before, after, axis, (before[axis], after[axis]))
    return None


def _width(value: object) -> int:
    """The number of channels that a layer's attribute says; 0 for none."""
    last = value[-1] if isinstance(value, tuple | list) and len(value) == 1 else value
    return last if type(last) is int else 0
