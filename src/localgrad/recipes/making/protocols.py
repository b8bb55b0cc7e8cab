"""Training protocols of the papers as data (methods.md 0.1): optimiser, schedule, batch, epochs."""

from dataclasses import dataclass
from typing import final

from localgrad.train import SGD, Adam, Constant, Cosine, MultiStep
from localgrad.train.optim import OptimizerSpec
from localgrad.train.schedule import Schedule


@final
@dataclass(frozen=True)
class Protocol:
    """What all runs of a table share. ``reset_optimizer``: the code makes new optimisers where the rate falls."""

    optimizer: OptimizerSpec
    schedule: Schedule
    batch_size: int
    epochs: int
    reset_optimizer: bool = False


def _nesterov(lr: float) -> SGD:
    return SGD(lr=lr, momentum=0.9, nesterov=True, weight_decay=1e-4)


LARGE_BATCH = Protocol(_nesterov(0.8), Cosine(warmup_epochs=10, warmup_lr=0.01), 1024, 400)
"""InfoPro, AugLocal, GN-DGL and MLAAN on CIFAR, SVHN and ImageNet32; 400 epochs as AugLocal and MLAAN (InfoPro 160)."""

SMALL_BATCH = Protocol(_nesterov(0.1), Cosine(warmup_epochs=10, warmup_lr=0.01), 128, 400)
"""The same on STL-10."""

GNDGL = Protocol(_nesterov(0.8), Cosine(warmup_epochs=10, warmup_lr=0.01), 1024, 160)
"""GN-DGL's multi-layer experiments on every data set.

The rate of the second version, the thesis and the code; the first version says 0.1 (methods.md 12, row 13).
"""

GNDGL_LAYERS = Protocol(Adam(lr=1e-3), MultiStep((1 / 3, 2 / 3), (0.5, 0.2)), 128, 150)
"""GN-DGL layer-wise on VGG6a: 1e-3, 5e-4 from epoch 50, 1e-4 from epoch 100 of 150."""

PREDSIM = Protocol(Adam(lr=5e-4), MultiStep((0.5, 0.75, 0.875, 0.9375), 0.25), 128, 400)
"""PredSim: x0.25 at epochs 200, 300, 350 and 375 of 400; 100, 150, 175 and 188 of 200."""

PREDSIM_SHORT = Protocol(Adam(lr=5e-4), MultiStep((0.5, 0.75, 0.89, 0.94), 0.25), 128, 100)
"""PredSim on MNIST, KMNIST and SVHN: x0.25 at epochs 50, 75, 89 and 94 of 100."""


def _plain(lr: float, weight_decay: float) -> SGD:
    return SGD(lr=lr, momentum=0.9, nesterov=False, weight_decay=weight_decay)


DGL_STUDY = Protocol(_plain(0.1, 5e-4), MultiStep((15, 30, 45), 0.2), 128, 50)
"""DGL's study of auxiliary networks and its learning curves: x0.2 every 15 of 50 epochs (methods.md 2.4)."""

DGL_QUEUED = Protocol(_plain(0.1, 5e-4), MultiStep((17, 32, 47), 0.2), 128, 51, reset_optimizer=True)
"""DGL's asynchronous experiments (methods.md 3): x0.2 every 15 own epochs, 50 own epochs, a new optimiser each time.

The released code counts an own epoch one late, from -1, and compares before it counts: the rate falls after own epochs
17, 32 and 47, and a layer stops learning after 51.
"""

DGL_RESNET110 = Protocol(_plain(0.01, 5e-4), MultiStep((149, 224), 0.1), 128, 300, reset_optimizer=True)
"""DGL's comparison on ResNet-110 (methods.md 2.4): a tenth from epochs 150 and 225 on, counted from 1."""


def imagenet(lr: float, batch_size: int, epochs: int) -> Protocol:
    """ImageNet: cosine without a ramp, epochs counted from 0."""
    return Protocol(_nesterov(lr), Cosine(warmup_epochs=0, from_zero=True), batch_size, epochs)


DGL_IMAGENET = Protocol(_plain(0.1, 1e-4), MultiStep((10, 20, 30, 40), 0.1), 256, 50, reset_optimizer=True)
"""DGL's own ImageNet experiments (methods.md 2.3)."""

SIMCLR = Protocol(Adam(lr=1e-3, weight_decay=1e-6), Constant(), 256, 500)
"""SimCLR and DGSSL (thesis, section 4.3). It names no schedule and no number of epochs; its figures go up to 500."""
