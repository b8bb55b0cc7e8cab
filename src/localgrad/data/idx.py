"""Reads the idx format of the MNIST family.

Source: LeCun, Cortes, Burges, The MNIST database: two zero bytes, the type (8: unsigned byte), the number of axes, the
sizes as big-endian 32-bit numbers, then the values, last axis fastest.
"""

import gzip
import math
import struct
import zlib

import numpy as np
import torch
from torch import Tensor

from localgrad.data.errors import DataError


def read_idx(raw: bytes, where: str, axes: int) -> Tensor:
    """The uint8 tensor of ``axes`` axes in an idx file, which may be compressed (gzip). Raises ``DataError``."""
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"{where}: truncated or damaged gzip file of {len(raw)} bytes ({error}); put the published file there"
            ) from error
    head = 4 + 4 * axes
    magic = bytes((0, 0, 8, axes))
    if raw[:4] != magic or len(raw) < head:
        raise DataError(
            f"{where}: no idx file of bytes with {axes} axes: expected it to begin with {magic.hex(' ')}, got "
            f"{raw[:4].hex(' ') or 'an empty file'}; put the published file there"
        )
    shape = struct.unpack(f">{axes}I", raw[4:head])
    expected = head + math.prod(shape)
    if len(raw) != expected:
        raise DataError(
            f"{where}: truncated or damaged: expected {expected} bytes for shape {shape}, got {len(raw)}; put the "
            "published file there"
        )
    # A copy, as the bytes of the file cannot be written to.
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=head).reshape(shape).copy())
