"""HTML that is escaped unless it was made here."""

from collections.abc import Iterable
from html import escape
from typing import final

_VOID = frozenset({"meta", "col", "br", "line", "path", "img"})


@final
class Markup(str):
    """Text that is HTML already. Any other string is escaped when it becomes part of an element."""

    __slots__ = ()


def markup(child: object) -> Markup:
    """``child`` as HTML: escaped, or as it is when it is Markup; None is nothing; an iterable is joined."""
    if isinstance(child, Markup):
        return child
    if child is None:
        return Markup("")
    if isinstance(child, Iterable) and not isinstance(child, str):
        return Markup("".join(map(markup, child)))
    # Surrogates, from names that are not UTF-8, could not be written to the file.
    return Markup(escape(str(child).encode(errors="replace").decode()))


def element(tag: str, *children: object, **attributes: str | None) -> Markup:
    """An element. ``class_`` and ``data_label`` become ``class`` and ``data-label``; None leaves an attribute out."""
    named = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items() if value is not None}
    opening = tag + "".join(f' {name}="{markup(str(value))}"' for name, value in named.items())
    if tag in _VOID:
        return Markup(f"<{opening}>")
    return Markup(f"<{opening}>{markup(children)}</{tag}>")
