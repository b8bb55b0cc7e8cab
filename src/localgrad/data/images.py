"""What a data set is, once read, and what is asked of it: protocols, and the set that lies in memory."""

from collections.abc import Generator, Sized
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import torch

from localgrad.data.augment import Augment
from localgrad.data.checks import check_labels, statistics_problems
from localgrad.data.class_batches import ClassesPerBatch
from localgrad.data.errors import DataError
from localgrad.data.loader import Loader
from localgrad.data.split import Split
from localgrad.data.stratify import split_validation
from localgrad.data.views import Views
from localgrad.spec import Batch

Part = Literal["train", "val", "test"]


class Batches(Protocol):
    """A loader: batches of one split, as a function of (epoch, index)."""

    @property
    def split(self) -> Sized:
        """What it loads from; its length is the number of samples."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the batches lie."""
        ...

    def __len__(self) -> int:
        """Batches per epoch."""
        ...

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch]:
        """Batches ``start`` to the last of one epoch. Close it when it is left early: that ends what works for it."""
        ...

    def batch(self, epoch: int, index: int) -> Batch:
        """Batch ``index`` of ``epoch``, both counted from 0: what ``epoch`` gives at this place."""
        ...


class Images(Protocol):
    """A data set that was read: in memory (``ImageSet``) or streamed from files (``ImageStream``)."""

    @property
    def name(self) -> str:
        """Short name, for records and reports."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; labels are indices into them."""
        ...

    @property
    def image(self) -> tuple[int, int, int]:
        """Shape of one image in a batch, (C, H, W)."""
        ...

    def hold_out(self, fraction: float, seed: int) -> "Images":
        """The same set with a stratified ``fraction`` of the training split as validation split."""
        ...

    def loader(
        self,
        part: Part,
        *,
        training: bool,
        batch_size: int,
        seed: int,
        device: torch.device,
        needs: frozenset[str],
        views: Views | None,
        channels_last: bool,
        drop_last: bool,
    ) -> Batches | None:
        """Batches of one split, shuffled and augmented for ``training``; None where the set has no such split.

        ``drop_last`` leaves out the short last batch. ``views`` says how views are drawn, where ``needs`` has them.
        """
        ...


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set in memory. ``mean`` and ``std`` are per channel, for images in [0, 1].

    Raises ``DataError`` where labels are not indices into ``classes``, the splits' image shapes differ, a split is
    empty, or the normalisation does not fit the channels.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Augment
    val: Split | None = None
    classes_per_batch: ClassesPerBatch | None = None

    def __post_init__(self) -> None:
        channels, height, width = self.image
        found = statistics_problems(self.mean, self.std, channels) + self.augment.problems(height, width)
        if self.train.images_NCHW.shape[1:] != self.test.images_NCHW.shape[1:]:
            shapes = (tuple(split.images_NCHW.shape[1:]) for split in (self.train, self.test))
            found.append("train and test images must have one shape, got {} and {}".format(*shapes))
        found.extend(f"the {name} split is empty" for name in ("train", "test") if not len(getattr(self, name)))
        if self.classes_per_batch is not None:
            found += self.classes_per_batch.problems(len(self.classes))
        if found:
            raise DataError("\n".join(f"{self.name}: {problem}" for problem in found))
        check_labels(self.train.labels_N, len(self.classes), f"{self.name}, train split")
        check_labels(self.test.labels_N, len(self.classes), f"{self.name}, test split")

    @property
    def image(self) -> tuple[int, int, int]:
        """Shape of one image, (C, H, W)."""
        channels, height, width = self.train.images_NCHW.shape[1:]
        return channels, height, width

    def hold_out(self, fraction: float, seed: int) -> "ImageSet":
        """The same set with a stratified ``fraction`` of the training split as ``val``. Raises ``DataError``."""
        train, val = split_validation(self.train, fraction, seed, len(self.classes))
        return replace(self, train=train, val=val)

    def loader(
        self,
        part: Part,
        *,
        training: bool,
        batch_size: int,
        seed: int,
        device: torch.device,
        needs: frozenset[str] = frozenset(),
        views: Views | None = None,
        channels_last: bool = False,
        drop_last: bool = False,
    ) -> Loader | None:
        """A Loader with the whole split on ``device``; None where there is no ``val``. Raises ``DataError``."""
        split: Split | None = getattr(self, part)
        if split is None:
            return None
        return Loader(
            split,
            mean=self.mean,
            std=self.std,
            batch_size=batch_size,
            seed=seed,
            device=device,
            augment=self.augment if training else None,
            shuffle=training,
            classes_per_batch=self.classes_per_batch if training else None,
            needs=needs,
            views=views,
            channels_last=channels_last,
            drop_last=drop_last,
        )


@runtime_checkable
class Data(Protocol):
    """A data spec: a frozen dataclass that knows where its files are and how to read them.

    ``num_classes`` and ``image`` are None where only the files tell.
    """

    @property
    def name(self) -> str:
        """Short name, for records and reports."""
        ...

    @property
    def num_classes(self) -> int | None:
        """Number of classes, without reading images."""
        ...

    @property
    def image(self) -> tuple[int, int, int] | None:
        """Shape of one image, (C, H, W), without reading images."""
        ...

    def problems(self) -> list[str]:
        """Everything that would make ``load()`` fail and can be seen cheaply; empty when there is nothing."""
        ...

    def load(self) -> Images:
        """Read the set. Raises ``DataError``."""
        ...
