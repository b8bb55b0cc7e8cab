"""Makes batches from image files, which stay on disk."""

from collections.abc import Generator
from contextlib import closing
from typing import final

import torch
from torch import Tensor

from localgrad.data.crops import Crops
from localgrad.data.draws import epoch_order
from localgrad.data.errors import DataError
from localgrad.data.file_split import FileSplit
from localgrad.data.finish import Finish, batch_count, count_problems, finish_problems
from localgrad.data.stream_workers import Decoder, decoded, tasks_of, whole
from localgrad.spec import Batch


@final
class StreamLoader:
    """Batches of a split in files, in an order that is a function of (seed, epoch), as ``Loader``'s.

    The crop and flip of a sample are functions of (seed, epoch, sample), whatever the batch and the number of
    ``workers``: processes that decode and crop ahead of the training while an ``epoch`` is walked. They end with it, or
    when it is closed. With 0, and for a single ``batch``, everything is done in this process; bits are the same.

    ``mean``, ``std``, ``batch_size``, ``drop_last``, ``needs``, ``channels_last`` and ``dtype`` as for ``Loader``;
    ``training`` shuffles and takes random crops, else the order is the split's and crops are central. The state of
    torch's random numbers is left as it was.

    Raises ``DataError`` that lists all wrong arguments at once; ``epoch`` and ``batch`` raise it with the names of
    files that are truncated or no images: none is skipped.
    """

    def __init__(
        self,
        split: FileSplit,
        *,
        crops: Crops,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        batch_size: int,
        seed: int,
        device: torch.device | str,
        training: bool,
        workers: int = 0,
        drop_last: bool = False,
        needs: frozenset[str] = frozenset(),
        channels_last: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        found = finish_problems(mean, std, 3, needs, dtype) + crops.problems()
        found += count_problems(len(split), batch_size, drop_last)
        if workers < 0:
            found.append(f"workers: expected 0 or more processes, got {workers}")
        if found:
            raise DataError("\n".join(f"StreamLoader: {problem}" for problem in found))
        self.split = split
        self.device = torch.device(device)
        self.batch_size = batch_size
        self.seed = seed
        self.training = training
        self.workers = workers
        self.drop_last = drop_last
        self.needs = needs
        self._decoder = Decoder(split, crops, seed, training=training)
        self._finish = Finish(mean, std, self.device, needs, dtype, channels_last)

    def __len__(self) -> int:
        """Batches per epoch."""
        return batch_count(len(self.split), self.batch_size, self.drop_last)

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch]:
        """Batches ``start`` to the last of one epoch, each equal to ``batch(epoch, index)``; close it to stop early."""
        if epoch < 0 or not 0 <= start <= len(self):
            raise IndexError(f"epoch: expected epoch >= 0 and start 0 to {len(self)}, got {epoch} and {start}")
        return self._walk(epoch, start, len(self), self.workers)

    def batch(self, epoch: int, index: int) -> Batch:
        """Batch ``index`` of ``epoch``, both counted from 0. ``step`` is epoch * len + index."""
        if epoch < 0 or not 0 <= index < len(self):
            raise IndexError(f"batch: expected epoch >= 0 and index 0 to {len(self) - 1}, got {epoch} and {index}")
        (made,) = self._walk(epoch, index, index + 1, 0)
        return made

    def _walk(self, epoch: int, start: int, end: int, workers: int) -> Generator[Batch]:
        count = len(self.split)
        order_N = epoch_order(count, self.seed, epoch) if self.training else torch.arange(count)
        chosen = torch.split(order_N, self.batch_size)[start:end]
        batches = [tasks_of(epoch, chosen_B.numpy()) for chosen_B in chosen]
        with closing(decoded(self._decoder, batches, workers)) as results:
            for index, (chosen_B, pieces) in enumerate(zip(chosen, results, strict=True), start):
                yield self._finish(
                    self._moved(whole(pieces, self.split)),
                    self._moved(self.split.labels_N[chosen_B]),
                    step=epoch * len(self) + index,
                    epoch=epoch,
                )

    def _moved(self, values: Tensor) -> Tensor:
        if self.device.type != "cuda":
            return values.to(self.device)
        # Copied while the GPU still works on the last batch.
        return values.pin_memory().to(self.device, non_blocking=True)
