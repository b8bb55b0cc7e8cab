"""The tables of the page: the comparison, the runs, the settings, the conditions."""

from collections.abc import Iterable, Mapping, Sequence

from localgrad.report.comparison import Comparison, Row
from localgrad.report.groups import Group, flat, split_settings, word
from localgrad.report.markup import Markup, element
from localgrad.report.read import RunRecord
from localgrad.report.style import color_of, dash_of
from localgrad.report.tradeoffs import WAYS, best_of, live_of, macs_of, score_of
from localgrad.report.words import frozen_accuracy, legend_of, si, title_of

NOTHING = "–"


def table(heads: Sequence[str], rows: Iterable[Sequence[Markup]], kind: str, words: Sequence[str] = ()) -> Markup:
    """A table that scrolls inside its own box where it is wider than the page. ``words``: heads of columns of text."""
    columns = (element("th", head, scope="col", class_="words" if head in words else None) for head in heads)
    head = element("thead", element("tr", columns))
    body = element("tbody", (element("tr", row) for row in rows))
    return element("div", element("table", head, body, class_=kind), class_="scroll", tabindex="0")


def cell(value: object, label: str | None = None, kind: str | None = None, sort: float | None = None) -> Markup:
    """A number with what it is, which a narrow page shows beside it; ``sort`` is what a table is sorted by."""
    return element("td", value, data_label=label, class_=kind, data_sort=None if sort is None else f"{sort!r}")


def key(group: int) -> Markup:
    """A sample of a group's line."""
    dash = ",".join(map(str, dash_of(group))) or None
    style = f"stroke:{color_of(group)};stroke-width:2.5;stroke-linecap:round"
    line = element("line", x1="1", x2="29", y1="5", y2="5", style=style, stroke_dasharray=dash)
    return element("svg", line, class_="key", viewBox="0 0 30 10", aria_hidden="true")


def comparison_table(comparison: Comparison, groups: Mapping[str, int]) -> Markup:
    """One row per name, with bars for what is better when smaller."""
    judge = frozen_accuracy(comparison) or "test"
    heads = (
        "method", f"{judge} top-1 %", "best epoch’s", "units", "live MiB", "ms per step", "reach of a loss",
        "MACs of largest unit",
    )  # fmt: skip
    live, slow = (
        max(values) for values in zip(*((r.live_bytes, r.step_seconds) for r in comparison.rows), strict=True)
    )

    def cells(row: Row) -> list[Markup]:
        group = groups.get(row.name)
        color = "var(--muted)" if group is None else color_of(group)
        units = "1 unit" if row.reach_units == 1 else f"{row.reach_units} units"
        low, high = (1000 * seconds for seconds in row.step_quartiles)
        return [
            element("th", None if group is None else key(group), row.name, scope="row"),
            cell(row.top1, heads[1], "main", row.top1.mean),
            cell(row.best_top1, heads[2], sort=row.best_top1.mean),
            cell(len(row.spans), heads[3]),
            cell(
                [_ratio(f"{row.live_bytes / 2**20:.1f}", row.live_ratio), _bar(row.live_bytes / live, color)],
                heads[4],
                sort=row.live_bytes,
            ),
            cell(
                [
                    _ratio(
                        f"{1000 * row.step_seconds:.1f}", row.step_ratio, f"half of the steps: {low:.1f}–{high:.1f}"
                    ),
                    _bar(row.step_seconds / slow, color),
                ],
                heads[5],
                sort=row.step_seconds,
            ),
            cell(
                [units, element("small", f" · {row.reach_blocks}/{row.blocks} blocks")], heads[6], sort=row.reach_units
            ),
            cell(
                _ratio(si(row.macs_max_node), row.macs_max_node / max(row.macs_inference, 1)),
                heads[7],
                sort=row.macs_max_node,
            ),
        ]

    notes = [
        *legend_of(comparison),
        "MACs: forward, per sample, with the auxiliary network; × those of plain inference",
    ]
    problems = [f"{row.name}: audit: {problem}" for row in comparison.rows for problem in row.audit_problems]
    return Markup(
        element("p", title_of(comparison), class_="lead")
        + table(heads, map(cells, comparison.rows), "cards sortable")
        + element("ul", (element("li", line) for line in notes + problems), class_="note")
    )


def runs_table(groups: Sequence[Group]) -> Markup:
    """One row per run."""
    heads = ("run", "seed", "epochs", "test top-1 %, last", "top-5 %", "best top-1 % (epoch)", "training loss", "time")

    def cells(group: Group, run: RunRecord) -> list[Markup]:
        last = run.last
        epochs = f"{last.number if last else 0}/{run.planned or '?'}"
        return [
            element("th", key(group.index), group.name, scope="row", title=str(run.folder)),
            cell(NOTHING if run.seed is None else run.seed),
            cell(epochs, sort=last.number if last else 0),
            _accuracy(run),
            cell(_fixed(last and last.top5, 2)),
            cell(
                NOTHING if run.best is None else [f"{run.best[1]:.2f} ", element("small", f"({run.best[0]})")],
                sort=run.best and run.best[1],
            ),
            cell(_fixed(last and last.loss, 4)),
            cell(_duration(last and last.seconds), sort=last and last.seconds),
        ]

    return table(heads, (cells(group, run) for group in groups for run in group.runs), "runs sortable")


