"""How groups are told apart: colour, and line style and marker for those who do not see colours."""

COLORS = 8
LIGHT = ("#1f6feb", "#c4500b", "#1a7f4b", "#8a3ffc", "#0b7285", "#be185d", "#8d6a00", "#4b5563")
"""The colours of ``page.css`` on paper, for figures in files of their own."""
DASHES: tuple[tuple[float, ...], ...] = ((), (6, 3), (2, 3), (8, 3, 2, 3))
MARKERS = ("o", "s", "^", "D")


def color_of(index: int) -> str:
    """A CSS variable of ``page.css``."""
    return f"var(--s{index % COLORS})"


def _shape(index: int) -> int:
    # After a whole turn of the colours the shapes move on, so that the pairs differ.
    return (index + index // COLORS) % len(DASHES)


def dash_of(index: int) -> tuple[float, ...]:
    """Lengths of strokes and gaps; empty is solid."""
    return DASHES[_shape(index)]


def marker_of(index: int) -> str:
    """A matplotlib marker."""
    return MARKERS[_shape(index)]


def short_labels(names: list[str]) -> list[str]:
    """Names for figures: without the dotted beginning that all share, and at most 20 characters."""
    prefixes = {name.rpartition(".")[0] for name in names}
    if len(names) > 1 and len(prefixes) == 1:
        names = [name.rpartition(".")[2] for name in names]
    return [shorten(name) for name in names]


def shorten(name: str, most: int = 20) -> str:
    """At most so many characters, all of them printable."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in name)
    return clean if len(clean) <= most else clean[: most - 1] + "…"
