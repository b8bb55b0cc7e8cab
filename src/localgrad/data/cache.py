"""Keeps the decoded pixels of an image folder as one safetensors file."""

import hashlib
import json
import logging
import os
import tempfile
import zlib
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from localgrad.data.errors import DataError
from localgrad.data.scan import Listing

VERSION = 1
_log = logging.getLogger("localgrad")

Tensors = dict[str, Tensor]


def cache_key(listing: Listing, size: tuple[int, int] | None) -> str:
    """Changes whenever a file is added, removed, renamed or rewritten, and with the image size."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([VERSION, size, listing.classes]).encode())
    for entry in listing.train + listing.test:
        digest.update(f"{entry.path}\0{entry.size}\0{entry.modified_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def cache_files(root: Path, size: tuple[int, int] | None, given: str | None) -> tuple[Path, ...]:
    """Where the cache may lie, in order of preference: in ``given`` alone, else in the root, else in the user's cache.

    One file per root and image size, so a changed folder replaces its old cache.
    """
    shape = "own-size" if size is None else f"{size[0]}x{size[1]}"
    owner = hashlib.blake2b(str(root.resolve()).encode(errors="surrogateescape"), digest_size=8).hexdigest()
    if given is not None:
        return (Path(given).expanduser() / f"{owner}-{shape}.safetensors",)
    user = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return root / ".localgrad-cache" / f"{shape}.safetensors", user / "localgrad" / f"{owner}-{shape}.safetensors"


def read_cache(path: Path, key: str) -> Tensors | None:
    """The cached tensors; None where there is none, it is of another state of the folder, or it is damaged (logged)."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            if facts.get("key") != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
    except (SafetensorError, OSError, ValueError) as error:
        _log.warning("%s: damaged cache (%s); it is made anew", path, error)
        return None
    if facts.get("checksum") != _checksum(tensors):
        _log.warning("%s: damaged cache (its checksum does not fit its content); it is made anew", path)
        return None
    return tensors


def write_cache(paths: tuple[Path, ...], key: str, tensors: Tensors, *, must: bool) -> None:
    """Write to the first of ``paths`` that can be written, whole or not at all.

    Where none can be: ``DataError`` if ``must``, else a logged warning (decoding will be repeated).
    """
    facts = {"key": key, "checksum": _checksum(tensors)}
    said = []
    for path in paths:
        try:
            _write(path, tensors, facts)
        except (OSError, SafetensorError) as error:
            said.append(f"{path}: {error}")
        else:
            _log.info("decoded images are kept in %s", path)
            return
    if must:
        raise DataError(f"the cache cannot be written: {'; '.join(said)}; give cache= a folder that can be")
    _log.warning("decoded images are not kept, they will be decoded again: %s", "; ".join(said))


def _write(path: Path, tensors: Tensors, facts: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, fresh = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    try:
        save_file(tensors, fresh, metadata=facts)
        Path(fresh).chmod(0o644)
        Path(fresh).replace(path)
    finally:
        Path(fresh).unlink(missing_ok=True)


def _checksum(tensors: Tensors) -> str:
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(f"{name} {tuple(tensors[name].shape)}".encode(), value)
        value = zlib.crc32(tensors[name].contiguous().numpy().data.cast("B"), value)
    return f"crc32:{value:08x}"
