"""What the numbers of a comparison are, in words that the terminal and the page share."""

from collections.abc import Sequence

from localgrad.report.comparison import Comparison

FROZEN = {"linear": "linear evaluation", "knn": "kNN"}
"""Accuracies that are not those of the networks' own classifiers."""


def frozen_accuracy(comparison: Comparison) -> str | None:
    """What judged the frozen features that are compared; None where the networks' own classifiers are."""
    return FROZEN.get(str(comparison.conditions.get("accuracy")))


def title_of(comparison: Comparison) -> str:
    """Data, budget and seeds in one line."""
    said = comparison.conditions
    epochs = said.get("epochs", "?")
    budget = f"{epochs} epoch{'' if epochs == 1 else 's'} at batch {said.get('batch_size', '?')}"
    judge = frozen_accuracy(comparison)
    by = "" if judge is None else f", by {judge} of frozen features"
    return f"{said.get('data', 'data unknown')}, {budget}, {_seeds(comparison)}{by}"


def legend_of(comparison: Comparison) -> list[str]:
    """One line for every column."""
    said = comparison.conditions
    several = any(row.top1.std is not None for row in comparison.rows)
    spread = "mean ± sample standard deviation over" if several else "one run, no spread:"
    threads = said.get("threads", "?")
    cpu = f"{said.get('device', '?')} with {threads} thread{'' if threads == 1 else 's'}"
    judge = frozen_accuracy(comparison)
    judged = "" if judge is None else f"{judge} of the frozen final features, no classifier of the network's own, "
    return [
        f"top-1: {judged}test split, last epoch, {spread} {_seeds(comparison)}",
        f"best: the best epoch, chosen on the {said.get('best_chosen_on', '?')} split; never the headline",
        f"live: all tensors alive at the peak of a training step at batch {said.get('batch_size', '?')}, predicted",
        f"ms/step: median of {said.get('step_repeats', '?')} interleaved steps on {said.get('gpu', cpu)}, "
        f"{said.get('precision', '?')}",
        "reach: most units (and blocks) that the loss of one unit sends a gradient to, by audit",
        "ratios are to the first row",
        *ensembles_of(comparison),
    ]


def ensembles_of(comparison: Comparison) -> list[str]:
    """What the heads of all units say together, where several classify: the figures of GN-DGL's papers."""
    lines = [
        f"{row.name}: " + ", ".join(f"{mode} {found}" for mode, found in row.ensembles.items())
        for row in comparison.rows
        if row.ensembles
    ]
    if not lines:
        return []
    return [
        "ensembles of the units' heads, top-1 of the last epoch (layerwise: module j weighs 2^j; last: the last "
        "module's heads): " + "; ".join(lines)
    ]


def _seeds(comparison: Comparison) -> str:
    seeds = comparison.conditions.get("seeds")
    listed = ", ".join(map(str, seeds)) if isinstance(seeds, list) else "?"
    count = len(seeds) if isinstance(seeds, list) else "?"
    return f"seed {listed}" if count == 1 else f"n={count} seeds ({listed})"


def si(value: int) -> str:
    """Three digits and a letter: 17.0 M."""
    for size, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return str(value)


def mib(size: float) -> str:
    """Bytes in MiB, three digits or all before the point: 3.08, 12.9, 2464."""
    value = size / 2**20
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def short_list(names: Sequence[str], most: int = 4) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
