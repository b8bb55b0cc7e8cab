"""The handwritten digits that scikit-learn carries: a set that needs no download."""

from dataclasses import dataclass

import numpy as np
import torch

from localgrad.data.augment import Augment
from localgrad.data.checks import statistics_problems
from localgrad.data.errors import DataError, extra, missing_extra
from localgrad.data.images import ImageSet
from localgrad.data.split import Split
from localgrad.data.stratify import held_out

_TEST = 360
_AUGMENT = Augment(pad=1, pad_mode="zero")
_PURPOSE = "digits: reading scikit-learn's copy"


@dataclass(frozen=True)
class Digits:
    """1,797 grey images of the digits 0 to 9, (1, 8, 8): 1,437 for training, 360 for test.

    The division is stratified and fixed: it depends on no seed and no library version. Grey values 0..16 are scaled to
    0..255. The default normalisation is the training split's own mean and deviation, rounded; the default augmentation
    is a crop after padding 1 with zeros (a flip would make other digits). Source: Alpaydin and Kaynak 1998,
    the test part of UCI's optdigits, through ``sklearn.datasets.load_digits``.
    """

    augment: Augment = _AUGMENT
    mean: tuple[float, ...] = (0.306,)
    std: tuple[float, ...] = (0.376,)

    @property
    def name(self) -> str:
        """``digits``."""
        return "digits"

    @property
    def num_classes(self) -> int:
        """10."""
        return 10

    @property
    def image(self) -> tuple[int, int, int]:
        """(1, 8, 8)."""
        return 1, 8, 8

    def problems(self) -> list[str]:
        """A missing scikit-learn and wrong numbers."""
        channels, height, width = self.image
        found = statistics_problems(self.mean, self.std, channels) + self.augment.problems(height, width)
        return missing_extra("sklearn", _PURPOSE) + [f"{self.name}: {problem}" for problem in found]

    def load(self) -> ImageSet:
        """Read the set. Raises ``DataError`` where scikit-learn is missing or a field does not fit."""
        if found := self.problems():
            raise DataError("\n".join(found))
        held = extra("sklearn.datasets", _PURPOSE).load_digits()
        pixels_NHW = np.rint(held.images * (255 / 16)).astype(np.uint8)
        whole = Split(torch.from_numpy(pixels_NHW).unsqueeze(1), torch.from_numpy(held.target.astype(np.int64)))
        test_N = held_out(whole.labels_N, _TEST, seed=0, num_classes=self.num_classes)
        train = whole.take(torch.nonzero(~test_N).flatten())
        test = whole.take(torch.nonzero(test_N).flatten())
        classes = tuple(map(str, range(10)))
        return ImageSet(self.name, train, test, classes, self.mean, self.std, self.augment)
