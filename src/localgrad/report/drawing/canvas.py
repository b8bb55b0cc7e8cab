"""A Drawing, and what becomes of it: an SVG inside the page, or files."""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from localgrad.report.drawing.pens import PAGE, PAPER, Pens, with_variables
from localgrad.report.markup import Markup, markup

Form = Literal["png", "svg", "pdf"]
FORMS: tuple[Form, ...] = ("png", "svg", "pdf")
LABELS = 8
"""More curves than these have no labels at their ends: they would not fit."""


@final
@dataclass(frozen=True)
class Drawing:
    """One figure. ``key`` is the name of its files and makes the ids inside the SVG differ from those of others.

    ``title`` and ``about`` are its caption; ``paint`` draws on an empty figure of ``size`` inches.
    """

    key: str
    title: str
    about: str
    paint: Callable[[Figure, Pens], None]
    size: tuple[float, float] = (4.3, 2.9)


def svg_of(drawing: Drawing) -> Markup:
    """The ``svg`` element alone: no declarations or metadata, ids of its own, colours and fonts from the page."""
    svg = _saved(drawing, PAGE, ("svg",))["svg"].decode()
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    for attribute in ("width", "height"):
        body = re.sub(rf'(<svg[^>]*?) {attribute}="[^"]*"', r"\1", body, count=1)
    body = re.sub(r' xmlns(:\w+)?="[^"]*"', "", body)
    # Only in tags: a name in a text may look like an attribute.
    body = re.sub(r"<[^>]*>", lambda tag: _own_ids(tag[0], drawing.key), body)
    body = re.sub(r"\n\s*", "\n", body)
    label = markup(drawing.title)
    return Markup(body.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))


def files_of(drawing: Drawing) -> dict[Form, bytes]:
    """The figure with its title as files; the same drawing gives the same bytes."""
    return _saved(drawing, PAPER, FORMS)


def _own_ids(tag: str, key: str) -> str:
    # Hundredths of a point are enough.
    tag = re.sub(r"(\d\.\d\d)\d+", r"\1", tag)
    tag = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{key}-", tag.replace("xlink:href=", "href="))
    return with_variables(re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", tag))


def _saved(drawing: Drawing, pens: Pens, forms: Sequence[Form]) -> dict[Form, bytes]:
    metadata: dict[Form, dict[str, None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    found: dict[Form, bytes] = {}
    with warnings.catch_warnings(), mpl.rc_context(_style(pens, drawing.key)):
        # Names may hold letters that the font lacks: boxes stand for them.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        figure = Figure(figsize=drawing.size, layout="constrained")
        drawing.paint(figure, pens)
        if pens.alone:
            figure.suptitle(drawing.title, fontsize=11, color=pens.ink, parse_math=False)
        for form in forms:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=form, transparent=not pens.alone, metadata=metadata[form], dpi=200)
            figure.set_layout_engine("none")  # it is found
            found[form] = buffer.getvalue()
    return found


def _style(pens: Pens, key: str) -> Any:
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": key,
        "pdf.fonttype": 42,
        "font.family": ["DejaVu Sans"],
        "font.size": 10,
        "figure.facecolor": pens.paper,
        "axes.facecolor": "none",
        "axes.edgecolor": pens.rule,
        "axes.labelcolor": pens.muted,
        "axes.grid.axis": "y",
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.left": False,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "grid.color": pens.rule,
        "grid.linewidth": 0.7,
        "text.color": pens.ink,
        "text.parse_math": False,
        "xtick.color": pens.muted,
        "ytick.color": pens.muted,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "lines.scale_dashes": False,
        "lines.solid_capstyle": "round",
        "lines.dash_capstyle": "round",
        "path.simplify": False,
        "axes.formatter.useoffset": False,
    }


def logarithmic(axes: Axes, which: Literal["x", "y"]) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def whole_numbers(axes: Axes) -> None:
    """Ticks of the x axis at whole numbers."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))


def label_ends(axes: Axes, ends: list[tuple[float, str, str]], size: float = 9) -> None:
    """Names (y, text, colour) at the right of the axes, each near its y and none over another."""
    if not ends or len(ends) > LABELS:
        return
    axes.autoscale_view()
    to_axes = axes.transData + axes.transAxes.inverted()
    x = axes.get_xlim()[1]
    placed = sorted((float(to_axes.transform((x, y))[1]), text, color) for y, text, color in ends)
    root = axes.get_figure(root=True)
    assert root is not None
    height = root.get_size_inches()[1] * 72 * 0.78
    gap = 1.25 * size / height
    heights = spread_out([y for y, _, _ in placed], gap)
    # Within the axes, as far as there is room.
    shift = min(0.0, 1 - heights[-1])
    heights = [y + max(shift, -heights[0]) if shift else y for y in heights]
    for y, (_, text, color) in zip(heights, placed, strict=True):
        axes.text(1.02, y, text, color=color, fontsize=size, va="center", transform=axes.transAxes)


def spread_out(wanted: list[float], gap: float) -> list[float]:
    """Sorted positions moved as little as needed to be ``gap`` apart."""
    blocks: list[list[float]] = []  # of neighbours that touch: [sum of (wanted - offset), count]
    for y in wanted:
        blocks.append([y, 1])
        while len(blocks) > 1 and _start(blocks[-2], gap) + blocks[-2][1] * gap > _start(blocks[-1], gap):
            total, count = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + count]
    return [_start(block, gap) + index * gap for block in blocks for index in range(int(block[1]))]


def _start(block: list[float], gap: float) -> float:
    """Position of the first of neighbours so that their middle is the mean of what they want."""
    total, count = block
    return total / count - (count - 1) * gap / 2


def legend_below(figure: Figure, handles: list[Any], names: list[str], pens: Pens) -> None:
    """In a file of its own, where there are too many names for the ends of the curves."""
    if pens.alone and len(names) > LABELS:
        found = figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
        for entry in found.get_texts():
            entry.set_parse_math(False)
