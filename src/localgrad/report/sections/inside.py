"""What happens inside: similarity of blocks, memory over a step, reach of losses."""

from collections.abc import Sequence
from pathlib import Path

from localgrad.report.drawing.canvas import Drawing
from localgrad.report.drawing.heat import Heat, Reach
from localgrad.report.drawing.timeline import Step
from localgrad.report.groups import Group
from localgrad.report.markup import Markup, element
from localgrad.report.read import FileRecord, Record, RunRecord
from localgrad.report.sections.section import Section, labels_of
from localgrad.report.sides import Audit, Similarity
from localgrad.report.standing import standing_note
from localgrad.report.style import shorten
from localgrad.report.words import mib, short_list


def similarity(groups: Sequence[Group], records: Sequence[Record]) -> Section | None:
    """A heat map for every file of similarities that was found or given."""
    found: list[tuple[Similarity, int, RunRecord | None]] = []
    at = {run.folder.resolve(): run.last.number for group in groups for run in group.runs if run.last is not None}
    for group in groups:
        found += [(one, group.index, run) for run in group.runs for one in run.sides.similarities]
    found += [(r.similarity, 0, None) for r in records if isinstance(r, FileRecord) and r.similarity is not None]
    drawings = []
    notes = []
    for place, (one, group_index, run) in enumerate(found):
        first, second = _names(one, [other for other, *_ in found])
        heat = Heat(one.exact, one.first, one.second, shorten(first, 28), shorten(second, 28), group_index)
        about = f"linear CKA, exact, {one.samples} test images of {one.data}"
        drawings.append(Drawing(f"cka-{place}", f"{first} × {second}", about, heat, (4.3, 3.8)))
        gap = max(
            abs(a - b)
            for line, other in zip(one.exact, one.unbiased, strict=True)
            for a, b in zip(line, other, strict=True)
        )
        still = {name for names in one.constant for name in names}
        shared = [name for name in one.first if name in one.second and name not in still]
        mean = ""
        if shared:
            values = [one.exact[one.first.index(name)][one.second.index(name)] for name in shared]
            mean = f" mean over the {len(shared)} blocks of one name {sum(values) / len(values):.3f};"
        notes.append(
            f"{first} × {second}:{mean} the unbiased version in mini-batches of {one.minibatch} differs by at most "
            f"{gap:.3f}."
        )
        notes += [
            f"{first} × {second}: constant in {name}, the same for all images and shown as 0: {', '.join(names)}."
            for name, names in zip((first, second), one.constant, strict=True)
            if names
        ]
        beside = run.folder / one.other if run is not None and one.other is not None else Path(one.runs[1])
        own_folder = Path(one.runs[0]) if run is None else run.folder
        epochs = (at.get(own_folder.resolve()), at.get(beside.resolve()))
        for name, checkpoint, newest in zip((first, second), one.checkpoints, epochs, strict=True):
            note = standing_note(f"{first} × {second}: features of {name}", checkpoint, newest)
            notes += [] if note is None else [note]
    return Section("Similarity of blocks", tuple(drawings), tuple(notes)) if drawings else None


def _names(one: Similarity, among: Sequence[Similarity]) -> tuple[str, str]:
    """The runs' folders; with the folder above where another pair has the same names."""

    def last(of: Similarity, parts: int) -> tuple[str, str]:
        first, second = ("/".join(name.rstrip("/").split("/")[-parts:]) or name for name in of.runs)
        return first, second

    alike = [other for other in among if last(other, 1) == last(one, 1)]
    return last(one, 1 if len(alike) == 1 else 2)


def memory(groups: Sequence[Group]) -> Section | None:
    """Live bytes over one step of every group, beside end-to-end training."""
    names = labels_of(groups)
    drawings = []
    said = []
    for group in groups:
        cost = group.cost
        if cost is None:
            continue
        own, other = cost.own, cost.baseline
        baseline = "backprop" if other.name == "Backprop" else f"{shorten(other.name)}, one unit"
        ratio = "" if own.peak == other.peak else f", {own.peak / other.peak:.2f} of {baseline}"
        drawings.append(
            Drawing(
                f"memory-{group.index}",
                f"{names[group.index]}: live memory",
                f"peak {mib(own.peak)} MiB{ratio}",
                Step(own.timeline, other.timeline, group.index, (names[group.index], baseline)),
                (4.3, 2.7),
            )
        )
        parts = f", in {cost.accumulate} parts" if cost.accumulate > 1 else ""
        said.append(f"batch {cost.batch_size}{parts}, {cost.precision}")
    if not drawings:
        return None
    notes = (
        "All tensors alive: weights, gradients, optimiser state, batch and activations, after every event that changes "
        "them. Both steps from their first event to their last, whatever their numbers.",
        "Strip: forward faint, backward full, update grey.",
        f"Predicted on fake tensors; {'; '.join(dict.fromkeys(said))}.",
    )
    return Section("Memory over one training step", tuple(drawings), notes)


def reach(groups: Sequence[Group]) -> Section | None:
    """The matrix of which loss reaches which unit, and in words what else the audit found."""
    names = labels_of(groups)
    parts: list[Drawing | Markup] = []
    lines = []
    for group in groups:
        audit = group.audit
        if audit is None:
            continue
        if len(audit.names) > 1:
            drawn = Reach(audit.names, audit.reach, audit.declared, group.index)
            about = f"{len(audit.names)} units, " + ("as declared" if not audit.problems else "not as declared")
            parts.append(Drawing(f"reach-{group.index}", f"{names[group.index]}: reach", about, drawn, (3.7, 3.4)))
        lines.append(element("li", element("strong", group.name), ": ", _audited(audit)))
    if not lines:
        return None
    parts.append(element("ul", lines, class_="note"))
    notes = (
        "Row: the loss of a unit. Filled: it has a gradient for parameters of the unit of the column; framed: what the "
        "method declares. Found by running real steps and asking autograd.",
    )
    return Section("Reach of every loss", tuple(parts), notes)


def _audited(audit: Audit) -> str:
    reached = max(map(sum, audit.reach))
    unread = [name for name, reads in zip(audit.names, audit.labels, strict=True) if not reads]
    labels = "every loss reads the labels"
    if unread:
        labels = "no loss reads labels" if len(unread) == len(audit.names) else f"no labels in {short_list(unread)}"
    words = [
        f"a loss reaches {reached} of {len(audit.names)} unit{'s' * (len(audit.names) > 1)}",
        labels,
        f"parameters that no loss reaches: {short_list(audit.dead) or 'none'}",
        f"sent between groups: {short_list(audit.sideways) or 'nothing'}",
        *audit.problems,
    ]
    return "; ".join(words)
