"""``python -m tools.pages.check SITE``: the built site asks no other host for anything, and shows every public name.

Links that a reader may follow (``<a href>``) may lead elsewhere; whatever a browser loads by itself may not. The
theme's script can load two things, each only on pages with a certain element: no page may have it.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import final

from tools.pages.api import home_path, modules, public_names

LOADS = {
    "audio": "src", "embed": "src", "frame": "src", "iframe": "src", "image": "href", "img": "src", "input": "src",
    "link": "href", "object": "data", "script": "src", "source": "src", "track": "src", "use": "href", "video": "src",
}  # fmt: skip
OUTSIDE = re.compile(r"\s*(?:\w+:)?//")
IN_STYLE = re.compile(r"(?:url\(|@import)\s*[\"']?((?:\w+:)?//[^\"')\s]+)")


@final
class Sources(HTMLParser):
    """Collects what a browser would load from another host, the ids of a page, and what makes the theme load things."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One element."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given["id"]} if "id" in given else set()
        candidates = [given.get(LOADS.get(tag, ""), ""), given.get("poster", ""), given.get("xlink:href", "")]
        candidates += [part.strip() for part in given.get("srcset", "").split(",")]
        found = [one for one in candidates if tag != "a" and OUTSIDE.match(one)]
        found += IN_STYLE.findall(given.get("style", ""))
        if "mermaid" in given.get("class", "").split() or given.get("data-md-component") == "source":
            found.append("what the theme's script loads for it")
        self.outside += [f"<{tag}>: {one}" for one in found]


def problems(site: Path) -> Iterator[str]:
    """Everything that is wrong with a built site, one line each."""
    ids: set[str] = set()
    pages = sorted(site.rglob("*.html"))
    if not pages:
        yield f"{site}: expected pages of a built site, found none. Build it first: make docs."
        return
    for page in pages:
        parser = Sources()
        text = page.read_text(encoding="utf-8")
        parser.feed(text)
        ids |= parser.ids
        inline = [
            found for style in re.findall(r"<style.*?</style>", text, re.DOTALL) for found in IN_STYLE.findall(style)
        ]
        yield from (f"{page.relative_to(site)} asks another host: {what}" for what in [*parser.outside, *inline])
    for sheet in [*sorted(site.rglob("*.css")), *sorted(site.rglob("*.svg"))]:
        found = IN_STYLE.findall(sheet.read_text(encoding="utf-8"))
        yield from (f"{sheet.relative_to(site)} asks another host: {what}" for what in found)
    for module in modules():
        for name in public_names(module):
            if home_path(module, name) not in ids:
                yield f"{module}.{name} is on no page (expected an element with the id {home_path(module, name)})"


if __name__ == "__main__":
    wrong = list(problems(Path(sys.argv[1])))
    print("\n".join(wrong) if wrong else "the site asks no other host for anything and shows every public name")
    sys.exit(bool(wrong))
