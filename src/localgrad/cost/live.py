"""Follows every tensor storage from birth to death: live bytes, the same on every machine.

*Live* is the sum of the sizes of all storages that some tensor still holds. What a caching allocator rounds up or
keeps, and workspaces inside a kernel, are not in it.
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Kind = Literal["parameters", "buffers", "gradients", "optimizer", "input", "activations"]
Phase = Literal["forward", "backward", "update"]


class Moment(NamedTuple):
    """The state after one operator: ``unit`` is the index of the unit that was stepping, ``live`` is in bytes.

    ``phase`` is "backward" for all that autograd runs, with what it recomputes, "update" for an optimiser's step, and
    "forward" for the rest.
    """

    unit: int
    op: str
    live: int
    phase: Phase = "forward"


@dataclass(slots=True)
class Storage:
    """One storage's life. ``born`` and ``died`` are indices of moments; ``died`` is None while it lives."""

    nbytes: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    op: str
    unit: int
    born: int
    kind: Kind = "activations"
    died: int | None = None

    def alive(self, moment: int) -> bool:
        """Whether it was alive after the operator of this moment."""
        return self.born <= moment and (self.died is None or self.died > moment)


@final
class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside this mode every storage that an operator returns is followed, real or fake.

    Storages that exist before must be named with ``mark``. ``unit`` and ``updating``, whether an optimiser steps, are
    set from outside and label what follows.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.unit = 0
        self.updating = False
        self.live = 0
        self.timeline: list[Moment] = []
        self.storages: list[Storage] = []
        self._followed: dict[int, tuple[weakref.ref[torch.UntypedStorage], Storage]] = {}

    def mark(self, tensor: Tensor, kind: Kind) -> None:
        """Say what the storage of ``tensor`` is, over its whole life; follow it from now on if it is new."""
        self._follow(tensor, "before").kind = kind

    def peak(self, start: int = 0) -> int:
        """Index of the first moment with the most live bytes, among those from ``start`` on."""
        return max(range(start, len(self.timeline)), key=lambda moment: self.timeline[moment].live)

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.prim.device.default:  # fake tensors ask for it, real ones do not
            return out
        op = str(func)
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._follow(leaf, op)
        self.timeline.append(Moment(self.unit, op, self.live, self._phase()))
        return out

    def _phase(self) -> Phase:
        if self.updating:
            return "update"
        return "forward" if torch._C._current_autograd_node() is None else "backward"

    def _follow(self, tensor: Tensor, op: str) -> Storage:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key not in self._followed:
            born = Storage(storage.nbytes(), tuple(tensor.shape), tensor.dtype, op, self.unit, born=len(self.timeline))
            self._followed[key] = (weakref.ref(storage, partial(self._dead, key)), born)
            self.storages.append(born)
            self.live += born.nbytes
        return self._followed[key][1]

    def _dead(self, key: int, _: weakref.ref[torch.UntypedStorage]) -> None:
        _, storage = self._followed.pop(key)
        storage.died = len(self.timeline)
        self.live -= storage.nbytes
