"""Files of the report are written whole or not at all."""

import os
from pathlib import Path

from localgrad.errors import LocalgradError


def write_whole(path: Path, data: bytes, what: str, advice: str) -> None:
    """Replace ``path`` by ``data``; its folder is made. Raises LocalgradError when it cannot be written."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        if temporary.is_file():
            temporary.unlink()
        raise LocalgradError(
            f"report: {what} was not written to {path}: {error.strerror or error}. {advice}"
        ) from error
