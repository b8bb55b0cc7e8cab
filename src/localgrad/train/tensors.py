"""The safetensors files that localgrad writes, checkpoints, their shards, exported networks: bytes and back.

The header holds one JSON document, in it a checksum of everything else: safetensors sees that a file is too short, not
that a bit has changed.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from localgrad.errors import LocalgradError

CHECKSUM = "checksum"


def checksum(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """A digest of a JSON document and of names, types, shapes and values of tensors (on the CPU, contiguous)."""
    digest = hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return f"blake2b-128:{digest.hexdigest()}"


def file_bytes(document: Mapping[str, object], tensors: Mapping[str, Tensor]) -> bytes:
    """The file with this document in its header; equal content gives equal bytes."""
    # clone: tensors that share memory are refused; contiguous: so are other memory formats.
    whole = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    written = json.loads(json.dumps(document))
    written[CHECKSUM] = checksum(written, whole)
    # One header entry only: the order of several is not fixed.
    return save(whole, {"localgrad": json.dumps(written)})


def read_tensors(path: Path, formats: Collection[str], what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The JSON document in the header, and the tensors. ``formats`` are those accepted.

    Raises LocalgradError when the file is damaged, no safetensors file, or of another format or program. Files of
    localgrad before checksums are read without.
    """
    return _read(path, formats, what, whole=True)


def read_header(path: Path, formats: Collection[str], what: str) -> dict[str, Any]:
    """The JSON document alone, in no time; nothing is checked against the checksum. Raises as ``read_tensors``."""
    return _read(path, formats, what, whole=False)[0]


def _read(path: Path, formats: Collection[str], what: str, *, whole: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise LocalgradError(f"there is no file {path}; expected {what}.")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("localgrad")
            document = None if header is None else json.loads(header)
            found = document.get("format") if isinstance(document, dict) else None
            if found in formats and isinstance(document, dict):
                written = document.pop(CHECKSUM, None)
                if not whole:
                    return document, {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                _check(path, what, written, document, tensors)
                return document, tensors
    except LocalgradError:
        raise
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:  # RuntimeError: deleted meanwhile
        raise LocalgradError(
            f"{path} cannot be read as {what}: {error}. It is damaged or no safetensors file."
        ) from error
    raise LocalgradError(f"{path} is not {what}: expected format {' or '.join(formats)!r}, got {found!r}.")


def _check(path: Path, what: str, written: object, document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    found = checksum(document, tensors)
    if written not in (None, found):
        raise LocalgradError(
            f"{path} cannot be read as {what}: it is damaged, its checksum is {found}, expected {written}. Its content "
            "has changed since it was written, on the disk or on the way: take another copy of it, or train anew."
        )
