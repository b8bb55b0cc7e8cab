"""A whole run with ``ema_delay`` on processes of the pool, stopped or kept at every step where a test asks for it."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import torch
from torch import nn

import localgrad as lg
from localgrad.data import Augment, ImageSet, Split
from localgrad.distributed import Address
from localgrad.train import Constant, DistributedSpec, Run, train
from localgrad.train.ranks import start, walk
from tests.distributed.cases import IMAGE, LEAPS, small

MODULES = 5


@dataclass(frozen=True)
class Noise:
    """Random images: 6 batches of 4 per epoch."""

    name: str = "noise"
    num_classes: int = 4
    image: tuple[int, int, int] = IMAGE

    def problems(self) -> list[str]:
        """None."""
        return []

    def split(self, count: int, seed: int) -> Split:
        """Drawn from ``seed``."""
        draw = torch.Generator().manual_seed(seed)
        images = torch.randint(0, 256, (count, *IMAGE), dtype=torch.uint8, generator=draw)
        return Split(images, torch.arange(count) % self.num_classes)

    def load(self) -> ImageSet:
        """24 images for training, 8 for testing."""
        names = tuple(map(str, range(self.num_classes)))
        augment = Augment(pad=1, flip=True)
        return ImageSet(self.name, self.split(24, 0), self.split(8, 1), names, (0.5,) * 3, (0.3,) * 3, augment)


STOP_AFTER: list[int] = []
"""Steps of the first optimiser after which this process sends itself SIGTERM; one number or none."""


@dataclass(frozen=True)
class Stopping:
    """SGD that obeys ``STOP_AFTER``."""

    inner: lg.SGD = field(default_factory=lambda: lg.SGD(lr=0.05))

    @property
    def lr(self) -> float:
        """That of SGD."""
        return self.inner.lr

    def problems(self) -> Iterator[str]:
        """Those of SGD."""
        return self.inner.problems()

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """An optimiser that may send a signal."""
        made = self.inner(parameters)
        if STOP_AFTER:
            left = [STOP_AFTER.pop()]

            def hook(*_: object) -> None:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGTERM)

            made.register_step_post_hook(hook)
        return made


class Lines:
    """A reporter that keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        """Keep it."""
        self.lines.append(text)

    def step(self, done: int) -> None:
        """Nothing."""

    @contextmanager
    def epoch(self, title: str, steps: int) -> Iterator[None]:
        """Nothing."""
        yield


def run_of(folder: str, hosts: tuple[int, ...], delay: int | None, save_every: int | None = None) -> Run:
    """Two epochs of 6 steps of MLAAN with leaps."""
    return Run(
        backbone=small(),
        method=LEAPS,
        partition=lg.equal_blocks(MODULES),
        data=Noise(),
        epochs=2,
        optimizer=Stopping(),
        schedule=Constant(),
        batch_size=4,
        runtime=DistributedSpec(hosts=hosts, ema_delay=delay, timeout=20, save_every=save_every),
        device="cpu",
        out=Path(folder),
    )


def train_run(
    address: Address,
    folder: str,
    hosts: tuple[int, ...],
    delay: int | None,
    resume: bool,
    save_every: int | None,
    stop_after: int | None,
) -> tuple[bool, list[str]]:
    """Train or continue; whether it finished, and the lines. No checkpoint is deleted."""
    words = {"RANK": address.rank, "WORLD_SIZE": address.size, "MASTER_ADDR": address.host, "MASTER_PORT": address.port}
    reporter = Lines()
    STOP_AFTER.clear()
    if stop_after is not None and address.rank == 0:
        STOP_AFTER.append(stop_after)
    with (
        patch.dict(os.environ, {name: str(value) for name, value in words.items()}),
        patch.object(walk, "forget_older"),
        patch.object(start, "forget_older"),
    ):
        result = train(run_of(folder, hosts, delay, save_every), resume=resume, reporter=reporter)
    return result.finished, reporter.lines
