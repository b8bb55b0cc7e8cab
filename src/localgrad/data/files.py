"""Finds the published files of a set under a root, in a folder or in the archive they come in, and reads them."""

import gzip
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from localgrad.data.errors import DataError

MAX_MEMBER = 1 << 30
"""Bytes; the largest file wanted from an archive (STL-10's test images) has 221,184,000."""


@dataclass(frozen=True)
class Form:
    """One form in which a set is published: ``files`` in one of ``folders`` of the root or in the root itself, or in
    ``archive`` (.tar.gz) in the root, inside ``folders[0]``. ``archive_bytes`` is the published archive's size."""

    files: tuple[str, ...]
    folders: tuple[str, ...]
    archive: str | None = None
    archive_bytes: int | None = None


@dataclass(frozen=True)
class Source:
    """A form that was found: ``place`` is the folder or the archive."""

    form: Form
    place: Path
    archived: bool = False

    def where(self, name: str) -> str:
        """A file's place, for messages."""
        return f"{self.place}:{self.form.folders[0]}/{name}" if self.archived else str(self.place / name)


def find(root: Path, forms: tuple[Form, ...]) -> tuple[Source | None, list[str]]:
    """The first complete form under ``root``, folders before archives; and every place looked at, and what it lacks."""
    looked: list[str] = []
    for form in forms:
        for place in (*(root / folder for folder in form.folders), root):
            lacking = [name for name in form.files if not (place / name).is_file()]
            if not lacking:
                return Source(form, place), looked
            partly = len(lacking) < len(form.files)
            looked.append(f"{place}/ ({'lacks' if partly else 'has none of'} {', '.join(lacking)})")
    for form in forms:
        if form.archive is not None:
            if (root / form.archive).is_file():
                return Source(form, root / form.archive, archived=True), looked
            looked.append(f"{root / form.archive} (not there)")
    return None, looked


def read(source: Source) -> dict[str, bytes]:
    """The bytes of all files of the source's form, by name. Nothing is extracted. Raises ``DataError``."""
    if source.archived:
        return _read_archive(source)
    try:
        return {name: (source.place / name).read_bytes() for name in source.form.files}
    except OSError as error:
        raise DataError(f"{source.place}: cannot be read: {error}") from error


def _read_archive(source: Source) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        # Read to the last byte, also after the last file wanted: only there gzip compares its checksum.
        with gzip.open(source.place) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    name = _wanted(member, source.form)
                    opened = archive.extractfile(member) if name else None
                    if name and opened:
                        found[name] = opened.read()
            while stream.read(1 << 20):
                pass
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        size, expected = source.place.stat().st_size, source.form.archive_bytes
        raise DataError(
            f"{source.place}: truncated or damaged archive ({error}): expected {expected} bytes as published, got "
            f"{size}; delete it and put the published archive there"
        ) from error
    lacking = [name for name in source.form.files if name not in found]
    if lacking:
        raise DataError(
            f"{source.place}: the archive lacks {', '.join(f'{source.form.folders[0]}/{name}' for name in lacking)}; "
            "delete it and put the published archive there"
        )
    return found


def _wanted(member: tarfile.TarInfo, form: Form) -> str | None:
    folder, name = PurePosixPath("/", member.name).parts[-2:] if "/" in member.name else ("", member.name)
    if not member.isreg() or folder != form.folders[0] or name not in form.files:
        return None
    if member.size > MAX_MEMBER:
        raise DataError(f"archive member {member.name}: expected at most {MAX_MEMBER} bytes, got {member.size}")
    return name
