"""Two views of every image for contrastive learning: SimCLR's augmentation, drawn per sample, on the device batch.

Legend: B images, V = 2B views, C channels, H height, W width.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor

from localgrad.data.draws import generator
from localgrad.data.errors import extra, missing_extra

PURPOSE = "colour jitter, grayscale and blur of views"
COLOURS = ("brightness", "contrast", "saturation", "hue")
TRIES = 10
"""Windows that are drawn for a crop before the largest central one is taken, as torchvision does."""


@final
@dataclass(frozen=True)
class Views:
    """SimCLR's augmentation (Chen et al. 2020), by default the thesis' for CIFAR (figure A.2): no blur.

    A window of ``scale`` (lowest, highest) of the image's area and of ``ratio`` (lowest, highest) width over height,
    resized to the image's size (bilinear), mirrored with probability ``flip``; with probability ``jitter`` the colours
    change, in an order drawn per sample: ``brightness``, ``contrast`` and ``saturation`` by factors within 1 plus or
    minus so much, ``hue`` by at most so much of a turn; with probability ``grayscale`` no colour is left; with
    probability ``blur`` a Gaussian of ``blur_sigma`` (lowest, highest) pixels over a tenth of the image (SimCLR has 0.5
    on ImageNet). Every view of every sample has its own draws, which are functions of (seed, epoch, index of the
    batch). Pixels are those of torchvision's transforms for the same draws. Colours and blur need kornia.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    grayscale: float = 0.2
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)

    def problems(self, channels: int) -> list[str]:
        """What is wrong with the numbers, and with them on images of so many channels; a missing kornia."""
        found = []
        for name, highest in (("scale", 1.0), ("ratio", math.inf), ("blur_sigma", math.inf)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= highest or math.isinf(high):
                bound = " <= 1" if name == "scale" else ""
                found.append(f"Views.{name}: expected 0 < lowest <= highest{bound}, got {(low, high)}")
        for name, highest in (("flip", 1), ("jitter", 1), ("grayscale", 1), ("blur", 1), ("hue", 0.5)):
            if not 0 <= getattr(self, name) <= highest:
                found.append(f"Views.{name}: expected 0 to {highest}, got {getattr(self, name)}")
        for name in COLOURS[:3]:
            if not 0 <= getattr(self, name) < math.inf:
                found.append(f"Views.{name}: expected 0 or more, got {getattr(self, name)}")
        coloured = [name for name in self.changed_colours if name in ("saturation", "hue")]
        coloured += ["grayscale"] if self.grayscale else []
        if channels != 3 and coloured:
            found.append(
                f"Views.{', Views.'.join(coloured)}: images of {channels} channel{'s' * (channels > 1)} have no "
                "colour; set them to 0"
            )
        return found + (missing_extra("kornia", PURPOSE, "ssl") if self.needs_kornia else [])

    @property
    def changed_colours(self) -> tuple[str, ...]:
        """The kinds of colour jitter that do something."""
        return tuple(name for name in COLOURS if getattr(self, name)) if self.jitter else ()

    @property
    def needs_kornia(self) -> bool:
        """Whether anything but windows and mirrors is asked for."""
        return bool(self.changed_colours or self.grayscale or self.blur)


@final
@dataclass(frozen=True)
class Draws:
    """Everything random about V views, on the CPU: windows, mirrors, colours, blur.

    ``window_4V`` (float) are top, left, height and width in pixels; ``order_VK`` the order of the kinds of colour
    jitter, ``factors_KV`` their factors; ``mirrored_V``, ``jittered_V``, ``gray_V`` and ``blurred_V`` are true where
    that is done, ``sigma_V`` the blur's width.
    """

    window_4V: Tensor
    mirrored_V: Tensor
    jittered_V: Tensor
    order_VK: Tensor
    factors_KV: Tensor
    gray_V: Tensor
    blurred_V: Tensor
    sigma_V: Tensor


def drawn(views: Views, count: int, height: int, width: int, seed: int, epoch: int, index: int) -> Draws:
    """The draws for ``count`` views of images of ``height`` x ``width``: a function of (seed, epoch, index)."""
    source = generator("views", seed, epoch, index)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=source, dtype=torch.float64)

    area_VT = height * width * uniform(*views.scale, count, TRIES)
    ratio_VT = uniform(math.log(views.ratio[0]), math.log(views.ratio[1]), count, TRIES).exp()
    heights_VT, widths_VT = (area_VT / ratio_VT).sqrt().round(), (area_VT * ratio_VT).sqrt().round()
    fits_VT = (heights_VT >= 1) & (heights_VT <= height) & (widths_VT >= 1) & (widths_VT <= width)
    first_V1 = fits_VT.int().argmax(1, keepdim=True)
    # Where no try fits: the largest central window of a ratio that is allowed.
    side = max(min(width / height, views.ratio[1]), views.ratio[0])
    rest = (min(height, round(width / side)), min(width, round(height * side)))
    fitted_V = fits_VT.any(1)
    sizes = [
        torch.where(fitted_V, tried_VT.gather(1, first_V1).squeeze(1), float(central))
        for tried_VT, central in zip((heights_VT, widths_VT), rest, strict=True)
    ]
    corners = []
    for size_V, full in zip(sizes, (height, width), strict=True):
        place_V = (uniform(0, 1, count) * (full - size_V + 1)).floor()
        corners.append(torch.where(fitted_V, place_V, ((full - size_V) / 2).round()))
    kinds = len(COLOURS)
    factors = [uniform(max(0.0, 1 - getattr(views, name)), 1 + getattr(views, name), count) for name in COLOURS[:3]]
    factors.append(uniform(-views.hue, views.hue, count))
    return Draws(
        window_4V=torch.stack((*corners, *sizes)),
        mirrored_V=uniform(0, 1, count) < views.flip,
        jittered_V=uniform(0, 1, count) < views.jitter,
        order_VK=torch.rand((count, kinds), generator=source).argsort(1),
        factors_KV=torch.stack(factors),
        gray_V=uniform(0, 1, count) < views.grayscale,
        blurred_V=uniform(0, 1, count) < views.blur,
        sigma_V=uniform(*views.blur_sigma, count),
    )


