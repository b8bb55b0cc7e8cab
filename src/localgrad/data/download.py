"""Fetches a published set through torchvision, which also compares its checksums."""

import contextlib
import http.client
import os
import shutil
import socket
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from localgrad.data.errors import extra

STALL_SECONDS = 30.0


def download(dataset: str, calls: tuple[dict[str, object], ...], root: Path) -> str | None:
    """Let ``torchvision.datasets.<dataset>`` download and verify into ``root``. Returns what went wrong, or None.

    Everything arrives in a temporary folder of ``root`` first and is moved when it is whole, so an interrupted download
    leaves nothing that looks like a set, and two processes do not write into each other's files. A connection that
    stays silent for 30 s ends the attempt. Raises ``DataError`` only where torchvision is not installed.
    """
    make = getattr(extra("torchvision.datasets", "download=True"), dataset)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _folder_in(root) as fresh, _socket_timeout(STALL_SECONDS):
            for keywords in calls:
                make(root=str(fresh), download=True, **keywords)
            for path in sorted(fresh.rglob("*")):
                if path.is_file():
                    target = root / path.relative_to(fresh)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    path.replace(target)
    except (OSError, RuntimeError, ValueError, EOFError, http.client.HTTPException, tarfile.TarError) as error:
        return f"{type(error).__name__}: {error}"
    return None


@contextlib.contextmanager
def _folder_in(root: Path) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix=f".download-{os.getpid()}-", dir=root))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """torchvision opens its connections without a timeout; the process-wide default is the only way to give one."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
