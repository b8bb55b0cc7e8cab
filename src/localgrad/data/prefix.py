"""The first images of a data set, for a look at it in little time."""

from dataclasses import dataclass, replace
from typing import final

import torch

from localgrad.data.errors import DataError
from localgrad.data.images import Data, ImageSet
from localgrad.data.split import Split
from localgrad.data.stratify import held_out


@final
@dataclass(frozen=True)
class Prefix:
    """``train`` images of the training split of ``whole`` and ``test`` of its test split, every class in proportion.

    Which ones depends on no seed. A split that has no more is taken as it is. Only sets that lie in memory can be cut.
    """

    whole: Data
    train: int
    test: int

    @property
    def name(self) -> str:
        """That of the whole set, and how much of it."""
        return f"{self.whole.name}[:{self.train}]"

    @property
    def num_classes(self) -> int | None:
        """Those of the whole set."""
        return self.whole.num_classes

    @property
    def image(self) -> tuple[int, int, int] | None:
        """(C, H, W)."""
        return self.whole.image

    def problems(self) -> list[str]:
        """Those of the whole set, and numbers below 1."""
        wrong = [
            f"{self.name}: {name} must be at least 1, got {count}."
            for name, count in (("train", self.train), ("test", self.test))
            if count < 1
        ]
        return wrong + list(self.whole.problems())

    def load(self) -> ImageSet:
        """Read the whole set and keep the prefix. Raises ``DataError`` where it cannot, or the set is streamed."""
        if found := self.problems():
            raise DataError("\n".join(found))
        images = self.whole.load()
        if not isinstance(images, ImageSet):
            raise DataError(f"{self.name}: {self.whole.name} is streamed from files, and only sets in memory are cut.")
        classes = len(images.classes)
        return replace(
            images,
            name=self.name,
            train=_first(images.train, self.train, classes),
            test=_first(images.test, self.test, classes),
        )


def _first(split: Split, count: int, classes: int) -> Split:
    if count >= len(split):
        return split
    return split.take(torch.nonzero(held_out(split.labels_N.cpu(), count, 0, classes)).flatten())
