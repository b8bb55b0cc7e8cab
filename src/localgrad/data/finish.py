"""The last part of every loader: from uint8 pixels and labels to a normalised Batch on the device."""

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from localgrad.data.checks import statistics_problems
from localgrad.spec import Batch

GIVES = frozenset({"x", "y", "image"})


def finish_problems(
    mean: tuple[float, ...],
    std: tuple[float, ...],
    channels: int,
    needs: frozenset[str],
    dtype: torch.dtype,
    gives: frozenset[str] = GIVES,
) -> list[str]:
    """What a Finish cannot be made of."""
    found = statistics_problems(mean, std, channels)
    if needs - gives:
        found.append(f"needs: this loader gives {sorted(gives)}, asked for {sorted(needs - gives)} as well")
    if not dtype.is_floating_point:
        found.append(f"dtype: expected a floating-point type, got {dtype}")
    return found


def count_problems(samples: int, batch_size: int, drop_last: bool) -> list[str]:
    """Why ``samples`` make no batch of ``batch_size``."""
    if batch_size < 1:
        return [f"batch_size: expected 1 or more, got {batch_size}"]
    if samples < (batch_size if drop_last else 1):
        return [
            f"no batch can be made: the split has {samples} samples, batch_size={batch_size}, drop_last={drop_last}"
        ]
    return []


def batch_count(samples: int, batch_size: int, drop_last: bool) -> int:
    """Batches per epoch."""
    whole, rest = divmod(samples, batch_size)
    return whole + (1 if rest and not drop_last else 0)


@final
class Finish:
    """Makes the Batch of pixels and labels: scaling to [0, 1], ``change`` in that range, normalisation, layout.

    ``needs`` with ``image`` keeps the pixels in [0, 1] before normalisation beside ``x``; with ``views`` the two views
    of every image, which ``look`` makes of its pixels in [0, 1], are normalised too.
    """

    def __init__(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device,
        needs: frozenset[str],
        dtype: torch.dtype,
        channels_last: bool,
    ) -> None:
        self.needs = needs
        self.dtype = dtype
        # 16-bit types would round pixel values before they are normalised.
        self._work = torch.promote_types(dtype, torch.float32)
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self.mean_C11 = torch.tensor(mean, dtype=self._work, device=device).view(-1, 1, 1)
        self._std_C11 = torch.tensor(std, dtype=self._work, device=device).view(-1, 1, 1)

    def __call__(
        self,
        pixels_BCHW: Tensor,
        labels_B: Tensor,
        *,
        step: int,
        epoch: int,
        change: Callable[[Tensor], Tensor] | None = None,
        look: Callable[[Tensor], Tensor] | None = None,
    ) -> Batch:
        """``pixels_BCHW`` uint8 and ``labels_B`` int64, both on the device."""
        image_BCHW = pixels_BCHW.to(self._work).div_(255)
        if change is not None:
            image_BCHW = change(image_BCHW)
        views_VCHW = None if look is None else look(image_BCHW).sub_(self.mean_C11).div_(self._std_C11)
        if "image" in self.needs:
            x_BCHW = (image_BCHW - self.mean_C11).div_(self._std_C11)
        else:
            x_BCHW = image_BCHW.sub_(self.mean_C11).div_(self._std_C11)
        return Batch(
            x=self._laid_out(x_BCHW),
            y=labels_B,
            image=self._laid_out(image_BCHW) if "image" in self.needs else None,
            views=None if views_VCHW is None else self._laid_out(views_VCHW),
            step=step,
            epoch=epoch,
        )

    def _laid_out(self, pixels_BCHW: Tensor) -> Tensor:
        # Last, because arithmetic by channel is several times slower in channels_last on the CPU.
        return pixels_BCHW.to(self.dtype).contiguous(memory_format=self._format)
