"""From a Run to what trains: loaders on the device, the network with its weights, optimisers, kernels."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch

from localgrad.data import Batches, Images, Part
from localgrad.errors import LocalgradError, RunError
from localgrad.network import LocalNetwork
from localgrad.runtime import Greedy, Sequential
from localgrad.runtime.checks import check_single_row
from localgrad.segments import whole_words
from localgrad.train.frozen import asked
from localgrad.train.guide import Guided, guide_problems, load_guide
from localgrad.train.pace import Runtime, make_queued
from localgrad.train.run import Run, fit_problems
from localgrad.train.runtimes import GreedySpec, QueuedSpec
from localgrad.train.weights import load_initial_weights

_log = logging.getLogger("localgrad")

EVAL_BATCH = 1000
EVAL_PIXELS = EVAL_BATCH * 96 * 96
"""Pixels per channel in one batch of an evaluation, so that large images make smaller batches."""


@final
@dataclass(frozen=True)
class Loaders:
    """The splits of a run on its device.

    ``bare`` are the training images in their own order, as they are evaluated, where the run judges frozen features.
    """

    train: Batches
    val: Batches | None
    test: Batches
    bare: Batches | None = None


def load_images(run: Run) -> Images:
    """Read the data set. Raises DataError, and RunError when the backbone does not fit it."""
    images = run.data.load()
    problems = list(fit_problems(run.backbone, images.name, images.image, len(images.classes)))
    if problems:
        raise RunError(problems)
    return images


def make_loaders(run: Run, images: Images, device: torch.device) -> Loaders:
    """Loaders of all splits on the device, the validation split held out of train. Raises DataError.

    Where the method judges pairs by a pretrained network, that is read here. Raises LocalgradError when it cannot be.
    """
    problems = list(guide_problems(run))
    if problems:
        raise RunError(problems)
    guide = load_guide(run, device)
    if run.val_fraction > 0:
        images = images.hold_out(run.val_fraction, run.seed)

    def loader(part: Part) -> Batches | None:
        training = part == "train"
        return images.loader(
            part,
            training=training,
            batch_size=run.batch_size if training else eval_batch(images),
            seed=run.seed,
            device=device,
            needs=run.method.needs - {"pair_similarity"} if training else frozenset(),
            views=run.views if training else None,
            channels_last=run.channels_last,
            drop_last=training and run.drop_last,
        )

    train, test = loader("train"), loader("test")
    assert train is not None and test is not None
    if guide is not None:
        train = Guided(train, guide)
    return Loaders(train, loader("val"), test, _as_evaluated(run, images, "train", device) if asked(run) else None)


def eval_batch(images: Images) -> int:
    """Images in one batch of an evaluation."""
    return max(1, min(EVAL_BATCH, EVAL_PIXELS // (images.image[1] * images.image[2])))


def evaluation_loader(
    run: Run,
    images: Images,
    part: Part,
    device: torch.device,
    *,
    batch_size: int | None = None,
    pixels: bool = False,
) -> Batches:
    """Images of a split in its own order, as they are evaluated; what the run holds out is no part of train.

    ``pixels`` adds ``Batch.image``, the images in [0, 1].
    """
    if run.val_fraction > 0:
        images = images.hold_out(run.val_fraction, run.seed)
    return _as_evaluated(run, images, part, device, batch_size, pixels=pixels)


def _as_evaluated(
    run: Run, images: Images, part: Part, device: torch.device, batch_size: int | None = None, *, pixels: bool = False
) -> Batches:
    found = images.loader(
        part,
        training=False,
        batch_size=batch_size or eval_batch(images),
        seed=run.seed,
        device=device,
        needs=frozenset({"image"} if pixels else ()),
        views=None,
        channels_last=run.channels_last,
        drop_last=False,
    )
    assert found is not None  # every set has a train and a test split
    return found


def place(net: LocalNetwork, run: Run, device: torch.device) -> LocalNetwork:
    """The network on the device, in the run's memory format."""
    net.to(device)
    if run.channels_last:
        net.to(memory_format=torch.channels_last)
    return net


def start_network(run: Run, device: torch.device, *, initial: bool = True) -> LocalNetwork:
    """The network on the device as training starts; ``initial=False`` leaves ``init_from`` to a checkpoint."""
    net = run.network()
    for line in whole_words(net.kept_whole()):
        _log.warning("%s", line)
    if initial and run.init_from is not None:
        load_initial_weights(net, run.init_from)
    return place(net, run, device)


def make_runtime(run: Run, device: torch.device, batches: int, *, initial: bool = True) -> Runtime:
    """What the run trains with, on the device; ``batches`` make an epoch."""
    if isinstance(run.runtime, QueuedSpec):
        return make_queued(run, run.runtime, start_network(run, device, initial=initial), batches)
    if isinstance(run.runtime, GreedySpec):
        net = start_network(run, device, initial=initial)
        return Greedy(net, run.optimizer, precision=run.precision, clip=run.clip)
    return make_loop(run, device, initial=initial)


def make_loop(run: Run, device: torch.device, *, initial: bool = True) -> Sequential:
    """The network and its optimisers on the device, all units on every mini-batch."""
    return Sequential(
        start_network(run, device, initial=initial),
        run.optimizer,
        update=run.update,
        precision=run.precision,
        accumulate=run.accumulate,
        workers=run.workers,
        clip=run.clip,
        compile=run.compile,
        graph=run.graph,
        streams=run.streams,
    )


def check_smallest_part(run: Run, net: LocalNetwork, samples: int, replicas: int = 1) -> None:
    """Raise RunError for a batch larger than the training split, and when some step would train on one image and the
    network cannot, or a replica on none: now, not at an epoch's end. ``net`` may be on the meta device."""
    if run.batch_size > samples:
        held = " without its validation part" if run.val_fraction > 0 else ""
        raise RunError(
            [
                f"batch_size={run.batch_size} is larger than the {samples} images of the training split{held}: every "
                f"epoch would be one short step. Take batch_size={samples} or less."
            ]
        )

    def smallest(batch_size: int) -> int:
        rest = 0 if run.drop_last else samples % batch_size
        sizes = {min(batch_size, samples), rest or batch_size}
        return min(size // min(run.accumulate, size) if replicas == 1 else size // replicas for size in sizes)

    if smallest(run.batch_size) > 1:
        return
    if not smallest(run.batch_size):
        raise RunError(
            [
                f"batch_size={run.batch_size} leaves a replica without images: the training split has {samples}, the "
                f"last batch {samples % run.batch_size or run.batch_size}, for {replicas} replicas. Take a larger "
                "batch_size, or fewer replicas."
            ]
        )
    try:
        check_single_row(net, run.backbone.image)
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
