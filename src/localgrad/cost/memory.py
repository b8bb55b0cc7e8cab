"""How much memory a training step needs, found before training, without allocating it."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import nn

from localgrad.cost.fake import blank_batch, fake_tensors, image_of
from localgrad.cost.measure import Memory, live
from localgrad.count import weightless_copy
from localgrad.errors import LocalgradError, nearest
from localgrad.network import LocalNetwork
from localgrad.runtime import Sequential
from localgrad.runtime.sequential import MakeOptimizer
from localgrad.update import Precision


def sgd_nesterov(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The papers' optimiser: SGD with Nesterov momentum 0.9, one momentum per parameter."""
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True)


def memory(
    net: LocalNetwork,
    batch_size: int,
    image: Sequence[int] | None = None,
    precision: Precision | str = "float32",
    channels_last: bool = False,
    optimizer: MakeOptimizer | None = None,
    update: Literal["unit", "fused"] = "unit",
    accumulate: int = 1,
) -> Memory:
    """Live bytes of a training step of the Sequential runtime on ``batch_size`` images of shape ``image`` (C, H, W).

    ``image`` defaults to the backbone's, ``optimizer`` to SGD with Nesterov momentum; ``accumulate`` is the number of
    parts of a mini-batch. The peak counts parameters, buffers, gradients, optimiser states, the batch and activations,
    with temporaries between operators and without those inside a kernel. Two real steps run on a copy of ``net`` on
    fake CPU tensors and the second one is counted, so a new method, unit or precision needs no formula here, and no
    memory is needed; the network may be on any device, also meta, and is not touched. An optimiser that works on lists
    of tensors, the default on CUDA, holds temporaries of the size of a unit's gradients, after its activations are
    freed: they are not counted. float16 is counted as bfloat16: the sizes are the same, but for a few scalars of the
    gradient scaler. In both, the batch statistics of BatchNorm are counted 4 bytes per channel too small, as torch's
    fake kernel has them in the reduced precision.

    Raises LocalgradError for a batch size below 1, an image that does not fit the network, an unknown precision or
    update.
    """
    if batch_size < 1:
        raise LocalgradError(f"memory: batch_size must be at least 1, got {batch_size}.")
    for name, word, choices in (("precision", precision, tuple(Precision)), ("update", update, ("unit", "fused"))):
        if word not in choices:
            raise LocalgradError(f"memory: {name} {str(word)!r} is unknown. {nearest(str(word), choices)}")
    shape = image_of(net, image)
    with fake_tensors():
        copied = weightless_copy(net, "cpu", channels_last=channels_last)
        batch = blank_batch(net, batch_size, shape, channels_last)
        # A gradient scaler decides by the values of gradients whether to step at all; fake ones have none.
        sizes = Precision.BFLOAT16 if precision == Precision.FLOAT16 else precision
        made = optimizer or sgd_nesterov
        return live(Sequential(copied, made, update=update, precision=sizes, accumulate=accumulate), batch)
