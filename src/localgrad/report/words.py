"""What the numbers of a comparison are, in words that the terminal and the page share."""

from localgrad.report.comparison import Comparison


def title_of(comparison: Comparison) -> str:
    """Data, budget and seeds in one line."""
    said = comparison.conditions
    budget = f"{said.get('epochs', '?')} epochs at batch {said.get('batch_size', '?')}"
    return f"{said.get('data', 'data unknown')}, {budget}, {_seeds(comparison)}"


def legend_of(comparison: Comparison) -> list[str]:
    """One line for every column."""
    said = comparison.conditions
    mean = "mean ± sample std" if any(row.top1.std is not None for row in comparison.rows) else "one seed, no spread"
    device = said.get("gpu", said.get("device", "?"))
    threads = "" if "gpu" in said else f", {said.get('threads', '?')} threads"
    return [
        f"top-1: test split, last epoch, {mean} over {_seeds(comparison)}; "
        f"best epoch: chosen on {said.get('best_chosen_on', '?')}, mean",
        f"live: bytes of all tensors alive at the peak of one training step at batch {said.get('batch_size', '?')}, "
        "predicted",
        f"ms/step: median of {said.get('step_repeats', '?')} interleaved steps on {device}{threads}, "
        f"{said.get('precision', '?')}",
        "reach: most units (blocks) that one loss sends a gradient to, by audit",
        "ratios are to the first row",
    ]


def _seeds(comparison: Comparison) -> str:
    seeds = comparison.conditions.get("seeds")
    listed = ", ".join(map(str, seeds)) if isinstance(seeds, list) else "?"
    count = len(seeds) if isinstance(seeds, list) else "?"
    return f"seed {listed}" if count == 1 else f"n={count} seeds ({listed})"
