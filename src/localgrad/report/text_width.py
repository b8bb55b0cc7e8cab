"""How wide a line of text is in a figure."""

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from localgrad.report.figure_file import letters_lacking, plain_text

FONT = "DejaVu Sans"
"""It comes with matplotlib."""


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Width of a line, in inches; ``size`` in points."""
    font = FontProperties(family=FONT, size=size, weight="bold" if bold else "normal")
    with letters_lacking():
        width, _, _ = TextToPath().get_text_width_height_descent(plain_text(text), font, ismath=False)
    return float(width) / 72


def cut_to(text: str, size: float, length: float) -> str:
    """The text, or as many letters of it as ``length`` inches hold."""
    while len(text) > 1 and text_width(text, size) > length:
        text = text.removesuffix("…")[:-1] + "…"
    return text
