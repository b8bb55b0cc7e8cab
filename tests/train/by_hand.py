"""The processes of a distributed run, made by hand in one: each with weights for its own units only."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from localgrad import Batch, LocalNetwork, Sequential, equal_blocks, localize
from localgrad.methods import DGL
from localgrad.train.checkpoint import Progress
from localgrad.train.shard_steps import read_step
from localgrad.train.shards import load_shard_state, save_shard
from localgrad.update import OptimizerUpdate
from tests.conftest import random_batch, sgd, tiny_resnet

BACKBONE = tiny_resnet()
UNITS = 4
FACTS = {"seed": 0, "epochs": 3, "device": "cpu"}


def network(seed: int = 0) -> LocalNetwork:
    """Four units of one to three blocks each."""
    return localize(BACKBONE, DGL(), partition=equal_blocks(UNITS), seed=seed)


def batch(step: int) -> Batch:
    return replace(random_batch(BACKBONE, seed=step), step=step)


def trained(steps: int = 2) -> Sequential:
    """One process with all units after some steps."""
    loop = Sequential(network(), sgd)
    for step in range(steps):
        loop.step(batch(step))
    return loop


def shares(ranks: int) -> list[list[int]]:
    """Places of the units that each process holds."""
    return [part.tolist() for part in torch.arange(UNITS).tensor_split(ranks)]


def progress_of(places: Sequence[int], step: int, *, epoch: int = 0, batch: int = 2, tail: bool = False) -> Progress:
    """What a process knows: its own units' sums, and the accuracies where it holds the last unit."""
    known: dict[str, Any] = {"last": {"epoch": 1}, "best": {"epoch": 1}, "metrics_bytes": 77} if tail else {}
    sums = {str(place): {"ce": place + 0.5} for place in places}
    seen = {str(place): 8 * step for place in places}
    return Progress(epoch, batch, step, sums=sums, seen=seen, samples=40, **known)


def save_rank(folder: Path, loop: Sequential, ranks: int, rank: int, **changes: Any) -> Path:
    """What one of ``ranks`` processes would save of this state."""
    places = changes.pop("places", shares(ranks)[rank])
    words = {name: changes.pop(name) for name in ("epoch", "batch") if name in changes}
    step = changes.pop("step", loop.steps)
    settings: dict[str, Any] = {
        "step": step,
        "rank": rank,
        "ranks": ranks,
        "net": loop.net,
        "units": places,
        "updates": [loop.updates[place] for place in places],
        "facts": FACTS,
        "progress": progress_of(places, step, tail=UNITS - 1 in places, **words),
    }
    return save_shard(folder, **{**settings, **changes})


def save_ranks(folder: Path, loop: Sequential, ranks: int, **changes: Any) -> list[Path]:
    """What all processes would save."""
    return [save_rank(folder, loop, ranks, rank, **changes) for rank in range(ranks)]


@dataclass
class Rank:
    """One process: weights of its own units only, and their updates."""

    places: list[int]
    net: LocalNetwork
    updates: list[OptimizerUpdate]

    @property
    def names(self) -> list[str]:
        return [self.net.unit_list()[place].name for place in self.places]

    def load(self, folder: Path, step: int) -> Progress:
        header, tensors = read_step(folder, step, self.names)
        return load_shard_state(self.net, self.places, self.updates, header, tensors, "the checkpoint")

    def save(self, folder: Path, rank: int, ranks: int, progress: Progress) -> Path:
        return save_shard(
            folder,
            step=progress.step,
            rank=rank,
            ranks=ranks,
            net=self.net,
            units=self.places,
            updates=self.updates,
            facts=FACTS,
            progress=progress,
        )

    def step(self, h: Tensor, batch: Batch) -> Tensor:
        """Train its units on one mini-batch; what the next process reads."""
        for place, update in zip(self.places, self.updates, strict=True):
            h, _ = self.net.unit_list()[place].step(h, batch, update)
        return h


def make_rank(places: list[int], seed: int = 5) -> Rank:
    """A process as it starts: other weights than any that are loaded."""
    specs = DGL().units(BACKBONE, equal_blocks(UNITS)(BACKBONE))
    net = LocalNetwork(BACKBONE, specs, seed=seed, only=places)
    net.train()
    units = net.unit_list()
    return Rank(places, net, [OptimizerUpdate(sgd(units[place].trained_parameters()), seed=0) for place in places])
