"""How images of any size become images of one size: the protocol of ImageNet."""

import math
from dataclasses import dataclass
from typing import Any

from localgrad.data.errors import extra

PURPOSE = "reading an image folder"


@dataclass(frozen=True)
class Crops:
    """Random resized crops for training, a centre crop for test, as torchvision's transforms do them.

    Training: a window of ``scale`` (lowest, highest) of the image's area and of ``ratio`` (lowest, highest) width over
    height, resized to ``size`` x ``size``, mirrored with probability 1/2 where ``flip``. Test: resized so that the
    shorter side is ``resize``, then a centre crop of ``size``. Bilinear, antialiased. The defaults are ImageNet's in
    all papers (methods.md 0.1).
    """

    size: int = 224
    resize: int = 256
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True

    def problems(self) -> list[str]:
        """What is wrong with the numbers."""
        found = []
        if self.size < 1:
            found.append(f"Crops.size: expected 1 or more pixels, got {self.size}")
        if self.resize < self.size:
            found.append(f"Crops.resize: expected at least size={self.size} pixels, got {self.resize}")
        for name, highest in (("scale", 1.0), ("ratio", math.inf)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= highest or math.isinf(high):
                bound = " <= 1" if name == "scale" else ""
                found.append(f"Crops.{name}: expected 0 < lowest <= highest{bound}, got {(low, high)}")
        return found

    def transform(self, *, training: bool) -> Any:
        """torchvision's transform of a Pillow image; its draws come from torch's global random state."""
        v2 = extra("torchvision.transforms.v2", PURPOSE)
        if not training:
            return v2.Compose([v2.Resize(self.resize), v2.CenterCrop(self.size)])
        crop = v2.RandomResizedCrop(self.size, scale=self.scale, ratio=self.ratio)
        return v2.Compose([crop, v2.RandomHorizontalFlip()] if self.flip else [crop])


CROPS = Crops()
"""ImageNet's."""
