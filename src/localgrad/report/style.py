"""How groups are told apart: colour, and line style and marker for those who do not see colours."""

COLORS = 8
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
