"""Replicas of a stage: each works on its own rows of every mini-batch, and they update as one.

The gradient of a mini-batch is the sum over the replicas' parts, each weighted by its share of the rows: that of
``Sequential(accumulate=D)``. One all-reduce over all gradients of a unit, after its backward pass and before its
update. DistributedDataParallel would do the same from hooks in a forward pass of its own; a unit's step has its body,
auxiliary networks and losses apart (and neuron groups, cascades in between), so there is no such call to wrap.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from localgrad.distributed.world import World
from localgrad.placement import Placement
from localgrad.update import OptimizerUpdate

BRIEF = 2e-5
LONGEST = 2e-3


@final
class Replicas:
    """The processes that share a stage's units; ``group`` is torch.distributed's, None where there is only one."""

    def __init__(self, world: World, ranks: Sequence[int], group: dist.ProcessGroup | None) -> None:
        self.world = world
        self.ranks = tuple(ranks)
        self.group = group
        self.bytes = 0
        """What was handed to all-reduce for gradients."""
        for other in set(ranks) - {world.rank}:
            world.uses(other, group)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.ranks)

    def add_up(self, values: Tensor) -> None:
        """Replace ``values`` by the sum over the replicas; the same bits on each."""
        if self.group is not None:
            self._finish(dist.all_reduce(values, group=self.group, async_op=True))

    def follow_first(self, module: nn.Module) -> None:
        """Give the module the buffers of replica 0 (BatchNorm statistics): the rule for what no gradient updates."""
        if self.group is None:
            return
        for buffer in module.buffers():
            dense = buffer.contiguous()
            self._finish(dist.broadcast(dense, self.ranks[0], group=self.group, async_op=True))
            buffer.copy_(dense)

    def _finish(self, work: dist.Work | None) -> None:
        assert work is not None
        # Asked, not waited for: a replica that is gone may never answer.
        pause = BRIEF
        while not work.is_completed():
            time.sleep(pause)
            pause = min(2 * pause, LONGEST)
            if pause == LONGEST:
                self.world.check()
        try:
            work.wait()
        except RuntimeError as error:
            other = next(rank for rank in self.ranks if rank != self.world.rank)
            raise self.world.lost(other, error) from error


def replica_group(placement: Placement, device: str = "cpu") -> dist.ProcessGroup | None:
    """The process group of this process's stage; None without replicas. Every process has to call it."""
    if placement.replicas == 1:
        return None
    mesh = init_device_mesh(device, (placement.stages, placement.replicas), mesh_dim_names=("stage", "replica"))
    return mesh.get_group("replica")


@final
class ReplicatedUpdate:
    """An Update that adds up the gradients of all replicas of its unit before the optimiser steps."""

    def __init__(self, inner: OptimizerUpdate, replicas: Replicas) -> None:
        self.inner = inner
        self.replicas = replicas

    @property
    def seed(self) -> int:
        """Seed of whatever is drawn inside a step."""
        return self.inner.seed

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The precision region of the forward pass."""
        return self.inner.autocast(device)

    def backward(self, loss: Tensor, wanted: Tensor | None = None, *, retain_graph: bool = False) -> Tensor | None:
        """Add the gradients of this replica's rows."""
        return self.inner.backward(loss, wanted, retain_graph=retain_graph)

    def pull(self, h: Tensor, cotangent: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Add the gradients of this replica's rows."""
        self.inner.pull(h, cotangent, parameters)

    def apply(self) -> None:
        """All replicas' gradients, then the update: equal bits everywhere."""
        gradients = [parameter.grad for parameter in self.inner.parameters() if parameter.grad is not None]
        if gradients:
            self._add_up(gradients)
        self.inner.apply()

    def _add_up(self, gradients: Iterable[Tensor]) -> None:
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for gradient in gradients:
            by_type.setdefault(gradient.dtype, []).append(gradient)
        for alike in by_type.values():
            flat = torch.cat([gradient.reshape(-1) for gradient in alike])
            self.replicas.add_up(flat)
            self.replicas.bytes += flat.numel() * flat.element_size()
            for gradient, part in zip(alike, torch.split(flat, [one.numel() for one in alike]), strict=True):
                gradient.copy_(part.view(gradient.shape))
