"""A world without values: real code runs on tensors that have shapes, strides and storages of a size, but no memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from localgrad.errors import LocalgradError
from localgrad.network import LocalNetwork
from localgrad.spec import Batch, Shape


@final
class _ReadsAreOne(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Answers every ``item()`` with 1: a class that exists, and a count of steps that an optimiser may divide by."""

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1
        return func(*args, **(kwargs or {}))


@contextmanager
def fake_tensors() -> Iterator[None]:
    """Every tensor made inside is fake, on the CPU by default (autocast and optimisers behave as there)."""
    with torch.device("cpu"), FakeTensorMode(allow_non_fake_inputs=True), _ReadsAreOne():  # type: ignore[no-untyped-call]
        yield


def image_of(net: LocalNetwork, image: Sequence[int] | None) -> Shape:
    """The image shape (C, H, W) asked for, by default the backbone's.

    Raises LocalgradError when it is not three positive numbers or has other channels than the network reads.
    """
    own = net.backbone.image
    if image is None:
        return own
    if len(image) != len(own) or min(image) < 1 or image[0] != own[0]:
        raise LocalgradError(
            f"cost: image must be (C, H, W) with C={own[0]}, as {net.backbone.name} reads it, got {tuple(image)}. "
            f"Leave it out for {own}, or make the backbone with other channels."
        )
    return tuple(image)


def blank_batch(net: LocalNetwork, batch_size: int, image: Shape, channels_last: bool = False) -> Batch:
    """A Batch of ``batch_size`` with the fields that the network's losses read, in whatever world is active."""
    dtype = next(net.parameters()).dtype

    def images(rows: int) -> Tensor:
        x = torch.empty((rows, *image), dtype=dtype, device="cpu")
        return x.contiguous(memory_format=torch.channels_last) if channels_last else x

    needs = net.needs
    return Batch(
        x=images(batch_size),
        y=torch.empty(batch_size, dtype=torch.int64, device="cpu") if "y" in needs else None,
        image=images(batch_size) if "image" in needs else None,
        views=images(2 * batch_size) if "views" in needs else None,
        pair_similarity=torch.empty((2 * batch_size,) * 2, device="cpu") if "pair_similarity" in needs else None,
    )
