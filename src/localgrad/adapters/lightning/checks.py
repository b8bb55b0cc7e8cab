"""What a Trainer may ask of local learning, and what is refused."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from localgrad.errors import LocalgradError, there_are
from localgrad.network import LocalNetwork
from localgrad.spec import Batch
from localgrad.unit import Terms
from localgrad.update import Precision

ToBatch = Callable[[Any], Batch]

PRECISIONS = {"32-true": Precision.FLOAT32, "bf16-mixed": Precision.BFLOAT16}


def pair(batch: object) -> Batch:
    """The Batch of (x_BCHW, y_B), which most loaders give. Raises LocalgradError for anything else."""
    if not isinstance(batch, Sequence) or len(batch) != 2 or not all(isinstance(part, Tensor) for part in batch):
        raise LocalgradError(
            f"Lightning: expected a batch (x, y) of images and class indices from the loader, got "
            f"{type(batch).__name__}. Give to_batch=lambda batch: localgrad.Batch(x=..., y=...)."
        )
    return Batch(x=batch[0], y=batch[1])


def check_single_device(trainer: Trainer) -> None:
    """Raise LocalgradError for strategies of several processes or devices."""
    if not isinstance(trainer.strategy, SingleDeviceStrategy) or trainer.world_size != 1:
        raise LocalgradError(
            f"Lightning: local learning trains on one device here, got {type(trainer.strategy).__name__} with "
            f"{trainer.world_size} processes. Give Trainer(devices=1, strategy='auto'); for several machines there is "
            "`localgrad train --processes N`."
        )


def engine_precision(trainer: Trainer) -> Precision:
    """The engine's precision for the Trainer's. Raises LocalgradError for one that it does not have."""
    if trainer.precision not in PRECISIONS:
        raise LocalgradError(
            f"Lightning: precision {trainer.precision!r} is not supported by local learning: Lightning would scale all "
            f"units' gradients by one factor, or change the weights' format. {there_are(PRECISIONS)}"
        )
    return PRECISIONS[trainer.precision]


@contextmanager
def engine_region(device: torch.device) -> Iterator[None]:
    """Leave Lightning's autocast region: the engine enters its own around what belongs into it."""
    with torch.autocast(device.type, enabled=False):
        yield


def set_views(net: LocalNetwork, training: bool) -> None:
    """Set the mode of the units' own modules.

    Lightning restores modes after a validation module by module, and the units, which are views, are not among them.
    """
    known = {*net.model.modules(), *net.aux.modules()}
    for module in net.units.modules():
        if module not in known:
            module.training = training


def named_losses(net: LocalNetwork, terms: dict[int, Terms]) -> dict[str, Tensor]:
    """Loss terms of every unit under ``train/<unit>/<term>``, and those of the last unit added up as ``train_loss``."""
    units = net.unit_list()
    named = {
        f"train/{units[index].name}/{name}": value.float()
        for index, own in terms.items()
        for name, value in own.items()
    }
    last = [value.float() for value in terms[len(units) - 1].values()]
    return {**named, "train_loss": torch.stack(last).sum()}
