"""Makes batches from one split that lies on the device whole."""

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from localgrad.data.augment import augmented
from localgrad.data.checks import statistics_problems
from localgrad.data.draws import crop_and_flip, epoch_order
from localgrad.data.errors import DataError
from localgrad.data.images import Augment, Split
from localgrad.spec import Batch

GIVES = frozenset({"x", "y", "image"})


@final
class Loader:
    """Batches of a split, in an order and with draws that are functions of (seed, epoch, index).

    Any batch can be asked for at any time, so a resumed run needs no saved state. The split is moved to ``device``
    once, here; images stay uint8 until they are in a batch.

    ``mean`` and ``std`` are per channel, for pixels in [0, 1]. ``augment`` None: no crop and no flip. ``shuffle``
    False: the split's own order. The short last batch is kept unless ``drop_last``. ``needs`` are the names of the
    ``Batch`` fields wanted: ``image`` adds the pixels in [0, 1] after augmentation and before normalisation. ``x`` has
    ``dtype`` and, with ``channels_last``, that memory format.

    Raises ``DataError`` that lists all wrong arguments at once.
    """

    def __init__(
        self,
        split: Split,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        batch_size: int,
        seed: int,
        device: torch.device | str,
        augment: Augment | None = None,
        shuffle: bool,
        drop_last: bool = False,
        needs: frozenset[str] = frozenset(),
        channels_last: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        channels, height, width = split.images_NCHW.shape[1:]
        found = statistics_problems(mean, std, channels)
        if augment is not None:
            found += augment.problems(height, width)
        if batch_size < 1:
            found.append(f"batch_size: expected 1 or more, got {batch_size}")
        elif len(split) < (batch_size if drop_last else 1):
            found.append(
                f"no batch can be made: the split has {len(split)} samples, batch_size={batch_size}, "
                f"drop_last={drop_last}"
            )
        if needs - GIVES:
            found.append(f"needs: this loader gives {sorted(GIVES)}, asked for {sorted(needs - GIVES)} as well")
        if not dtype.is_floating_point:
            found.append(f"dtype: expected a floating-point type, got {dtype}")
        if found:
            raise DataError("\n".join(f"Loader: {problem}" for problem in found))
        self.device = torch.device(device)
        self.batch_size = batch_size
        self.seed = seed
        self.augment = augment if augment is not None and augment != Augment() else None
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.needs = needs
        self.dtype = dtype
        self.split = split.to(self.device)
        # 16-bit types would round pixel values before they are normalised.
        self._work = torch.promote_types(dtype, torch.float32)
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._mean_C11 = torch.tensor(mean, dtype=self._work, device=self.device).view(-1, 1, 1)
        self._std_C11 = torch.tensor(std, dtype=self._work, device=self.device).view(-1, 1, 1)
        self._order: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        """Batches per epoch."""
        whole, rest = divmod(len(self.split), self.batch_size)
        return whole + (1 if rest and not self.drop_last else 0)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Batches ``start`` to the last of one epoch, each equal to ``batch(epoch, index)``."""
        if not 0 <= start <= len(self):
            raise IndexError(f"start: expected 0 to {len(self)} (batches per epoch), got {start}")
        return (self.batch(epoch, index) for index in range(start, len(self)))

    def batch(self, epoch: int, index: int) -> Batch:
        """Batch ``index`` of ``epoch``, both counted from 0. ``step`` is epoch * len + index."""
        if epoch < 0 or not 0 <= index < len(self):
            raise IndexError(f"batch: expected epoch >= 0 and index 0 to {len(self) - 1}, got {epoch} and {index}")
        begin = index * self.batch_size
        if self.shuffle:
            chosen_B = self._epoch_order(epoch)[begin : begin + self.batch_size]
            pixels_BCHW = self.split.images_NCHW.index_select(0, chosen_B)
            labels_B = self.split.labels_N.index_select(0, chosen_B)
        else:
            pixels_BCHW = self.split.images_NCHW[begin : begin + self.batch_size]
            labels_B = self.split.labels_N[begin : begin + self.batch_size].clone()
        if self.augment is not None:
            draws_3B = crop_and_flip(len(labels_B), self.augment.pad, self.seed, epoch, index)
            pixels_BCHW = augmented(pixels_BCHW, self.augment, draws_3B.to(self.device))
        image_BCHW = pixels_BCHW.to(self._work).div_(255)
        if "image" in self.needs:
            x_BCHW = (image_BCHW - self._mean_C11).div_(self._std_C11)
        else:
            x_BCHW = image_BCHW.sub_(self._mean_C11).div_(self._std_C11)
        return Batch(
            x=self._finished(x_BCHW),
            y=labels_B,
            image=self._finished(image_BCHW) if "image" in self.needs else None,
            step=epoch * len(self) + index,
            epoch=epoch,
        )

    def _finished(self, pixels_BCHW: Tensor) -> Tensor:
        # Last, because arithmetic by channel is several times slower in channels_last on the CPU.
        return pixels_BCHW.to(self.dtype).contiguous(memory_format=self._format)

    def _epoch_order(self, epoch: int) -> Tensor:
        """The epoch's permutation on the device; the newest is kept, since every batch of an epoch reads it."""
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, epoch_order(len(self.split), self.seed, epoch).to(self.device)
        return self._order[1]
