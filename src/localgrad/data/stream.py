"""A data set whose images stay in their files."""

from dataclasses import dataclass, replace

import torch

from localgrad.data.crops import Crops
from localgrad.data.file_split import FileSplit
from localgrad.data.images import Part
from localgrad.data.stratify import split_validation
from localgrad.data.stream_loader import StreamLoader
from localgrad.data.views import Views


@dataclass(frozen=True, eq=False)
class ImageStream:
    """What ``ImageSet`` is for images in memory. ``mean`` and ``std`` are per channel, for pixels in [0, 1].

    ``workers`` are the processes of each loader that decode and crop; see ``StreamLoader``.
    """

    name: str
    train: FileSplit
    test: FileSplit
    classes: tuple[str, ...]
    crops: Crops
    mean: tuple[float, ...]
    std: tuple[float, ...]
    workers: int
    val: FileSplit | None = None

    @property
    def image(self) -> tuple[int, int, int]:
        """Shape of one image in a batch, (3, size, size)."""
        return 3, self.crops.size, self.crops.size

    def hold_out(self, fraction: float, seed: int) -> "ImageStream":
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
    ) -> StreamLoader | None:
        """A StreamLoader; None where there is no ``val``. Raises ``DataError``, also where ``needs`` has views.

        ``views`` is not used: views are made of sets that lie in memory.
        """
        split: FileSplit | None = getattr(self, part)
        if split is None:
            return None
        return StreamLoader(
            split,
            crops=self.crops,
            mean=self.mean,
            std=self.std,
            batch_size=batch_size,
            seed=seed,
            device=device,
            training=training,
            workers=self.workers,
            needs=needs,
            channels_last=channels_last,
            drop_last=drop_last,
        )
