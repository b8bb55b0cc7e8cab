"""The first images of a split, for whoever wants to look at a few."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import final

import torch

from localgrad.data.errors import DataError
from localgrad.data.images import Batches
from localgrad.spec import Batch


@final
@dataclass(frozen=True)
class FirstImages:
    """Batches of the first ``most`` images that ``whole`` gives, or of all when there are fewer.

    They are without views. Raises ``DataError`` for fewer than one image.
    """

    whole: Batches
    most: int

    def __post_init__(self) -> None:
        if self.most < 1:
            raise DataError(f"FirstImages: expected 1 image or more, got {self.most}")

    @property
    def split(self) -> range:
        """Something as long as there are images."""
        return range(min(self.most, len(self.whole.split)))

    @property
    def device(self) -> torch.device:
        """Where the batches lie."""
        return self.whole.device

    def __len__(self) -> int:
        """Batches per epoch."""
        return sum(1 for _ in self.epoch(0))

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch]:
        """Batches ``start`` to the last one."""
        left = self.most
        with closing(self.whole.epoch(epoch)) as batches:
            for index, batch in enumerate(batches):
                if index >= start:
                    yield _cut(batch, left)
                left -= len(batch.x)
                if left <= 0:
                    return

    def batch(self, epoch: int, index: int) -> Batch:
        """Batch ``index`` of ``epoch``, both counted from 0."""
        with closing(self.epoch(epoch, index)) as batches:
            return next(batches)


def _cut(batch: Batch, rows: int) -> Batch:
    if len(batch.x) <= rows:
        return replace(batch, views=None)
    image = None if batch.image is None else batch.image[:rows]
    y = None if batch.y is None else batch.y[:rows]
    return replace(batch, x=batch.x[:rows], y=y, image=image, views=None)
