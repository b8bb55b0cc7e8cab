"""Makes batches from one split that lies on the device whole."""

from collections.abc import Generator
from functools import partial
from typing import final

import torch
from torch import Tensor

from localgrad.data.augment import Augment, augmented, cut_out
from localgrad.data.class_batches import ClassesPerBatch, few_classes
from localgrad.data.draws import crop_and_flip, cutout_centres, epoch_order
from localgrad.data.errors import DataError
from localgrad.data.finish import GIVES, Finish, batch_count, count_problems, finish_problems
from localgrad.data.split import Split
from localgrad.data.views import Views, make_views
from localgrad.spec import Batch


@final
class Loader:
    """Batches of a split, in an order and with draws that are functions of (seed, epoch, index).

    Any batch can be asked for at any time, so a resumed run needs no saved state. The split is moved to ``device``
    once, here; images stay uint8 until they are in a batch.

    ``mean`` and ``std`` are per channel, for pixels in [0, 1]. ``augment`` None: no crop, flip or cutout. ``shuffle``
    False: the split's own order. ``classes_per_batch`` rearranges the shuffled order into batches of few classes. The
    short last batch is kept unless ``drop_last``. ``needs`` are the names of the ``Batch`` fields wanted: ``image``
    adds the pixels in [0, 1] after augmentation and before normalisation, ``views`` two views of every image, drawn
    from it as ``views`` says (without ``augment``, which x alone has). ``x`` has ``dtype`` and, with
    ``channels_last``, that memory format.

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
        classes_per_batch: ClassesPerBatch | None = None,
        drop_last: bool = False,
        needs: frozenset[str] = frozenset(),
        views: Views | None = None,
        channels_last: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        channels, height, width = split.images_NCHW.shape[1:]
        gives = GIVES if views is None else GIVES | {"views"}
        found = finish_problems(mean, std, channels, needs, dtype, gives)
        found += [] if views is None else views.problems(channels)
        found += count_problems(len(split), batch_size, drop_last)
        if augment is not None:
            found += augment.problems(height, width)
        if classes_per_batch is not None and not shuffle:
            found.append("classes_per_batch: rearranges a shuffled order; give shuffle=True with it")
        if found:
            raise DataError("\n".join(f"Loader: {problem}" for problem in found))
        self.device = torch.device(device)
        self.batch_size = batch_size
        self.seed = seed
        self.augment = augment if augment is not None and augment != Augment() else None
        self.shuffle = shuffle
        self.classes_per_batch = classes_per_batch
        self.drop_last = drop_last
        self.needs = needs
        self.views = views if "views" in needs else None
        self.split = split.to(self.device)
        self._finish = Finish(mean, std, self.device, needs, dtype, channels_last)
        self._order: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        """Batches per epoch."""
        return batch_count(len(self.split), self.batch_size, self.drop_last)

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch]:
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
        change, look = None, None
        if self.views is not None:
            look = partial(self._two_views, pixels_BCHW, self.views, epoch, index)
        if self.augment is not None:
            draws_3B = crop_and_flip(len(labels_B), self.augment.pad, self.seed, epoch, index)
            pixels_BCHW = augmented(pixels_BCHW, self.augment, draws_3B.to(self.device))
            if self.augment.cutout:
                batch, _, height, width = pixels_BCHW.shape
                centres_2B = cutout_centres(batch, height, width, self.seed, epoch, index).to(self.device)
                # In [0, 1], as the mean colour of all sets is no whole number of 255 parts.
                change = partial(
                    cut_out, side=self.augment.cutout, centres_2B=centres_2B, fill_C11=self._finish.mean_C11
                )
        return self._finish(
            pixels_BCHW, labels_B, step=epoch * len(self) + index, epoch=epoch, change=change, look=look
        )

    def _two_views(self, plain_BCHW: Tensor, views: Views, epoch: int, index: int, image_BCHW: Tensor) -> Tensor:
        """Views of the images as they are in the split; ``image_BCHW`` is what the augmentation made of them."""
        if self.augment is not None:
            image_BCHW = plain_BCHW.to(image_BCHW.dtype).div_(255)
        return make_views(image_BCHW, views, self.seed, epoch, index)

    def _epoch_order(self, epoch: int) -> Tensor:
        """The epoch's permutation on the device; the newest is kept, since every batch of an epoch reads it."""
        if self._order is None or self._order[0] != epoch:
            order_N = epoch_order(len(self.split), self.seed, epoch)
            if self.classes_per_batch is not None and self.classes_per_batch.applies(epoch):
                labels_N = self.split.labels_N.cpu()
                order_N = few_classes(order_N, labels_N, self.classes_per_batch.classes, self.batch_size)
            self._order = epoch, order_N.to(self.device)
        return self._order[1]
