"""``python -m tools.pages.stage FOLDER``: all pages as plain Markdown in one folder, ready for a site generator.

The pages of docs/, those that are made from the code, and below files/ what pages link to elsewhere in the repository.
Links are rewritten to where things then are. The generator needs no plugin for any of it.
"""

import os
import re
import shutil
import sys
from pathlib import Path

from tools.pages import made

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"(\]\()([^)#\s]+)")
ALWAYS = ("ARCHITECTURE.md", "CONTRIBUTING.md", "README.md")
"""Pages of the repository that the site has, whether or not another page links to them."""


def stage(folder: Path) -> None:
    """Write everything into ``folder``, which is emptied first."""
    if folder.exists():
        shutil.rmtree(folder)
    for name, text in {**own(), **made(), **beside()}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def own() -> dict[str, str]:
    """The files of docs/."""
    return {
        path.relative_to(DOCS).as_posix(): moved(path) if path.suffix == ".md" else path.read_text(encoding="utf-8")
        for path in sorted(DOCS.rglob("*"))
        if path.is_file()
    }


def beside() -> dict[str, str]:
    """The files outside of docs/ that pages link to, and that these link to in turn, as files/PATH."""
    found: dict[str, str] = {}
    ahead = [*(ROOT / name for name in ALWAYS), *(path for page in DOCS.rglob("*.md") for path in outside(page))]
    while ahead:
        path = ahead.pop()
        name = place(path)
        if name not in found:
            found[name] = moved(path) if path.suffix == ".md" else path.read_text(encoding="utf-8")
            ahead += outside(path) if path.suffix == ".md" else []
    return found


def outside(page: Path) -> list[Path]:
    """Files of the repository, but not of docs/, that a page links to."""
    targets = [Path(os.path.normpath(page.parent / target)) for _, target in LINK.findall(page.read_text("utf-8"))]
    return [path for path in targets if path.is_relative_to(ROOT) and not path.is_relative_to(DOCS) and path.is_file()]


def place(path: Path) -> str:
    """Where a file of the repository is in the folder of pages."""
    inside = path.is_relative_to(DOCS)
    return path.relative_to(DOCS).as_posix() if inside else f"files/{path.relative_to(ROOT).as_posix()}"


def moved(page: Path) -> str:
    """The text of a page, its links to files of the repository as the folder of pages has them."""

    def link(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(page.parent / match[2]))
        if re.match(r"\w+:", match[2]) or not target.is_file():
            return match[0]  # elsewhere, or made from the code, or wrong: the generator says so
        return match[1] + os.path.relpath(place(target), Path(place(page)).parent)

    return LINK.sub(link, page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    stage(Path(sys.argv[1]))
