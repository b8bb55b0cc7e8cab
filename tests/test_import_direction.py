"""Imports inside localgrad point one way: a file imports from lower levels and from its own folder only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import localgrad

ROOT = Path(localgrad.__file__).parent

# From the bottom up: a name here is a file or a folder of src/localgrad. Names on one line do not import each other.
LEVELS = (
    {"ensemble", "errors", "heap", "in_backward", "partition_tables", "rng", "update", "version"},
    {"pooling", "reported", "spec"},
    {"blocks", "count", "data", "facts", "grouping", "losses", "recompute"},
    {"forward_calls"},
    {"auxnets", "objective", "segments"},
    {"partition"},
    {"backbones"},
    {"unit"},
    {"method"},
    {"methods", "network"},
    {"placement"},
    {"runtime"},
    {"analysis", "cost", "distributed"},
    {"planning"},
    {"fitting"},
    {"report", "train"},
    {"adapters", "exported", "paper_tables", "recipes", "scores", "testing"},
    {"several"},
    {"compare"},
    {"reproduction"},
    {"cli"},
    {"__init__", "__main__"},
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}

# Narrower than the levels: all that these may import.
ONLY = {"data": {"errors", "rng", "spec"}, "report": {"errors", "version"}, "losses": {"errors", "spec"}}
# The engine knows no concrete method and no concrete network.
NEVER = {
    name: {"methods", "backbones", "recipes"} for name in ("analysis", "cost", "runtime", "train", "unit", "method")
}


def imports(path: Path) -> Iterator[str]:
    """Full dotted names that a file imports, at its top or inside functions."""
    package = ("localgrad", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def owner(path: Path) -> str:
    """The file or folder of src/localgrad that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def own_imports() -> Iterator[tuple[Path, str, str]]:
    """(file, its owner, owner of what it imports) for all imports across owners inside localgrad."""
    for path in sorted(ROOT.rglob("*.py")):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "localgrad" and len(parts) > 1 and parts[1] != owner(path):
                yield path, owner(path), parts[1]


def test_every_file_has_a_level() -> None:
    names = {owner(path) for path in ROOT.rglob("*.py")}
    assert names <= LEVEL.keys(), f"give {sorted(names - LEVEL.keys())} a level in LEVELS"
    assert LEVEL.keys() <= names, f"remove {sorted(LEVEL.keys() - names)} from LEVELS"


def test_imports_point_down() -> None:
    found = list(own_imports())
    assert len(found) > 50
    upwards = [f"{path.relative_to(ROOT)} imports {name}" for path, own, name in found if LEVEL[name] >= LEVEL[own]]
    assert not upwards


def test_narrow_folders() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, own, name in own_imports()
        if name not in ONLY.get(own, {name}) or name in NEVER.get(own, ())
    ]
    assert not wrong


def test_report_imports_no_torch() -> None:
    wrong = [
        path.name
        for path in (ROOT / "report").rglob("*.py")
        for name in imports(path)
        if name.split(".")[0] in ("torch", "torchvision")
    ]
    assert not wrong
