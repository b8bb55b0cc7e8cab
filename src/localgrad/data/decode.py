"""Decodes the images of a folder once, with a few threads (Pillow releases Python's lock while it decodes)."""

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from localgrad.data.errors import DataError, extra
from localgrad.data.scan import Entry, Listing, shown

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]
"""(height, width)."""

CHUNK = 64
"""Images per task: decoding a small JPEG takes less than handing over a task."""


def decode(listing: Listing, size: Size | None) -> tuple[Pixels, Pixels]:
    """(train, test) as uint8 NCHW in RGB, all of ``size``; where it is None, the size that all images have.

    Larger or smaller images are resized (bilinear, antialiased) until they cover ``size`` and cut at the centre, as
    torchvision's ``Resize`` and ``CenterCrop`` do. Raises ``DataError`` that names all images that cannot be decoded,
    or that says which sizes there are where they differ and ``size`` is None.
    """
    pil = extra("PIL.Image", "reading an image folder")
    expected = size or _first_size(pil, listing)
    faults: list[str] = []
    sizes: Counter[Size] = Counter()
    splits = []
    for entries in (listing.train, listing.test):
        try:
            pixels_NCHW = np.empty((len(entries), 3, *expected), np.uint8)
        except MemoryError as error:
            need = len(entries) * 3 * expected[0] * expected[1] / 2**30
            raise DataError(
                f"{listing.root}: {len(entries)} images of {expected[0]}x{expected[1]} need {need:.1f} GiB of memory, "
                "which there is not; give image= a smaller size"
            ) from error
        _decode_split(pil, listing.root, entries, pixels_NCHW, resize=size is not None, faults=faults, sizes=sizes)
        splits.append(pixels_NCHW)
    problems = []
    if faults:
        problems.append(undecodable(listing.root, faults))
    if size is None and len(sizes) > 1:
        listed = [f"{height}x{width}: {count} images" for (height, width), count in sizes.most_common()]
        problems.append(
            f"{listing.root}: images have {len(sizes)} different sizes (height x width); give image=, the size to "
            f"resize and crop them to, e.g. image={min(sizes.most_common(1)[0][0])}:\n{shown(listed)}"
        )
    if problems:
        raise DataError("\n".join(problems))
    return splits[0], splits[1]


def _decode_split(
    pil: Any,
    root: Path,
    entries: Sequence[Entry],
    pixels_NCHW: Pixels,
    *,
    resize: bool,
    faults: list[str],
    sizes: Counter[Size],
) -> None:
    """Fill ``pixels_NCHW``; add to ``faults`` and ``sizes``, in the order of the entries."""
    height, width = pixels_NCHW.shape[2:]

    def chunk(begin: int) -> tuple[list[str], Counter[Size]]:
        broken, met = [], Counter[Size]()
        for i, entry in enumerate(entries[begin : begin + CHUNK], begin):
            try:
                with pil.open(root / entry.path) as image:
                    met[image.height, image.width] += 1
                    if resize or (image.height, image.width) == (height, width):
                        pixels_NCHW[i] = _pixels(pil, image, height, width).transpose(2, 0, 1)
            except Exception as error:  # noqa: BLE001 -- Pillow's formats raise anything on damaged files; all are named
                broken.append(fault(root, entry.path, error))
        return broken, met

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for broken, met in pool.map(chunk, range(0, len(entries), CHUNK)):
            faults.extend(broken)
            sizes.update(met)


def undecodable(root: Path, faults: Sequence[str]) -> str:
    """The problem that these files (each with its reason) are."""
    return f"{root}: {len(faults)} files cannot be decoded; repair or remove them:\n{shown(list(faults))}"


def fault(root: Path, path: str, error: Exception) -> str:
    """Why one file cannot be decoded; Pillow's texts name the whole path again."""
    text = str(error).replace(str(root) + os.sep, "")
    return f"{path}: {text or type(error).__name__}"


def rgb(image: Any) -> Any:
    """A Pillow image as RGB. Raises ``DataError`` for modes of more than 8 bits per value."""
    if image.mode.startswith(("I", "F")):
        raise DataError(f"mode {image.mode} (more than 8 bits per value) would be cut off; convert it to 8 bits")
    if "transparency" in image.info:
        # Pillow warns of palettes with transparency unless they go through RGBA.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _pixels(pil: Any, image: Any, height: int, width: int) -> Pixels:
    image = rgb(image)
    if (image.height, image.width) != (height, width):
        image = _covering(pil, image, height, width)
    pixels_HWC: Pixels = np.asarray(image)
    return pixels_HWC


def _covering(pil: Any, image: Any, height: int, width: int) -> Any:
    """Resized, aspect kept, to the smallest size that covers (height, width), then cut at the centre."""
    if width * image.height >= height * image.width:
        whole = (width, max(height, width * image.height // image.width))
    else:
        whole = (max(width, height * image.width // image.height), height)
    if whole != image.size:
        image = image.resize(whole, pil.Resampling.BILINEAR)
    left, top = round((whole[0] - width) / 2), round((whole[1] - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _first_size(pil: Any, listing: Listing) -> Size:
    """Size of the first image that opens: what all others are compared with."""
    for entry in listing.train + listing.test:
        try:
            with pil.open(listing.root / entry.path) as image:
                return image.height, image.width
        except Exception:  # noqa: BLE001, S112 -- it is named when all are decoded
            continue
    return 1, 1
