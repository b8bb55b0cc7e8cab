"""Learning curves as SVG, drawn by matplotlib; colours are CSS variables of the page, so that they follow its mode."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from localgrad.report.curves import Curve
from localgrad.report.markup import Markup
from localgrad.report.style import color_of, dash_of, marker_of

# Colours that stand for variables: matplotlib needs some, and nothing else in a figure is near them.
_TEXT, _RULE, _SERIES = "#a1b301", "#a1b302", "#a1b2"
_NAMES = {_TEXT: "var(--muted)", _RULE: "var(--rule)"}

_STYLE = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _TEXT,
    "axes.grid.axis": "y",
    "axes.grid": True,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": _RULE,
    "grid.linewidth": 0.7,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "lines.scale_dashes": False,
    "lines.solid_capstyle": "round",
    "lines.dash_capstyle": "round",
    "path.simplify": False,
}


@final
@dataclass(frozen=True)
class Axis:
    """How a figure is to be read. ``key`` makes the ids inside the SVG differ from those of other figures."""

    key: str
    x: str
    points: bool = False
    log: bool = False


def draw(curves: Sequence[Curve], axis: Axis) -> Markup:
    """One figure: a bold line for the mean of every group and a thin one for every seed."""
    style: Any = {**_STYLE, "svg.hashsalt": axis.key}
    with mpl.rc_context(style):
        figure = Figure(figsize=(4.8, 3.1), layout="constrained")
        axes = figure.add_subplot()
        for curve in curves:
            _line(axes, curve, axis)
        axes.set_axisbelow(True)
        axes.set_xlabel(axis.x)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
        axes.margins(x=0.03)
        if axis.log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=7))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return inline(buffer.getvalue(), axis.key)


def _line(axes: Axes, curve: Curve, axis: Axis) -> None:
    color = f"{_SERIES}{curve.group % 256:02x}"
    dash = dash_of(curve.group)
    style: dict[str, Any] = {"color": color, "linestyle": (0, dash) if dash else "-"}
    for seed in curve.seeds:
        if len(curve.seeds) > 1:
            axes.plot(list(seed), list(seed.values()), color=color, linewidth=0.9, alpha=0.45)
    mean: Mapping[int, float] = curve.mean
    marked = axis.points or len(mean) == 1
    marker: dict[str, Any] = {"marker": marker_of(curve.group), "markersize": 5} if marked else {}
    axes.plot(list(mean), list(mean.values()), **style, linewidth=2, **marker)


def inline(svg: str, key: str) -> Markup:
    """The ``svg`` element alone: no declarations or metadata, ids of its own, colours and fonts from the page."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = re.sub(r' xmlns(:\w+)?="[^"]*"', "", body)
    body = body.replace("xlink:href=", "href=")
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{key}-", body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    for color, name in _NAMES.items():
        body = body.replace(color, name)
    body = re.sub(rf"{_SERIES}([0-9a-f]{{2}})", lambda found: color_of(int(found[1], 16)), body)
    return Markup(re.sub(r"\n\s*", "\n", body).replace("<svg", '<svg aria-hidden="true"', 1))
