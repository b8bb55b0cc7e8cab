"""What the trained networks do elsewhere, and what they look at: transfer, feature maps."""

import base64
from collections.abc import Sequence

from localgrad.report.groups import Group
from localgrad.report.markup import Markup, element
from localgrad.report.sections.section import Section
from localgrad.report.standing import standing_note
from localgrad.report.tables import NOTHING, cell, key, table


def transfer(groups: Sequence[Group]) -> Section | None:
    """A row for every run and every other data set that it was evaluated on."""
    rows = [
        [
            element("th", key(group.index), group.name, scope="row", title=str(run.folder)),
            cell(NOTHING if run.seed is None else run.seed),
            cell(one.data),
            cell(_percent(one.top1), kind="main", sort=one.top1),
            cell(_percent(one.top5), sort=one.top5),
            cell(_percent(one.linear), sort=one.linear),
            cell(_percent(one.knn), sort=one.knn),
            cell(one.images),
            cell(NOTHING if one.mapped is None else one.mapped),
        ]
        for group in groups
        for run in group.runs
        for one in run.sides.transfers
    ]
    if not rows:
        return None
    heads = ("run", "seed", "data", "top-1 %", "top-5 %", "linear probe %", "kNN %", "images", "classes matched")
    notes = ("Weights as trained, nothing fitted to the other set but linear probes, on its own training split.",)
    told = [
        standing_note(f"{run.folder.name} on {one.data}: figures", one.checkpoint, run.last and run.last.number)
        for group in groups
        for run in group.runs
        for one in run.sides.transfers
    ]
    unfinished = tuple(dict.fromkeys(filter(None, told)))
    return Section("Transfer to other data", (table(heads, rows, "runs sortable"),), notes + unfinished)


def feature_maps(groups: Sequence[Group]) -> Section | None:
    """The image that `localgrad maps` left in a run's folder, inside the page."""
    parts: list[Markup] = []
    for group in groups:
        for run in group.runs:
            if run.sides.maps is not None:
                data = base64.b64encode(run.sides.maps).decode()
                name = f"Feature maps of {group.name}, seed {run.seed}"
                # Half its width in points: the file has the dots of print. The header of a PNG begins with the width.
                width = str(max(int.from_bytes(run.sides.maps[16:20]) // 2, 1))
                image = element("img", width=width, src=f"data:image/png;base64,{data}", alt=name)
                box = element("div", image, class_="scroll", tabindex="0")
                parts.append(element("figure", element("figcaption", element("h3", name)), box, class_="maps"))
    return Section("Feature maps", tuple(parts)) if parts else None


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"
