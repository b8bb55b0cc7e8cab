"""How figures are laid out, as far as it is arithmetic; and the colours, which the page and files share."""

import re
from importlib import resources

import pytest

from localgrad.report.drawing.canvas import Drawing, files_of, spread_out, svg_of
from localgrad.report.drawing.heat import Heat, Reach
from localgrad.report.drawing.lines import UnitLines
from localgrad.report.drawing.timeline import thinned, unit_centres
from localgrad.report.sides import Timeline
from localgrad.report.style import LIGHT, short_labels, shorten


def test_labels_keep_their_distance_and_move_no_more_than_needed() -> None:
    assert spread_out([0.1, 0.5, 0.9], 0.2) == [0.1, 0.5, 0.9]
    assert spread_out([0.5, 0.5], 0.2) == pytest.approx([0.4, 0.6])
    assert spread_out([0.1, 0.5, 0.55, 0.6, 0.95], 0.1) == pytest.approx([0.1, 0.45, 0.55, 0.65, 0.95])
    assert spread_out([0.0, 0.15, 0.16], 0.1) == pytest.approx([0.0, 0.105, 0.205])


def test_thinned_curves_keep_the_peak() -> None:
    live = [event % 7 * 2**20 for event in range(10_000)]
    live[4321] = 100 * 2**20
    x, y = thinned(live, points=100)
    assert len(x) == len(y) < 220 and max(y) == 100.0 and x == sorted(x) and x[y.index(100.0)] == 0.4321
    assert thinned([2**20, 2**21]) == ([0.0, 0.5, 1.0], [1.0, 2.0, 2.0])


def test_units_stand_in_the_middle_of_their_events() -> None:
    line = Timeline((1,) * 10, ((0, "forward", 0, 2), (0, "backward", 2, 4), (1, "forward", 4, 10)))
    assert unit_centres(line) == [(0, 0.2), (1, 0.7)]


def test_colours_of_files_are_those_of_the_page() -> None:
    css = resources.files("localgrad.report").joinpath("page.css").read_text()
    light = dict(re.findall(r"--s(\d): (#\w{6})", css.partition("@media")[0]))
    assert tuple(light[str(index)] for index in range(8)) == LIGHT


def contrast(one: str, other: str) -> float:
    """As the W3C's guidelines define it, from 1 to 21."""

    def light(color: str) -> float:
        parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_read_on_paper_and_in_the_dark() -> None:
    css = resources.files("localgrad.report").joinpath("page.css").read_text()
    for block in (css.partition("@media")[0], css.partition("@media")[2].partition("* {")[0]):
        colors = dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        for name in ("ink", "muted", "warn", *(f"s{index}" for index in range(8))):
            assert contrast(colors[name], colors["paper"]) >= 4.5, name


def test_names_for_figures() -> None:
    assert short_labels(["digits.dgl", "digits.bp"]) == ["dgl", "bp"]
    assert short_labels(["digits.dgl", "dgssl"]) == ["digits.dgl", "dgssl"]
    assert short_labels(["digits.dgl"]) == ["digits.dgl"]
    assert shorten("x" * 30) == "x" * 19 + "…" and shorten("a\x00b\u202e") == "a?b?"


def test_ids_of_two_figures_differ_and_text_is_no_markup() -> None:
    lines = UnitLines(0, {0: {1: 1.0}, 1: {1: 2.0}})
    first, second = (svg_of(Drawing(key, '" id="x', "", lines)) for key in ("a", "b"))
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0] and not ids[0] & ids[1] and "x" not in ids[0] | ids[1]


def test_what_is_not_as_declared_has_the_colour_of_warnings() -> None:
    good = Reach(("a", "b"), ((True, False), (False, True)), (1, 1), 0)
    bad = Reach(("a", "b"), ((True, False), (True, True)), (1, 1), 0)
    assert "var(--warn)" not in svg_of(Drawing("r", "r", "", good))
    assert "var(--warn)" in svg_of(Drawing("r", "r", "", bad))
    assert "var(--warn)" not in svg_of(Drawing("r", "r", "", Reach(("a", "b"), bad.reach, (1, 2), 0)))


def test_small_matrices_carry_their_numbers() -> None:
    def drawn(size: int) -> str:
        values = [[0.123] * size] * size
        names = [f"b{place}" for place in range(size)]
        return svg_of(Drawing("h", "h", "", Heat(values, names, names, "y", "x", 0)))

    assert drawn(2).count(">0.12<") == 4 and drawn(12).count(">0.12<") == 0


def test_same_drawing_gives_the_same_files() -> None:
    drawing = Drawing("u", "units", "", UnitLines(0, {0: {1: 1.0, 2: 3.0}, 1: {1: 2.0, 2: 4.0}}))
    assert files_of(drawing) == files_of(drawing)
