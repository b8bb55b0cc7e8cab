"""Everything random about data, as a function of numbers that a run knows: no generator state to save.

Drawn on the CPU, so every device sees the same order and the same crops.
"""

import hashlib

import torch
from torch import Tensor


def stable_seed(purpose: str, *numbers: int) -> int:
    """A seed in 0 .. 2^63-1 that depends on nothing but its arguments (Python's ``hash`` differs between processes)."""
    text = ":".join((purpose, *map(str, numbers)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(purpose: str, *numbers: int) -> torch.Generator:
    """A CPU generator seeded by ``stable_seed``."""
    made = torch.Generator(device="cpu")
    made.manual_seed(stable_seed(purpose, *numbers))
    return made


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """Order of the samples in one epoch: a permutation of 0 .. count-1, int64, on the CPU."""
    return torch.randperm(count, generator=generator("order", seed, epoch))


def crop_and_flip(batch: int, pad: int, seed: int, epoch: int, index: int) -> Tensor:
    """Draws for one batch, int64 (3, B) on the CPU: row and column of the crop in 0 .. 2*pad, and 1 where flipped.

    The crops do not depend on whether flips are used, nor on how the borders are padded.
    """
    source = generator("augment", seed, epoch, index)
    corner_2B = torch.randint(0, 2 * pad + 1, (2, batch), generator=source)
    flip_1B = torch.randint(0, 2, (1, batch), generator=source)
    return torch.cat((corner_2B, flip_1B))


def cutout_centres(batch: int, height: int, width: int, seed: int, epoch: int, index: int) -> Tensor:
    """Centres of the squares of one batch, int64 (2, B) on the CPU: row in 0 .. height-1, column in 0 .. width-1.

    A generator of its own, so that crops and flips are the same with and without cutout.
    """
    source = generator("cutout", seed, epoch, index)
    rows_B = torch.randint(0, height, (batch,), generator=source)
    columns_B = torch.randint(0, width, (batch,), generator=source)
    return torch.stack((rows_B, columns_B))
