"""``write_report``: folders in, one HTML page out. Follow it top to bottom: read, group, sections, file."""

import os
from collections.abc import Sequence
from importlib import import_module, resources
from pathlib import Path
from typing import Any

from localgrad.errors import LocalgradError
from localgrad.report.curves import Curve, by_blocks, over_depth, per_epoch, wide
from localgrad.report.groups import Group, all_runs, make_groups
from localgrad.report.markup import Markup, element
from localgrad.report.read import ComparisonRecord, RunRecord, read_path
from localgrad.report.tables import comparison_table, conditions_lists, key, runs_table, settings_tables
from localgrad.version import VERSION

ABOUT = (
    "Local learning cuts a network into units. Every unit learns from a loss of its own, and no gradient crosses from "
    "one unit into another. Accuracy is that of the last epoch on the test split; the best epoch’s stands beside it."
)


def write_report(paths: Sequence[Path], out: Path) -> None:
    """Write one self-contained HTML page about run folders and comparison folders.

    Of a damaged or unfinished folder what is whole is shown, and the page says what is missing. Raises LocalgradError
    for a path that holds no run, without matplotlib, and when ``out`` cannot be written.
    """
    if not paths:
        raise LocalgradError("report: expected at least one folder of a run or a comparison, got none.")
    figures = _figures()
    page = render([read_path(path) for path in paths], figures)
    temporary = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise LocalgradError(
            f"report: the page was not written to {out}: {error.strerror or error}. Give another file with -o."
        ) from error


def render(records: Sequence[RunRecord | ComparisonRecord], figures: Any) -> str:
    """The page as text; the same folders give the same text."""
    groups, runs = make_groups(records), all_runs(records)
    comparisons = [r.comparison for r in records if isinstance(r, ComparisonRecord) and r.comparison is not None]
    title = _title(groups)
    indices = {group.name: group.index for group in groups}
    body = [
        element("header", element("h1", title), element("p", ABOUT, class_="lead")),
        _missing(records),
        *(_section("Comparison", comparison_table(comparison, indices)) for comparison in comparisons),
        _section("Learning curves", _curves(groups, figures)) if any(run.epochs for run in runs) else None,
        _section("Runs", runs_table(groups)) if groups else None,
        _section("Settings that differ", settings_tables(groups)) if groups else None,
        _section("Conditions", conditions_lists(comparisons, runs)),
        element("footer", f"Written by localgrad {VERSION} from run.json, metrics.jsonl and comparison.json."),
    ]
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(resources.files("localgrad.report").joinpath("page.css").read_text(encoding="utf-8"))),
    ]
    return "<!DOCTYPE html>\n" + element("html", element("head", head), element("body", body), lang="en") + "\n"


def _figures() -> Any:
    # Imported here: only this function of the package needs matplotlib, which is an extra.
    try:
        return import_module("localgrad.report.figures")
    except ImportError as error:
        raise LocalgradError(
            f'report: figures need matplotlib, which does not import ({error}): pip install "localgrad[report]"'
        ) from error


def _title(groups: Sequence[Group]) -> str:
    names = [group.name for group in groups]
    return " · ".join(names) if 0 < len(names) <= 4 else f"Local learning: {len(names)} methods"


def _section(title: str, *content: object) -> Markup:
    return element("section", element("h2", title), content)


def _missing(records: Sequence[RunRecord | ComparisonRecord]) -> Markup | None:
    comparisons = [record for record in records if isinstance(record, ComparisonRecord)]
    found = [(record.folder, record.problems) for record in comparisons]
    found += [(run.folder, run.problems) for run in all_runs(records)]
    lines = [
        element("li", element("strong", folder.name or str(folder)), ": ", problem)
        for folder, problems in found
        for problem in problems
    ]
    return element("aside", element("h2", "What is missing"), element("ul", lines), class_="missing") if lines else None


def _curves(groups: Sequence[Group], figures: Any) -> list[Markup | None]:
    seeds = any(len(group.runs) > 1 for group in groups)
    legend = element("ul", (element("li", key(group.index), group.name) for group in groups), class_="legend")
    blocks = by_blocks(groups)
    loss = per_epoch(groups, lambda epoch: epoch.loss)
    log = wide(loss)
    shown = [
        _figure(
            figures,
            per_epoch(groups, lambda epoch: epoch.top1),
            figures.Axis("top1", "epoch"),
            "Test top-1, %",
            "after every epoch",
        ),
        _figure(
            figures,
            loss,
            figures.Axis("loss", "epoch", log=log),
            "Training loss of the last unit",
            "mean over the epoch" + (", logarithmic" if log else ""),
        ),
        _figure(
            figures,
            over_depth(groups),
            figures.Axis("depth", "blocks up to the head" if blocks else "unit", points=True),
            "Accuracy over depth, %",
            "every unit’s own head, test top-1, last epoch",
        ),
    ]
    note = element("p", "Bold: mean over the seeds. Thin: single seeds.", class_="note") if seeds else None
    return [legend, element("div", shown, class_="figures"), note]


def _figure(figures: Any, curves: Sequence[Curve], axis: Any, title: str, about: str) -> Markup | None:
    if not curves:
        return None
    caption = element("figcaption", element("h3", title), element("p", about))
    return element("figure", caption, figures.draw(curves, axis))
