"""Plans of distributed runs: which process hosts which units, and what is sent."""

from collections.abc import Sequence

from localgrad.report.drawing.canvas import Drawing
from localgrad.report.drawing.stages import Stages
from localgrad.report.groups import Group
from localgrad.report.markup import Markup, element
from localgrad.report.planned import Planned
from localgrad.report.read import FileRecord, Record
from localgrad.report.sections.section import Section
from localgrad.report.tables import cell, table
from localgrad.report.words import short_list


def plans(groups: Sequence[Group], records: Sequence[Record]) -> Section | None:
    """A bar chart and two tables for every plan that was found or given."""
    found: list[tuple[str, Planned, int]] = []
    for group in groups:
        found += [(group.name, run.sides.plan, group.index) for run in group.runs if run.sides.plan is not None]
    found += [(r.path.name, r.plan, 0) for r in records if isinstance(r, FileRecord) and r.plan is not None]
    different = {plan: (name, index) for name, plan, index in reversed(found)}
    parts: list[Drawing | Markup] = []
    for place, (plan, (name, index)) in enumerate(reversed(different.items())):
        about = (
            f"{plan.network}, {plan.method}, batch {plan.batch_size}, {plan.stages} stages"
            + (f" of {plan.replicas} replicas" if plan.replicas > 1 else "")
            + f"; for links of {plan.link[0] * 8e-9:.3g} Gbit/s and {plan.link[1] * 1e3:.3g} ms"
        )
        size = (4.3, 1.0 + 0.32 * min(plan.stages, 40))
        parts += [
            Drawing(f"plan-{place}", f"{name}: plan", about, Stages(plan, index), size),
            _hosts(plan),
            _sent(plan),
        ]
    notes = ("Segments are units; the longest bar is the pace of the pipeline. Sizes are those of the numbers sent.",)
    return Section("Plan of the distributed run", tuple(parts), notes) if parts else None


def _hosts(plan: Planned) -> Markup:
    def row(stage: int) -> list[Markup]:
        own = plan.units_of(stage)
        ranks = range(stage * plan.replicas, (stage + 1) * plan.replicas)
        return [
            element("th", str(stage), scope="row"),
            cell(f"{ranks[0]}" if len(ranks) == 1 else f"{ranks[0]}–{ranks[-1]}"),
            cell(short_list([unit.name for unit in own], 6), kind="words"),
            cell(f"{plan.speeds[stage]:g}"),
            cell(f"{1000 * sum(unit.seconds for unit in own):.2f}"),
            cell(f"{max(unit.memory for unit in own) / 2**20:.1f}"),
        ]

    heads = ("stage", "process", "units", "speed", "ms per batch", "live MiB of its largest unit")
    return table(heads, map(row, range(plan.stages)), "plain", ("units",))


def _sent(plan: Planned) -> Markup:
    if not plan.sent:
        return element("p", "Nothing is sent.", class_="note")
    rows = (
        [
            element("th", f"{one.source} → {one.target}", scope="row"),
            cell(f"{one.what} of {one.unit}", kind="words"),
            cell(f"{one.size / 1e6:.3g}"),
        ]
        for one in plan.sent
    )
    return table(("stages", "what is sent", f"MB per mini-batch, {plan.wire}"), rows, "plain", ("what is sent",))
