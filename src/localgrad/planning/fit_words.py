"""What fits one device, in words."""

from collections.abc import Iterator

from localgrad.planning.balance import in_bytes
from localgrad.planning.fit import DeepMethod, Fit, Tried
from localgrad.planning.words import in_time


def told_fit(found: Fit, macs: float, seconds: tuple[float, float] | None = None) -> str:
    """Every choice that was tried, and the one that was taken.

    ``macs`` are those of a step of it, as a ratio to backpropagation; ``seconds`` those of a step of it and of
    backpropagation, where they were measured.
    """
    return "\n".join([*_table(found), "", *_chosen(found, macs, seconds)])


def _table(found: Fit) -> Iterator[str]:
    whole = next((one.peak for one in found.whole if not one.choice.recompute), None)
    yield f"{'modules':>7} {'depth':>5} {'recompute':>9} {'units':>5} {'live memory':>12} {'of backprop':>11}"
    for one in sorted(found.tried, key=lambda tried: (tried.choice.modules, tried.choice.recompute)):
        depth = str(one.choice.method.depth) if isinstance(one.choice.method, DeepMethod) else "-"
        again = "yes" if one.choice.recompute else "no"
        head = f"{one.choice.modules:>7} {depth:>5} {again:>9}"
        if one.peak is None:
            yield f"{head}     - cannot be: {one.refused.partition('. ')[0]}"
            continue
        share = "-" if whole is None else f"{one.peak / whole:.3f}"
        said = "" if one.peak <= found.limit else "  too large"
        yield f"{head} {one.units:>5} {in_bytes(one.peak, up=True):>12} {share:>11}{said}"


def _chosen(found: Fit, macs: float, seconds: tuple[float, float] | None) -> Iterator[str]:
    chosen = found.chosen
    assert chosen.peak is not None
    plain = _without(found)
    again = "recomputation is not needed" if not chosen.choice.recompute else "with recomputation"
    if plain is not None and plain.peak is not None:
        again += f" (without it {in_bytes(plain.peak, up=True)})"
    yield (
        f"fits {in_bytes(found.limit)}: {chosen.choice}, cut {chosen.origin}; "
        f"{in_bytes(chosen.peak, up=True)} of live memory; {again}"
    )
    yield f"MACs of a step: {macs:.2f} of backpropagation's"
    if seconds is None:
        yield "time of a step: not measured; --measure times it here"
    else:
        own, whole = seconds
        yield f"time of a step: {in_time(own)}, {own / whole:.2f} of backpropagation's {in_time(whole)} (one thread)"


def _without(found: Fit) -> Tried | None:
    """The chosen cut as it is, where recomputation was chosen."""
    if not found.chosen.choice.recompute:
        return None
    own = found.chosen.choice
    same = (one for one in found.tried if (one.choice.modules, one.choice.method) == (own.modules, own.method))
    return next((one for one in same if not one.choice.recompute), None)
