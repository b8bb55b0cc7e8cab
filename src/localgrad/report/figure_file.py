"""Figures as files of their own: PNG, SVG or PDF, the same bytes for the same figure. matplotlib is an extra."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from localgrad.errors import LocalgradError
from localgrad.report.files import write_whole

FORMATS = (".png", ".svg", ".pdf")
DOTS = 200
"""Dots per inch of a PNG, and of images inside the other two."""


def format_problems(path: Path, who: str) -> list[str]:
    """Why ``path`` names no figure: its ending."""
    if path.suffix.lower() in FORMATS:
        return []
    return [f"{who}: a figure is a file that ends in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, got {path}."]


def drawing(module: str, who: str) -> Any:
    """The module ``localgrad.report.MODULE``, which needs matplotlib. Raises LocalgradError without it."""
    try:
        return import_module(f"localgrad.report.{module}")
    except ImportError as error:
        raise LocalgradError(
            f'{who}: figures need matplotlib, which does not import ({error}): pip install "localgrad[report]"'
        ) from error


def write_figure(figure: Any, path: Path, who: str) -> None:
    """Write a matplotlib figure, whole or not at all. Raises LocalgradError when it cannot be written."""
    data = figure_bytes(figure, path.suffix.lower().removeprefix("."))
    write_whole(path, data, "the figure", "Give another file.", who)


def figure_bytes(figure: Any, form: str) -> bytes:
    """The figure as ``png``, ``svg`` or ``pdf``, without dates."""
    rc_context = import_module("matplotlib").rc_context
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[form]
    buffer = io.BytesIO()
    # Text as text, so that it can be searched and copied; SVG ids without chance.
    style = {"svg.fonttype": "none", "svg.hashsalt": "localgrad", "image.composite_image": False}
    with letters_lacking(), rc_context(style):
        figure.savefig(buffer, format=form, dpi=DOTS, metadata=metadata)
    return buffer.getvalue()


@contextmanager
def letters_lacking() -> Iterator[None]:
    """No warning about letters that the font lacks, as names may hold any: boxes stand for them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield


def plain_text(text: str) -> str:
    """What a person may have called a run, without what no font shows."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
