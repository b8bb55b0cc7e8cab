"""Whole runs of the distributed tests, the same in every process: tiny networks on data made here."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

import localgrad as lg
from localgrad.backbones.module import wrap
from localgrad.data import Augment, ImageSet, Split
from localgrad.methods import Lambdas, PairSelection, Running
from localgrad.rng import seeded
from localgrad.train import SGD, Cosine, DistributedSpec, Run
from localgrad.update import Precision


@dataclass(frozen=True)
class Noise:
    """Random images of 4 classes: 48 to train on, 22 to test."""

    count: int = 48
    image: tuple[int, int, int] = (3, 8, 8)
    num_classes: int = 4
    name: str = "noise"

    def problems(self) -> list[str]:
        """None."""
        return []

    def load(self) -> ImageSet:
        """Both splits."""
        names = tuple(map(str, range(self.num_classes)))
        mean, std = (0.5,) * self.image[0], (0.3,) * self.image[0]
        return ImageSet(
            self.name, self._split(self.count, 0), self._split(22, 1), names, mean, std, Augment(pad=1, flip=True)
        )

    def _split(self, count: int, seed: int) -> Split:
        draw = torch.Generator().manual_seed(seed)
        images = torch.randint(0, 256, (count, *self.image), dtype=torch.uint8, generator=draw)
        return Split(images, torch.arange(count) % self.num_classes)


def tiny(method: Any = None, modules: int = 4, **changes: Any) -> Run:
    """Two epochs of 6 batches: of 5, the last one short, with a quarter held out."""
    run = Run(
        backbone=lg.backbones.cifar_resnet(14, num_classes=4, width=0.25, image=(3, 8, 8)),
        method=lg.methods.DGL() if method is None else method,
        data=Noise(),
        partition=lg.equal_blocks(modules),
        optimizer=SGD(0.05),
        schedule=Cosine(),
        batch_size=8,
        epochs=2,
        device="cpu",
        seed=1,
    )
    return replace(run, **changes)


def foreign() -> Run:
    """A network that localgrad did not build, as a recipe makes it: from the seed, on the CPU."""
    with seeded(5):
        model = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        )  # fmt: skip
    return tiny(backbone=wrap(model, torch.zeros(2, 3, 8, 8)), partition=lg.equal_blocks(3))


LOOKING: dict[str, Any] = {"knn_every": 1, "linear_every": 2}

RUNS: dict[str, Callable[[], Run]] = {
    "dgl": tiny,
    "val": lambda: tiny(val_fraction=0.25, **LOOKING),
    "bfloat16": lambda: tiny(precision=Precision.BFLOAT16, val_fraction=0.25),
    "dgssl": lambda: tiny(
        lg.methods.DGSSL(hidden=16, out=8, selection=PairSelection(Running(), 0.8, 0.8, similarity="teacher")),
        views=lg.data.Views(jitter=0, grayscale=0),
        **LOOKING,
    ),
    "infopro": lambda: tiny(
        lg.methods.InfoPro(loss="softmax", lambdas=Lambdas(first=(2, 0.5), last=(0.5, 1))), 3, val_fraction=0.25
    ),
    "gndgl": lambda: tiny(lg.methods.GNDGL(), 2, groups=2, val_fraction=0.25, **LOOKING),
    "mlaan": lambda: tiny(lg.methods.MLAAN(leaps=False), val_fraction=0.25),
    "leaps": lambda: tiny(lg.methods.MLAAN()),
    "foreign": foreign,
}


def made(name: str, out: Path, spec: DistributedSpec | None = None, **changes: Any) -> Run:
    """A run by its name, in a folder, distributed where ``spec`` says how."""
    return replace(RUNS[name](), out=out, runtime=spec or "sequential", **changes)
