"""What the page does not show for want of data, and the command that would add it."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from localgrad.report.groups import Group
from localgrad.report.read import ComparisonRecord, FileRecord, Record, RunRecord
from localgrad.report.tradeoffs import bubbles, live_of, macs_of, score_of

MOST = 3
"""Commands that are written out; of more runs the number is said."""


@final
@dataclass(frozen=True)
class Gap:
    """``what`` is not shown of ``names``; ``commands`` would add it, ``more`` times again for further runs."""

    what: str
    names: tuple[str, ...]
    commands: tuple[str, ...]
    more: int = 0


def gaps(groups: Sequence[Group], records: Sequence[Record]) -> list[Gap]:
    """All sections and curves that could be there and are not."""
    found = [
        _measured(groups, records),
        _tradeoff(groups),
        _of_runs("linear probe and kNN of every block", groups, lambda g: not g.probed, _probe),
        _similarities(groups, records),
        _of_runs("kNN and linear evaluation over the epochs", groups, _unjudged, _train),
        _plan(groups, records),
        _of_runs("transfer to other data", groups, lambda g: not any(r.sides.transfers for r in g.runs), _transfer),
        _of_runs("feature maps", groups, lambda g: all(r.sides.maps is None for r in g.runs), _maps),
    ]
    return [gap for gap in found if gap is not None]


def _of_runs(
    what: str, groups: Sequence[Group], lacks: Callable[[Group], bool], command: Callable[[RunRecord], str]
) -> Gap | None:
    lacking = [group for group in groups if lacks(group)]
    if not lacking:
        return None
    names = () if len(lacking) == len(groups) else tuple(group.name for group in lacking)
    commands = list(dict.fromkeys(command(group.runs[0]) for group in lacking))
    return Gap(what, names, tuple(commands[:MOST]), max(len(commands) - MOST, 0))


def _measured(groups: Sequence[Group], records: Sequence[Record]) -> Gap | None:
    lacking = [group for group in groups if group.cost is None or group.audit is None]
    if not lacking:
        return None
    names = () if len(lacking) == len(groups) else tuple(group.name for group in lacking)
    paths = [record.folder for record in records if isinstance(record, RunRecord | ComparisonRecord)]
    shown = " ".join(shlex.quote(str(path)) for path in paths[:MOST]) + (" ..." if len(paths) > MOST else "")
    what = "memory over a step and reach of every loss" + (
        "" if len(groups) < 2 else ", and accuracy against both costs"
    )
    return Gap(what, names, (f"localgrad report --measure {shown} -o FILE",))


def _tradeoff(groups: Sequence[Group]) -> Gap | None:
    """Bubbles of one method alone say nothing."""
    known = [group for group in groups if macs_of(group) is not None and live_of(group) is not None]
    if not groups or len(known) < len(groups) or len(bubbles(groups)) > 1:
        return None
    return Gap("accuracy against MACs and memory, of two or more methods", (), ("localgrad report RUN RUN... -o FILE",))


def _similarities(groups: Sequence[Group], records: Sequence[Record]) -> Gap | None:
    given = any(isinstance(record, FileRecord) and record.similarity is not None for record in records)
    if given or any(run.sides.similarities for group in groups for run in group.runs) or not groups:
        return None
    # The first group is mostly what others are compared with.
    other = _quoted(groups[0].runs[0].folder)
    first = other if len(groups) == 1 else _quoted(groups[1].runs[0].folder)
    return Gap("similarity of blocks", (), (f"localgrad cka {first} {'RUN' if len(groups) == 1 else other}",))


def _plan(groups: Sequence[Group], records: Sequence[Record]) -> Gap | None:
    given = any(isinstance(record, FileRecord) and record.plan is not None for record in records)
    if given or any(run.sides.plan is not None for group in groups for run in group.runs) or not groups:
        return None
    spread = [run for group in groups for run in group.runs if isinstance(run.conditions.get("hosts"), list)]
    what = "plan of a distributed run"
    if spread:
        return Gap(what, (), (f"localgrad report --measure {_quoted(spread[0].folder)} -o FILE",), len(spread) - 1)
    run = max(groups, key=lambda group: len(group.spans or ())).runs[0]
    recipe = shlex.quote(str(run.origin.get("recipe", "RECIPE")))
    return Gap(what, (), (f"localgrad plan {recipe} --ranks N -o {_quoted(run.folder / 'plan.json')}",))


def _unjudged(group: Group) -> bool:
    judged = any(epoch.knn or epoch.linear for run in group.runs for epoch in run.epochs)
    trained = any(run.epochs for run in group.runs)
    score = score_of(group)
    return trained and not judged and (score is None or bool(score.how))


def _probe(run: RunRecord) -> str:
    return f"localgrad probe {_quoted(run.folder)}"


def _train(run: RunRecord) -> str:
    recipe = shlex.quote(str(run.origin.get("recipe", "RECIPE")))
    return f"localgrad train {recipe} --knn-every 1 --linear-every 10 --out DIR"


def _transfer(run: RunRecord) -> str:
    return f"localgrad evaluate {_quoted(run.folder)} --data NAME"


def _maps(run: RunRecord) -> str:
    return f"localgrad maps {_quoted(run.folder)}"


def _quoted(path: object) -> str:
    return shlex.quote(str(path))
