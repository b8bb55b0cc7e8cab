"""Which file in the first run's folder ``localgrad cka`` writes: two other runs may have one name."""

import json
import os
from pathlib import Path


def relative(first: Path, second: Path) -> str:
    """Where the second run lies, seen from the first: it stays true wherever the command runs, and if both move."""
    return os.path.relpath(second.resolve(), first.resolve())


def default_file(first: Path, second: Path) -> tuple[Path, tuple[Path, ...]]:
    """``cka-NAME.json``, or with the names of folders above where that file is of another run; and files of others."""
    passed: list[Path] = []
    parts = [part for part in second.resolve().parts if part != os.sep]
    name = ""
    for part in reversed(parts or ["root"]):
        name = f"{part}-{name}" if name else part
        path = first / f"cka-{name}.json"
        if not path.exists() or _is_of(path, first, second):
            return path, tuple(passed)
        passed.append(path)
    return path, tuple(passed[:-1])  # only files that somebody wrote by hand have all these names


def _is_of(path: Path, first: Path, second: Path) -> bool:
    """Whether a file compares with this run; of one that cannot be read nobody knows, so it is kept."""
    try:
        found = json.loads(path.read_bytes())
        if "other" in found:
            return bool(found["other"] == relative(first, second))
        return Path(found["runs"][1]).resolve() == second.resolve()
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return False
