"""The figures of feature maps and of CKA: they fit, they are the same each time, and hostile names are only text."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from localgrad.errors import LocalgradError
from localgrad.report import cka_figure, map_figure
from localgrad.report.cka_matrix import CkaMatrix
from localgrad.report.figure_file import drawing, figure_bytes, format_problems, plain_text, write_figure
from localgrad.report.map_sheet import Cell, Column, Group, Sheet

HOSTILE = "<script>alert(1)</script>\"'&$x^2$\n\x07\N{CJK UNIFIED IDEOGRAPH-4E2D}"


def sheet(units: int, images: int = 2, name: str = "layer1.0", missing: str = "") -> Sheet:
    draw = np.random.default_rng(0)
    columns = tuple(
        Column(
            f"{name}{number}", ("8x8", "93.1 %"), tuple(Cell(draw.random((8, 8)), "✗ 3", "none") for _ in range(images))
        )
        for number in range(units)
    )
    lone = (Column("end", ("",), (), missing),) if missing else ()
    picture = draw.random((8, 8, 3))
    groups = (Group(f"DGL {name}", "below", (*columns, *lone)), Group("Backprop", "", (columns[0],)))
    return Sheet((picture,) * images, ("#0\ncat",) * images, groups, "lowest", "highest", ("a note " * 30, HOSTILE))


def matrix(rows: int, columns: int, name: str = "layer") -> CkaMatrix:
    values = np.random.default_rng(0).random((rows, columns)) * 1.1 - 0.1
    names = [tuple(f"{name}{number}" for number in range(count)) for count in (rows, columns)]
    borders = [tuple(number % 3 == 1 for number in range(count)) for count in (rows, columns)]
    return CkaMatrix("CKA", "first", HOSTILE, names[0], names[1], borders[0], borders[1], values, ("note " * 40,))


def outside(figure: Any) -> list[str]:
    """Texts that stick out of the figure."""
    figure.draw_without_rendering()
    width, height = figure.bbox.width, figure.bbox.height
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    for axes in filter(lambda one: one.axison, figure.axes):
        texts += [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, axes.yaxis.label]
    found = []
    for text in texts:
        box = text.get_window_extent()
        if text.get_text() and (box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height):
            found.append(text.get_text())
    return found


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
def test_everything_fits() -> None:
    for units, name in ((1, "layer1.0"), (16, "layer1."), (17, "features.denseblock1.denselayer")):
        figure = map_figure.draw(sheet(units, name=name, missing="no classifier"))
        assert outside(figure) == []
        assert figure.get_figwidth() < 14
    for rows, columns in ((1, 1), (7, 4), (16, 16), (55, 30)):
        assert outside(cka_figure.draw(matrix(rows, columns))) == []
    assert outside(cka_figure.draw(matrix(3, 4, name="features.denseblock1.denselayer"))) == []


def test_cells_show_what_they_were_given() -> None:
    one = sheet(2)
    axes = map_figure.draw(one).axes[0]
    shown = [np.asarray(image.get_array()) for image in axes.images]
    for column in one.groups[0].columns:
        for cell in column.cells:
            assert any(array.shape == (8, 8) and np.array_equal(array, cell.map_HW) for array in shown)
    values = matrix(4, 6)
    heat = cka_figure.draw(values).axes[0]
    (image,) = heat.images
    assert np.array_equal(np.asarray(image.get_array()), values.values_PQ) and image.get_clim() == (0, 1)
    printed = [text.get_text() for text in heat.texts]
    assert printed == [f"{values.values_PQ[place, place]:.2f}" for place in range(4)]
    # Black lines, above white ones, behind blocks 1 and 4 of the columns and block 1 of the rows.
    black = [line for line in heat.lines if line.get_color() != "white"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in black] == [(-0.5, 1.5), (1.5, -0.5), (4.5, -0.5)]
    assert not cka_figure.draw(matrix(40, 40)).axes[0].texts  # values do not fit


@pytest.mark.parametrize("form", ["svg", "png", "pdf"])
def test_the_same_figure_is_the_same_file(form: str, tmp_path: Path) -> None:
    once, again = (figure_bytes(map_figure.draw(sheet(2)), form) for _ in range(2))
    assert once == again
    assert figure_bytes(cka_figure.draw(matrix(3, 3)), form) == figure_bytes(cka_figure.draw(matrix(3, 3)), form)
    write_figure(cka_figure.draw(matrix(3, 3)), tmp_path / f"x.{form.upper()}", "cka")
    assert [path.name for path in tmp_path.iterdir()] == [f"x.{form.upper()}"]


def test_hostile_names_are_text() -> None:
    for figure in (map_figure.draw(sheet(1, name=HOSTILE)), cka_figure.draw(matrix(3, 3, name=HOSTILE))):
        page = figure_bytes(figure, "svg").decode()
        root = ElementTree.fromstring(page)  # noqa: S314
        assert not [one for one in root.iter() if one.tag.endswith("script")]
        assert any("<script>alert(1)</script>" in text and "$x^2$" in text for text in root.itertext())
    assert plain_text("a\x07\u202eb") == "a??b"


def test_what_is_refused(tmp_path: Path) -> None:
    assert format_problems(Path("a.PNG"), "maps") == []
    assert format_problems(Path("a"), "maps") == ["maps: a figure is a file that ends in .png, .svg or .pdf, got a."]
    with pytest.raises(LocalgradError, match=r"cka: the figure was not written to .*: File exists. Give another"):
        (tmp_path / "file").write_text("")
        write_figure(cka_figure.draw(matrix(2, 2)), tmp_path / "file" / "x.png", "cka")
    with pytest.raises(LocalgradError, match=r'maps: figures need matplotlib, .* pip install "localgrad\[report\]"'):
        drawing("not_there", "maps")
