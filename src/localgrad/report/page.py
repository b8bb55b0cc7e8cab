"""``write_report``: folders in, one HTML page out. Follow it top to bottom: read, group, sections, file."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import import_module, resources
from pathlib import Path
from typing import TYPE_CHECKING

from localgrad.errors import LocalgradError
from localgrad.report.files import write_whole
from localgrad.report.gaps import Gap, gaps
from localgrad.report.groups import Group, all_runs, make_groups
from localgrad.report.markup import Markup, element
from localgrad.report.read import ComparisonRecord, FileRecord, Record, read_path
from localgrad.report.tables import (
    comparison_table,
    conditions_lists,
    key,
    results_table,
    runs_table,
    settings_tables,
)
from localgrad.version import VERSION

if TYPE_CHECKING:
    from localgrad.report.sections.section import Section

ABOUT = (
    "Local learning cuts a network into units. Every unit learns from a loss of its own, and no gradient crosses from "
    "one unit into another. Accuracy is that of the last epoch on the test split; the best epoch’s stands beside it."
)


def write_report(paths: Sequence[Path], out: Path, figures: Path | None = None) -> None:
    """Write one self-contained HTML page about run folders, comparison folders, and files of similarities or plans.

    With ``figures`` every figure is also written into that folder, as PNG, SVG and PDF. Of a damaged or unfinished
    folder what is whole is shown, and the page says what is missing. Raises LocalgradError for a path that holds no
    run, without matplotlib, and when a file cannot be written.
    """
    if not paths:
        raise LocalgradError("report: expected at least one folder of a run or a comparison, got none.")
    need_matplotlib()
    records = [read_path(path) for path in paths]
    sections = _sections(make_groups(records), records)
    write_whole(out, render(records, sections).encode(), "the page", "Give another file with -o.")
    if figures is not None:
        # Imported here, like the sections: matplotlib is an extra, and only who makes figures needs it.
        from localgrad.report.drawing.canvas import Drawing, files_of  # noqa: PLC0415

        drawings = [part for section in sections for part in section.parts if isinstance(part, Drawing)]
        for drawing in drawings:
            for form, data in files_of(drawing).items():
                path = figures / f"{drawing.key}.{form}"
                write_whole(path, data, "a figure", "Give another folder with --figures.")


def need_matplotlib() -> None:
    """Raise LocalgradError where figures cannot be drawn."""
    try:
        import_module("matplotlib")
    except ImportError as error:
        raise LocalgradError(
            f'report: figures need matplotlib, which does not import ({error}): pip install "localgrad[report]"'
        ) from error


def render(records: Sequence[Record], sections: "Sequence[Section]") -> str:
    """The page as text; the same folders give the same text."""
    groups, runs = make_groups(records), all_runs(records)
    comparisons = [r.comparison for r in records if isinstance(r, ComparisonRecord) and r.comparison is not None]
    title = _title(groups)
    indices = {group.name: group.index for group in groups}
    compared = len(comparisons) == 1 and all(group.row is not None for group in groups)
    body = [
        element("header", element("h1", title), element("p", ABOUT, class_="lead")),
        _missing(records),
        *(_section("Comparison", comparison_table(comparison, indices)) for comparison in comparisons),
        _section("Results", results_table(groups)) if groups and not compared else None,
        *map(_drawn, sections),
        _section("Runs", runs_table(groups)) if groups else None,
        _section("Settings that differ", settings_tables(groups)) if groups else None,
        _section("Conditions", conditions_lists(comparisons, runs)),
        _gaps(gaps(groups, records)),
        element(
            "footer", f"Written by localgrad {VERSION} from the files in the folders of the runs; nothing was computed."
        ),
    ]
    style, script = _resource("page.css"), _resource("page.js")
    head = [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(style)),
    ]
    last = element("script", Markup(script))
    return "<!DOCTYPE html>\n" + element("html", element("head", head), element("body", body, last), lang="en") + "\n"


@cache
def _resource(name: str) -> str:
    return resources.files("localgrad.report").joinpath(name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Nothing comes from elsewhere, and no script runs but the page's own, whatever stands in a run's files."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _sections(groups: Sequence[Group], records: Sequence[Record]) -> "list[Section]":
    from localgrad.report.sections import figure_sections  # noqa: PLC0415

    return figure_sections(groups, records)


def _drawn(section: "Section") -> Markup:
    """A section with its figures, neighbours side by side."""
    from localgrad.report.drawing.canvas import Drawing, svg_of  # noqa: PLC0415

    parts: list[Markup] = []
    row: list[Markup] = []
    for part in section.parts:
        if isinstance(part, Drawing):
            caption = element("figcaption", element("h3", part.title), element("p", part.about))
            row.append(element("figure", caption, svg_of(part)))
            continue
        parts += [element("div", row, class_="figures"), part] if row else [part]
        row = []
    if row:
        parts.append(element("div", row, class_="figures"))
    legend = (element("li", key(group.index), group.name) for group in section.legend)
    shown = [
        element("ul", legend, class_="legend") if len(section.legend) > 1 else None,
        *parts,
        element("ul", (element("li", note) for note in section.notes), class_="note") if section.notes else None,
    ]
    if section.folded is not None:
        return _section(section.title, element("details", element("summary", section.folded), shown))
    return _section(section.title, shown)


def _title(groups: Sequence[Group]) -> str:
    names = [group.name for group in groups]
    return " · ".join(names) if 0 < len(names) <= 4 else f"Local learning: {len(names)} methods"


def _section(title: str, *content: object) -> Markup:
    return element("section", element("h2", title), content)


def _missing(records: Sequence[Record]) -> Markup | None:
    found = [(r.path if isinstance(r, FileRecord) else r.folder, r.problems) for r in records]
    found += [(run.folder, run.problems) for run in all_runs(records) if run not in records]
    lines = [
        element("li", element("strong", folder.name or str(folder)), ": ", problem)
        for folder, problems in found
        for problem in problems
    ]
    return element("aside", element("h2", "What is missing"), element("ul", lines), class_="missing") if lines else None


def _gaps(found: Sequence[Gap]) -> Markup | None:
    if not found:
        return None
    lines = []
    for gap in found:
        of = f" ({', '.join(gap.names)})" if gap.names else ""
        more = f" and {gap.more} more like these" if gap.more else None
        commands = element("span", ([element("code", command), " "] for command in gap.commands))
        lines.append(element("li", f"{gap.what[0].upper()}{gap.what[1:]}{of}: ", commands, more))
    return _section("Not shown, and what would add it", element("ul", lines, class_="gaps"))
