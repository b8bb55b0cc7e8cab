"""Files of the report are written whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from localgrad.errors import LocalgradError


def write_whole(path: Path, data: bytes, what: str, advice: str, who: str = "report") -> None:
    """Replace ``path`` by ``data``; its folder is made. Raises LocalgradError when it cannot be written."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # it may be that nothing can lie there
            temporary.unlink()
        raise LocalgradError(f"{who}: {what} was not written to {path}: {error.strerror or error}. {advice}") from error
