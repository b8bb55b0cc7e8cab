"""A reproduction as files: ``reproduction.json`` and ``reproduction.md``."""

import json
from collections.abc import Sequence
from pathlib import Path

from localgrad.reproduction.entries import FILE, Entry, Reproduction
from localgrad.reproduction.values import UNCALIBRATED
from localgrad.train.record import write_atomic

MARKDOWN = "reproduction.md"


def save(found: Reproduction, folder: Path) -> None:
    """Write both files, each whole or not at all. Raises LocalgradError when the disk does not take them."""
    write_atomic(folder / FILE, json.dumps(found.plain(), indent=1).encode(), "the table")
    write_atomic(folder / MARKDOWN, markdown(found).encode(), "the table as text")


def title(found: Reproduction) -> str:
    """The table and the budget."""
    return f"{found.table}, {found.request['budget']} budget ({found.source})"


def common_line(found: Reproduction) -> str:
    """What ``shared`` finds as a sentence; '' when there is nothing."""
    common = shared(found)
    scaled = any(part in entry.changed for entry in found.entries for part in common)
    whose = ", the paper's in brackets" if scaled else ""
    return f"All rows{whose}: {'; '.join(common)}." if common else ""


def shared(found: Reproduction) -> tuple[str, ...]:
    """What all rows that have a figure of ours have in common of their conditions: said once, above the table.

    That thresholds are not the paper's stands in every row.
    """
    lists = [parts_of(entry) for entry in found.entries if entry.ours is not None]
    if len(lists) < 2:
        return ()
    return tuple(part for part in lists[0] if part != UNCALIBRATED and all(part in other for other in lists))


def cells(entry: Entry, common: Sequence[str] = ()) -> tuple[str, ...]:
    """Number, row, metric, theirs, ours, n, gap, conditions without the ``common`` ones, as text."""
    row, ours = entry.figure.row, entry.ours
    gap = entry.gap
    shown = "" if gap is None else f"{gap:+.2f}"
    if shown and entry.changed:
        shown = f"({shown})"
    return (
        str(entry.figure.number),
        entry.figure.label,
        row.metric,
        row.figure,
        "" if ours is None else f"{ours} {ours.unit}".replace(" %", ""),
        "" if ours is None or not ours.seeds else str(len(ours.seeds)),
        shown,
        conditions_of(entry, common),
    )


def conditions_of(entry: Entry, common: Sequence[str] = ()) -> str:
    """What ours is, or why there is none."""
    if entry.ours is None:
        return entry.reason
    return "; ".join(part for part in parts_of(entry) if part not in common)


def parts_of(entry: Entry) -> list[str]:
    """The conditions one by one."""
    assert entry.ours is not None
    own = () if set(entry.changed) - {UNCALIBRATED} else ("the paper's network and batch",)
    parts = [*own, *entry.changed, entry.ours.kind]
    if entry.ratio is not None:
        parts.append(f"of backpropagation's: theirs {entry.ratio[0]:.2f}, ours {entry.ratio[1]:.2f}")
    return parts


def legend(found: Reproduction) -> list[str]:
    """What the columns are."""
    seeds = ", ".join(map(str, found.request["seeds"]))
    lines = [
        f"ours: last epoch on the test split, mean ± sample standard deviation over the seeds ({seeds}); theirs: as "
        "the paper prints it.",
        "gap: ours minus theirs, in the metric's own unit."
        + (" In brackets: another setting than the paper's, a direction at most." if found.warning else ""),
    ]
    if any(entry.figure.row.metric.startswith("gpu_memory") for entry in found.entries):
        lines.append(
            "memory: ours are live bytes of tensors, theirs what a GPU's allocator held: no gap, the ratios to "
            "backpropagation compare."
        )
    return lines


def markdown(found: Reproduction) -> str:
    """The whole table as text."""
    heads = ("#", "row", "metric", "theirs", "ours", "n", "gap", "conditions")
    lines = [f"# {title(found)}", ""]
    if found.warning:
        lines += [f"**{found.warning}**", ""]
    common = shared(found)
    if common:
        lines += [common_line(found), ""]
    lines += [_line(heads), _line(["---"] * len(heads))]
    lines += [_line(cells(entry, common)) for entry in found.entries]
    notes = dict.fromkeys(note for entry in found.entries if (note := entry.note))
    lines += ["", *(f"- {line}" for line in legend(found)), *(f"- note: {note}" for note in notes)]
    if found.plan and found.plan["seconds"]:
        setting = found.plan["setting"]
        images = setting["images"] or "all"
        lines += [
            f"- plan: {setting['data']}, {images} training images, {setting['epochs']} epochs, networks of level "
            f"{setting['level']}; estimated {found.plan['total'] / 60:.1f} minutes",
        ]
    lines += ["", "Conditions:", "", *(f"- {name}: {_text(value)}" for name, value in found.conditions.items()), ""]
    return "\n".join(lines)


def _line(words: Sequence[str]) -> str:
    return "| " + " | ".join(word.replace("|", "\\|").replace("\n", " ") for word in words) + " |"


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
