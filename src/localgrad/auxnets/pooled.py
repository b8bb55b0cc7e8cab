"""PredSim's local classifier: average pooling down to a bounded number of features, one linear layer.

Nokland & Eidnes 2019, "Training neural networks with local error signals", arXiv 1901.06656; the pooling rule is that
of the released code (methods.md 4).
"""

from collections import OrderedDict
from dataclasses import dataclass
from math import ceil, prod
from typing import final

from torch import nn

from localgrad.spec import Shape


@final
@dataclass(frozen=True)
class Pooling:
    """Average pooling of ``kernel`` (h, w), the stride the same, zeros of ``padding`` (h, w) counted in; gives ``out``.

    A kernel of (1, 1) is no pooling.
    """

    kernel: tuple[int, int]
    padding: tuple[int, int]
    out: Shape


def pool_to(shape: Shape, max_features: int) -> Pooling:
    """The pooling that leaves at most ``max_features`` features of a map of ``shape`` (C, H, W).

    Kernels double, the height's before the width's, until few enough are left: the pooling may be anisotropic. More are
    left only where there are more channels than that: one position each then.
    """
    channels, height, width = shape
    high = wide = 1

    def out() -> Shape:
        return (channels, ceil(height / high), ceil(width / wide))

    while prod(out()) > max_features and (high < height or wide < width):
        if high < height:
            high *= 2
        if prod(out()) > max_features and wide < width:
            wide *= 2
    # Half a kernel on both sides where the kernel does not divide the size: one more window fits.
    padding = (high // 2 if height % high else 0, wide // 2 if width % wide else 0)
    return Pooling((high, wide), padding, out())


@final
@dataclass(frozen=True)
class PooledDecoder:
    """Average pooling to at most ``max_features`` features, flatten, Linear; a vector is not pooled.

    ``shape`` is (C, H, W) of a feature map or (F,) of a vector. ``zero`` starts the weight (not the bias) at zero, as
    PredSim's code does; AugLocal's does not (methods.md 12, row 36). Maps h_BCHW or h_BF to logits_BK.
    """

    shape: Shape
    num_classes: int
    max_features: int
    zero: bool = False

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of [pool, flatten], fc."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        features = self.shape[0]
        if len(self.shape) == 3:
            pooling = pool_to(self.shape, self.max_features)
            if pooling.kernel != (1, 1):
                layers["pool"] = nn.AvgPool2d(pooling.kernel, padding=pooling.padding)
            layers["flatten"] = nn.Flatten()
            features = prod(pooling.out)
        fc = nn.Linear(features, self.num_classes)
        if self.zero:
            nn.init.zeros_(fc.weight)
        layers["fc"] = fc
        return nn.Sequential(layers)