def make_views(image_BCHW: Tensor, views: Views, seed: int, epoch: int, index: int) -> Tensor:
    """views_VCHW of images in [0, 1], the two of an image in rows that follow each other; in [0, 1], too."""
    image_VCHW = image_BCHW.repeat_interleave(2, 0)
    count, channels, height, width = image_VCHW.shape
    draws = drawn(views, count, height, width, seed, epoch, index)
    made_VCHW = cropped(image_VCHW, draws)
    made_VCHW = recoloured(made_VCHW, views.changed_colours, draws)
    if views.grayscale:
        made_VCHW = changed(made_VCHW, draws.gray_V, lambda some, _: gray(some))
    if views.blur:
        kernel = 2 * (max(height, width) // 20) + 1
        made_VCHW = changed(made_VCHW, draws.blurred_V, lambda some, rows: blurred(some, draws.sigma_V[rows], kernel))
    assert made_VCHW.shape[1] == channels
    return made_VCHW


def cropped(image_VCHW: Tensor, draws: Draws) -> Tensor:
    """Every image's window, resized to the image's size by bilinear interpolation and mirrored where drawn so.

    Two small matrix products per image. A window is never larger than its image, so nothing is to be smoothed.
    """
    top_V, left_V, height_V, width_V = draws.window_4V
    never_V = torch.zeros_like(draws.mirrored_V)
    down_VHH = _weights(top_V, height_V, image_VCHW.shape[2], never_V).to(image_VCHW)
    along_VWW = _weights(left_V, width_V, image_VCHW.shape[3], draws.mirrored_V).to(image_VCHW)
    out: Tensor = down_VHH.unsqueeze(1) @ image_VCHW @ along_VWW.mT.unsqueeze(1)
    return out


def _weights(start_V: Tensor, size_V: Tensor, full: int, mirrored_V: Tensor) -> Tensor:
    """How much of every pixel of an axis of ``full`` pixels goes into every pixel of the resized window: (V, to, from).

    Centres of pixels are at halves; what lies outside of the window is its border pixel.
    """
    to_S = torch.arange(full, dtype=torch.float64)
    to_VS = torch.where(mirrored_V[:, None], full - 1 - to_S, to_S)
    inside_VS = ((to_VS + 0.5) * size_V[:, None] / full - 0.5).clamp(min=0)
    from_VS = start_V[:, None] + torch.minimum(inside_VS, size_V[:, None] - 1)
    return (1 - (from_VS[:, :, None] - to_S).abs()).clamp(min=0)


def recoloured(image_VCHW: Tensor, kinds: tuple[str, ...], draws: Draws) -> Tensor:
    """Colour jitter of ``kinds``, every view in its own order, by its own factors."""
    for place in range(len(COLOURS)):
        for kind in kinds:
            number = COLOURS.index(kind)
            chosen_V = draws.jittered_V & (draws.order_VK[:, place] == number)
            jitter = partial(_adjusted_rows, kind, draws.factors_KV[number])
            image_VCHW = changed(image_VCHW, chosen_V, jitter)
    return image_VCHW


def changed(image_VCHW: Tensor, chosen_V: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """``change(images, rows)`` done to the views that are chosen, in place. Their number is known on the CPU."""
    rows = chosen_V.nonzero().flatten()
    if len(rows):
        there = rows.to(image_VCHW.device)
        image_VCHW[there] = change(image_VCHW[there], rows)
    return image_VCHW


def _adjusted_rows(kind: str, factor_V: Tensor, image_VCHW: Tensor, rows: Tensor) -> Tensor:
    return adjusted(image_VCHW, kind, factor_V[rows])


def adjusted(image_VCHW: Tensor, kind: str, factor_V: Tensor) -> Tensor:
    """One kind of colour jitter, each image by its factor."""
    enhance: Any = extra("kornia.enhance", PURPOSE, "ssl")
    factor_V = factor_V.to(image_VCHW)
    match kind:
        case "brightness":
            made = enhance.adjust_brightness_accumulative(image_VCHW, factor_V)
        case "contrast":
            made = enhance.adjust_contrast_with_mean_subtraction(image_VCHW, factor_V)
        case "saturation":
            made = enhance.adjust_saturation_with_gray_subtraction(image_VCHW, factor_V)
        case _:
            made = enhance.adjust_hue(image_VCHW, factor_V * 2 * math.pi)
    out: Tensor = made
    return out


def gray(image_VCHW: Tensor) -> Tensor:
    """Images without colour, of as many channels."""
    color: Any = extra("kornia.color", PURPOSE, "ssl")
    out: Tensor = color.rgb_to_grayscale(image_VCHW).expand_as(image_VCHW)
    return out


def blurred(image_VCHW: Tensor, sigma_V: Tensor, kernel: int) -> Tensor:
    """Images under a Gaussian of ``kernel`` x ``kernel`` pixels, each of its own width."""
    filters: Any = extra("kornia.filters", PURPOSE, "ssl")
    sigma_V2 = sigma_V.to(image_VCHW)[:, None].expand(-1, 2)
    out: Tensor = filters.gaussian_blur2d(image_VCHW, (kernel, kernel), sigma_V2, border_type="reflect")
    return out
