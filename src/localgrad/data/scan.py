"""Lists an image folder and says everything that is wrong with its layout; opens no image of a known extension."""

import os
from dataclasses import dataclass
from pathlib import Path

from localgrad.data.errors import extra

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Entry:
    """One image file: its path relative to the root, its class, and what tells that it was changed."""

    path: str
    label: int
    size: int
    modified_ns: int


@dataclass(frozen=True)
class Listing:
    """A complete image folder: ``test_name`` is the folder used as the test split."""

    root: Path
    test_name: str
    classes: tuple[str, ...]
    train: tuple[Entry, ...]
    test: tuple[Entry, ...]


def shown(lines: list[str]) -> str:
    """At most 10 of many findings, one per line, and how many more there are."""
    more = [f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n".join(f"  {line}" for line in lines[:SHOWN] + more)


def class_names(folder: Path) -> tuple[str, ...]:
    """Names of the sub-folders, sorted; none where the folder cannot be read."""
    try:
        with os.scandir(folder) as found:
            return tuple(sorted(entry.name for entry in found if entry.is_dir()))
    except OSError:
        return ()


@dataclass(frozen=True)
class Layout:
    """The folders of an image folder: ``test_name`` is the one used as the test split."""

    test_name: str
    classes: tuple[str, ...]


def layout(root: Path, test: str | None = None) -> tuple[Layout | None, list[str]]:
    """The folders of ``root`` and what is wrong with them; None where there is no train or no test folder.

    No file is looked at. ``test`` names the test split's folder; None: ``test``, or ``val`` where there is no ``test``.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        places = "test/<class>/ (or val/<class>/)" if test is None else f"{test}/<class>/"
        return None, [f"{root}: {what}; expected a folder with train/<class>/ and {places}"]
    test_name = test or ("test" if (root / "test").is_dir() or not (root / "val").is_dir() else "val")
    either = "test/<class>/ or val/<class>/" if test is None else f"{test}/<class>/"
    found = [
        f"{root / name}: no such folder; expected {root}/{expected}"
        for name, expected in (("train", "train/<class>/"), (test_name, either))
        if not (root / name).is_dir()
    ]
    if found:
        return None, found
    classes, test_classes = class_names(root / "train"), class_names(root / test_name)
    if not classes:
        found.append(f"{root}/train: expected one folder per class, got none")
    if classes != test_classes:
        found.append(
            f"{root}: train and {test_name} must have the same class folders; only in train: "
            f"{_difference(classes, test_classes)}; only in {test_name}: {_difference(test_classes, classes)}"
        )
    return Layout(test_name, classes), found


def scan(root: Path, test: str | None = None) -> tuple[Listing | None, list[str]]:
    """The listing of ``root`` and the problems of its layout and files; ``layout``'s None and ``test``."""
    folders, found = layout(root, test)
    if folders is None:
        return None, found
    test_name, classes = folders.test_name, folders.classes
    splits = {}
    for name in ("train", test_name):
        entries: list[Entry] = []
        for label, class_name in enumerate(class_names(root / name)):
            images, broken = _files(root, f"{name}/{class_name}", label)
            found += broken
            if not images and not broken:
                found.append(f"{root}/{name}/{class_name}: expected images of this class, got an empty folder")
            entries += images
        loose = sorted(path.name for path in (root / name).iterdir() if path.is_file())
        if loose:
            found.append(f"{root}/{name}: files outside the class folders:\n{shown(loose)}")
        splits[name] = tuple(entries)
    return Listing(root, test_name, classes, splits["train"], splits[test_name]), found


def foreign_files(listing: Listing) -> list[str]:
    """Names the files that are no images. Only files whose extension Pillow does not know are opened: a cheap look.

    Others that are no images either are found when they are decoded.
    """
    pil = extra("PIL.Image", "reading an image folder")
    known = pil.registered_extensions()
    wrong = []
    for entry in listing.train + listing.test:
        if os.path.splitext(entry.path)[1].lower() in known:  # noqa: PTH122 -- ten times faster, for a million files
            continue
        try:
            with pil.open(listing.root / entry.path):
                pass
        except Exception:  # noqa: BLE001 -- Pillow raises what it likes on a file that is no image
            wrong.append(entry.path)
    if not wrong:
        return []
    return [f"{listing.root}: {len(wrong)} files are no images; remove them:\n{shown(wrong)}"]


def _difference(names: tuple[str, ...], others: tuple[str, ...]) -> str:
    only = sorted(set(names) - set(others))
    more = [f"and {len(only) - SHOWN} more"] if len(only) > SHOWN else []
    return ", ".join(only[:SHOWN] + more) or "none"


def _files(root: Path, folder: str, label: int) -> tuple[list[Entry], list[str]]:
    """All files below ``folder``, sub-folders included, sorted by path; and those that the system does not open."""
    entries, broken = [], []
    for place, folders, names in os.walk(root / folder, followlinks=True):
        folders.sort()
        for name in names:
            full = os.path.join(place, name)  # noqa: PTH118 -- as above
            try:
                facts = os.stat(full)  # noqa: PTH116
            except OSError as error:
                broken.append(f"{full}: a broken link or unreadable ({error.strerror}); remove it")
                continue
            relative = os.path.relpath(full, root).replace(os.sep, "/")
            entries.append(Entry(relative, label, facts.st_size, facts.st_mtime_ns))
    return sorted(entries, key=lambda entry: entry.path), broken