def _accuracy(run: RunRecord) -> Markup:
    """Top-1 of the last epoch, and in small what judged it where that is not the run's own classifier."""
    value, how = next(((value, how) for how, way in WAYS if (value := way(run)) is not None), (None, ""))
    return cell([_fixed(value, 2), element("small", f" {how}") if how else None], kind="main", sort=value)


def results_table(groups: Sequence[Group]) -> Markup:
    """One row per group: the last epoch's accuracy over the seeds, the best epoch's beside it, and what it costs."""
    heads = ("method", "test top-1 %, last", "best epoch’s", "n", "seeds", "units", "live MiB", "MACs of largest unit")

    def cells(group: Group) -> list[Markup]:
        score, best, live, macs = score_of(group), best_of(group), live_of(group), macs_of(group)
        how = None if score is None or not score.how else element("small", f" {score.how}")
        return [
            element("th", key(group.index), group.name, scope="row"),
            cell(NOTHING if score is None else [score.top1, how], heads[1], "main", score and score.top1.mean),
            cell(NOTHING if best is None else best, heads[2], sort=best and best.mean),
            cell(len(group.runs), heads[3]),
            cell(", ".join(map(str, group.seeds)) or NOTHING, heads[4]),
            cell(NOTHING if group.spans is None else len(group.spans), heads[5]),
            cell(NOTHING if live is None else f"{live / 2**20:.1f}", heads[6]),
            cell(NOTHING if macs is None else si(macs), heads[7], sort=macs),
        ]

    return table(heads, map(cells, groups), "cards sortable")


def settings_tables(groups: Sequence[Group]) -> Markup:
    """For every group the settings in which it differs from another; those that all share below, folded."""
    known = [group for group in groups if group.runs[0].facts]
    if not known:
        return element("p", "No run’s settings could be read.")
    columns = [flat({name: value for name, value in g.runs[0].facts.items() if name != "seed"}) for g in known]
    differing, shared = split_settings(columns)
    rows = (
        [element("th", key(group.index), group.name, scope="row"), element("td", chips(differing, index))]
        for index, group in enumerate(known)
    )
    body = table(("method", "settings"), rows, "settings") if differing else element("p", "None, but for the seeds.")
    return Markup(body + element("details", element("summary", "Settings that all share"), pairs(shared)))


def conditions_lists(comparisons: Sequence[Comparison], runs: Sequence[RunRecord]) -> Markup:
    """What the numbers were made with: of comparisons, of all runs, and of single runs where they differ."""
    parts = []
    for comparison in comparisons:
        named = {name.replace("_", " "): word(value) for name, value in comparison.conditions.items()}
        parts += [element("h3", "The comparison"), pairs(named)]
    known = [run for run in runs if run.conditions]
    differing, shared = split_settings([flat(run.conditions) for run in known])
    if shared:
        parts += [element("h3", "All runs" if len(runs) > 1 else "The run"), pairs(shared)]
    if differing:
        rows = (
            [element("th", run.folder.name, scope="row"), element("td", chips(differing, index))]
            for index, run in enumerate(known)
        )
        parts += [element("h3", "Where runs differ"), table(("run", "conditions"), rows, "settings")]
    parts += _measured(runs)
    return Markup("".join(parts)) if parts else element("p", "No conditions could be read.")


def _measured(runs: Sequence[RunRecord]) -> list[Markup]:
    """What the files beside the runs were made with."""
    named = [(f"{run.folder.name}: {file}", flat(own)) for run in runs for file, own in run.sides.conditions if own]
    if not named:
        return []
    differing, shared = split_settings([own for _, own in named])
    parts = [
        element("h3", "Measured beside the runs: " + ", ".join(dict.fromkeys(n.partition(": ")[2] for n, _ in named)))
    ]
    if shared:
        parts.append(pairs(shared))
    if differing:
        rows = (
            [element("th", name, scope="row"), element("td", chips(differing, i))] for i, (name, _) in enumerate(named)
        )
        body = table(("file", "conditions"), rows, "settings")
        parts.append(element("details", element("summary", "Where these differ"), body))
    return parts


def chips(differing: Mapping[str, Sequence[str | None]], index: int) -> Markup:
    """The values of one column, each after its name; without those that it has not."""
    own = ((name, values[index]) for name, values in differing.items())
    short = short_names(differing)
    items = (
        [element("span", short[name], title=name), " ", value] for name, value in own if value not in (None, NOTHING)
    )
    return element("ul", (element("li", item) for item in items), class_="chips")


def short_names(names: Iterable[str]) -> dict[str, str]:
    """The last part of every dotted name, where no other name ends in it."""
    ends: dict[str, list[str]] = {}
    for name in names:
        ends.setdefault(name.rpartition(".")[2], []).append(name)
    return {name: end if len(own) == 1 else name for end, own in ends.items() for name in own}


def pairs(values: Mapping[str, str]) -> Markup:
    """A list of names and values."""
    return element(
        "dl",
        (
            element("div", element("dt", name), element("dd", value), class_="long" if len(value) > 22 else None)
            for name, value in values.items()
        ),
    )


def _ratio(value: str, ratio: float, title: str | None = None) -> Markup:
    return element("span", value, element("small", f" ×{ratio:.2f}"), title=title)


def _bar(share: float, color: str) -> Markup:
    width = min(max(share, 0.0), 1.0) * 100
    return element("span", element("i", style=f"width:{width:.1f}%;background:{color}"), class_="bar")


def _fixed(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
