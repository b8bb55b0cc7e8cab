"""Whether a MATLAB v5 file is whole, from its headers alone: scipy's own errors do not say.

Source: MathWorks, MAT-File Format (version 5): a 128-byte header, then elements of (type, bytes) tags and content.
"""

import struct
from pathlib import Path

from localgrad.data.errors import DataError

HEADER = 128


def check_whole(path: Path, published_bytes: int) -> None:
    """Raise ``DataError`` where ``path`` is no MATLAB v5 file or ends before its last element does."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(HEADER)
        order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
        if order is None:
            raise DataError(
                f"{path}: no MATLAB v5 file: expected {published_bytes} bytes as published, got {size}; "
                "put the published file there"
            )
        end = HEADER
        while end < size:
            file.seek(end)
            tag = file.read(8)
            end += 8 + (struct.unpack(f"{order}II", tag)[1] if len(tag) == 8 else 0)
    if end != size:
        raise DataError(
            f"{path}: truncated: expected {end} bytes by its own headers ({published_bytes} as published), got {size}; "
            "put the published file there"
        )
