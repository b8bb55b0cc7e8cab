"""From a Run to what trains: loaders on the device, the network with its weights, optimisers, kernels."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch

from localgrad.data import ImageSet, Loader, Split, split_validation
from localgrad.errors import LocalgradError, RunError
from localgrad.network import LocalNetwork
from localgrad.runtime import Sequential
from localgrad.runtime.checks import check_single_row
from localgrad.train.run import Run, fit_problems
from localgrad.train.weights import load_initial_weights

EVAL_BATCH = 1000


@final
@dataclass(frozen=True)
class Loaders:
    """The splits of a run on its device."""

    train: Loader
    val: Loader | None
    test: Loader


def load_images(run: Run) -> ImageSet:
    """Read the data set. Raises DataError, and RunError when the backbone does not fit it."""
    images = run.data.load()
    problems = list(fit_problems(run.backbone, images.name, images.image, len(images.classes)))
    if problems:
        raise RunError(problems)
    return images


def make_loaders(run: Run, images: ImageSet, device: torch.device) -> Loaders:
    """Put the splits on the device, the validation split held out of train. Raises DataError."""
    train, val = images.train, None
    if run.val_fraction > 0:
        train, val = split_validation(train, run.val_fraction, run.seed, len(images.classes))
    needs = run.method.needs

    def loader(split: Split, training: bool) -> Loader:
        return Loader(
            split,
            mean=images.mean,
            std=images.std,
            batch_size=run.batch_size if training else EVAL_BATCH,
            seed=run.seed,
            device=device,
            augment=images.augment if training else None,
            shuffle=training,
            needs=needs if training else frozenset(),
            channels_last=run.channels_last,
        )

    return Loaders(loader(train, True), None if val is None else loader(val, False), loader(images.test, False))


def place(net: LocalNetwork, run: Run, device: torch.device) -> LocalNetwork:
    """The network on the device, in the run's memory format."""
    net.to(device)
    if run.channels_last:
        net.to(memory_format=torch.channels_last)
    return net


def make_loop(run: Run, device: torch.device, *, initial: bool = True) -> Sequential:
    """The network and its optimisers on the device; ``initial=False`` leaves ``init_from`` to a checkpoint."""
    net = run.network()
    if initial and run.init_from is not None:
        load_initial_weights(net, run.init_from)
    return Sequential(
        place(net, run, device),
        run.optimizer,
        update=run.update,
        precision=run.precision,
        accumulate=run.accumulate,
        workers=run.workers,
        clip=run.clip,
    )


def check_smallest_part(run: Run, loop: Sequential, samples: int) -> None:
    """Raise RunError when some step would train on one image and the network cannot: now, not at an epoch's end."""

    def smallest(batch_size: int) -> int:
        sizes = {min(batch_size, samples), samples % batch_size or batch_size}
        return min(size // min(run.accumulate, size) for size in sizes)

    if smallest(run.batch_size) > 1:
        return
    try:
        check_single_row(loop.net, run.backbone.image)
    except LocalgradError as error:
        fitting = next((size for size in range(run.batch_size + 1, samples + 1) if smallest(size) > 1), None)
        advice = "" if fitting is None else f" Take e.g. batch_size={fitting}."
        raise RunError(
            [
                f"batch_size={run.batch_size} with accumulate={run.accumulate} trains on a single image at times: the "
                f"training split has {samples}, the last batch {samples % run.batch_size or run.batch_size}.{advice} "
                f"({error})"
            ]
        ) from error


@contextmanager
def deterministic_kernels() -> Iterator[None]:
    """Have cuDNN choose the same kernels each time; nothing changes on the CPU."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        yield
