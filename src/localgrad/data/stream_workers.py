"""Decodes and crops image files in worker processes, a few images at a time."""

import math
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from localgrad.data.crops import PURPOSE, Crops
from localgrad.data.decode import fault, rgb, undecodable
from localgrad.data.draws import stable_seed
from localgrad.data.errors import DataError, extra
from localgrad.data.file_split import FileSplit
from localgrad.rng import seeded

CHUNK = 32
"""Images per task. Small: a worker that is told to end finishes its task first, as signals do not reach it."""

Task = tuple[int, npt.NDArray[np.int64]]
"""An epoch, and samples of it."""


@final
class Decoder(Dataset[Tensor | list[str]]):
    """Gives the pixels of a task: uint8 (n, 3, size, size), or why which of its files cannot be decoded.

    Faults are returned, as torch would wrap an exception into the text of its traceback.
    """

    def __init__(self, split: FileSplit, crops: Crops, seed: int, *, training: bool) -> None:
        self.split = split
        self.seed = seed
        self.training = training
        self.transform = crops.transform(training=training)
        self.pil = extra("PIL.Image", PURPOSE)
        self.to_tensor = extra("torchvision.transforms.v2.functional", PURPOSE).pil_to_tensor

    def __getitem__(self, task: Task) -> Tensor | list[str]:
        epoch, samples = task
        pixels, faults = [], []
        for sample in samples.tolist():
            path = self.split.path(sample)
            try:
                pixels.append(self.pixels_CHW(path, epoch, sample))
            except Exception as error:  # noqa: BLE001 -- Pillow's formats raise anything on damaged files
                faults.append(fault(self.split.root, path, error))
        return faults or torch.stack(pixels)

    def pixels_CHW(self, path: str, epoch: int, sample: int) -> Tensor:
        """One image, decoded and cropped by the draws of (seed, epoch, sample)."""
        with self.pil.open(self.split.root / path) as image:
            whole = rgb(image)
        if not self.training:
            made = self.transform(whole)
        else:
            with seeded(stable_seed("crop", self.seed, epoch, sample)):
                made = self.transform(whole)
        pixels: Tensor = self.to_tensor(made)
        return pixels


def tasks_of(epoch: int, samples_B: npt.NDArray[np.int64]) -> list[Task]:
    """A batch cut into tasks."""
    return [(epoch, samples_B[begin : begin + CHUNK]) for begin in range(0, len(samples_B), CHUNK)]


def whole(pieces: Sequence[Tensor | list[str]], split: FileSplit) -> Tensor:
    """The pixels of a batch from those of its tasks. Raises ``DataError`` that names the files without."""
    faults = [line for piece in pieces if isinstance(piece, list) for line in piece]
    if faults:
        raise DataError(undecodable(split.root, faults))
    return torch.cat([piece for piece in pieces if isinstance(piece, Tensor)])


def decoded(decoder: Decoder, batches: Sequence[Sequence[Task]], workers: int) -> Generator[list[Tensor | list[str]]]:
    """For each batch the results of its tasks, in order; with ``workers`` 0 made in this process.

    Worker processes live until the generator ends or is closed. They read ahead by two batches or more. Raises
    ``DataError`` when one dies.
    """
    if not workers:
        for tasks in batches:
            yield [decoder[task] for task in tasks]
        return
    tasks = [task for batch in batches for task in batch]
    ahead = 2 * max(len(batch) for batch in batches) if batches else 0
    loader: Any = DataLoader(
        decoder,
        batch_size=None,
        sampler=tasks,
        num_workers=min(workers, len(tasks)),
        collate_fn=_unchanged,
        worker_init_fn=_leave_signals_to_the_parent,
        prefetch_factor=max(2, math.ceil(ahead / workers)) if tasks else None,
        # torch draws a seed for its workers, by default from the global random state.
        generator=torch.Generator(),
    )
    results = iter(loader)
    died = None
    with _deaths_are_found_by_next():
        try:
            for batch in batches:
                try:
                    pieces = [next(results) for _ in batch]
                # The connection to a dead worker breaks where its last results are still to be fetched.
                except (RuntimeError, OSError, EOFError) as error:
                    died = f"{type(error).__name__}: {error}"
                    break
                yield pieces
        finally:
            # The last reference: torch ends the workers.
            del results
    if died is not None:
        raise DataError(
            f"a worker process that reads {decoder.split.root} died ({died}). Usually memory (also /dev/shm) ran out: "
            "take fewer workers or a smaller batch_size, or workers=0, which reads in the main process."
        )


def _unchanged(piece: Tensor | list[str]) -> Tensor | list[str]:
    return piece


@contextmanager
def _deaths_are_found_by_next() -> Iterator[None]:
    """torch's handler of SIGCHLD raises wherever the main thread is when a worker dies: in the middle of a step, in the
    writing of a checkpoint. Asking for the next result finds the death as well, within seconds."""
    raising = signal.getsignal(signal.SIGCHLD)
    if threading.current_thread() is not threading.main_thread() or not callable(raising):
        yield
        return

    def quiet(number: int, frame: FrameType | None) -> None:
        with suppress(RuntimeError):
            raising(number, frame)

    signal.signal(signal.SIGCHLD, quiet)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, raising)


def _leave_signals_to_the_parent(_worker: int) -> None:
    """A signal to all processes of a job ends the training between two batches; until then it needs its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
