"""``compare(runs)``: train several Runs with several seeds, measure what each costs, write one table.

Follow one name: its seeds are trained in folders of their own, then its first Run is measured beside the others'.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import torch

from localgrad.analysis import Audit, audit
from localgrad.cost import Macs, StepTime, live, macs, memory, step_times
from localgrad.errors import RunError
from localgrad.facts import Plain, differences, plain
from localgrad.report.comparison import COMPARISON_FILE, Comparison, Row
from localgrad.report.terminal import table
from localgrad.scores import Accuracy, accuracy_of, make_score
from localgrad.several import RunsInterrupted, check_saved, place, train_all
from localgrad.spec import Batch, Span
from localgrad.train.loop import Result
from localgrad.train.progress import Reporter, Silent
from localgrad.train.record import conditions, write_atomic
from localgrad.train.run import Run
from localgrad.train.setup import deterministic_kernels, make_loaders, make_loop

__all__ = ["Comparison", "RunsInterrupted", "compare", "table"]

SAME = ("data", "epochs", "batch_size", "val_fraction", "device", "channels_last")
"""Settings that all names must share: else accuracies, or times of interleaved steps, say nothing about each other."""

WARMUP = 3


@final
@dataclass(frozen=True)
class Cost:
    """What one Run was measured to cost and to reach."""

    spans: tuple[Span, ...]
    live_bytes: int
    step: StepTime
    audit: Audit
    macs: Macs


def compare(
    runs: Mapping[str, Sequence[Run]], folder: Path, reporter: Reporter | None = None, *, repeats: int = 20
) -> Comparison:
    """Train every Run in ``folder/<name>-seed<seed>``, measure, and write ``folder/comparison.json``.

    ``runs`` has for every name Runs that differ by their seed only. Finished runs are kept and interrupted ones
    continue. Where a method learns without labels, all are compared by linear evaluation of their frozen features, or
    by kNN, as their Runs ask for (``accuracy_of``). ``repeats`` steps of every name are timed, taking turns; ratios are
    to the first name.

    Raises RunError with all problems found before any work, LocalgradError for a folder that holds a run with other
    settings, RunsInterrupted when a signal stopped a run.
    """
    reporter = reporter or Silent()
    placed = place(runs, folder, "compare")
    check(placed)
    accuracy = accuracy_of(placed)
    assert accuracy is not None  # checked
    results: dict[str, list[Result]] = {}
    for name, result in train_all(placed, folder, reporter):
        results.setdefault(name, []).append(result)
    reporter.line(f"measuring {repeats} interleaved steps, live memory and reach of every method")
    costs = measure({name: own[0] for name, own in placed.items()}, repeats)
    first = next(iter(costs.values()))
    rows = tuple(make_row(name, placed[name], results[name], costs[name], first, accuracy) for name in placed)
    comparison = Comparison(rows, _conditions(placed, repeats, accuracy))
    write_atomic(folder / COMPARISON_FILE, comparison.to_json().encode(), "the comparison")
    return comparison


def check(runs: Mapping[str, Sequence[Run]]) -> None:
    """Raise RunError with everything that is wrong, then LocalgradError for a folder that holds another run."""
    problems = list(_problems(runs))
    if problems:
        raise RunError(problems)
    check_saved(runs)


def _problems(runs: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    if not runs:
        yield "compare: expected at least one name with its Runs, got none."
        return
    empty = [name for name, own in runs.items() if not own]
    if empty:
        yield f"compare: expected at least one Run for every name, got none for {', '.join(empty)}."
        return
    if accuracy_of(runs) is None:
        blind = next(name for name, own in runs.items() if "y" not in own[0].method.needs)
        yield (
            f"{blind}: {type(runs[blind][0].method).__name__} learns without labels, so it has no classifier's "
            "accuracy to compare. Give every Run linear_every or knn_every (--linear-every N, --knn-every N), "
            "which judge frozen features."
        )
    first_name, first = next((name, own) for name, own in runs.items())
    seeds = [run.seed for run in first]
    for name, own in runs.items():
        yield from (f"{name}: {problem}" for problem in own[0].problems())
        if own[0].runtime != "sequential":
            yield f"{name}: compare measures steps of all units on one mini-batch: leave runtime out, or use train."
        for run in own[1:]:
            changed = list(differences(_facts(own[0]), _facts(run)))
            if changed:
                yield f"{name}: Runs of one name must differ by their seed only; they differ in {'; '.join(changed)}."
        if [run.seed for run in own] != seeds:
            yield f"{name}: expected the seeds of {first_name}, {seeds}, got {[run.seed for run in own]}."
        for setting in SAME:
            here, there = (plain(getattr(run, setting)) for run in (own[0], first[0]))
            for line in differences(there, here, setting):
                yield f"{name}: {first_name} has another {line}. Runs that are compared share {', '.join(SAME)}."


def _facts(run: Run) -> Plain:
    return plain(replace(run, seed=0).facts())


def measure(runs: Mapping[str, Run], repeats: int) -> dict[str, Cost]:
    """Live memory, interleaved step times, reach and MACs of untrained networks on the first training batch."""
    some = next(iter(runs.values()))
    device, images = some.torch_device(), some.data.load()
    batch = Batch(x=torch.empty(0))
    for run in runs.values():
        own = make_loaders(run, images, device).train.batch(0, 0)
        # Methods read different fields; x and y are the same for all.
        batch = replace(own, **{name: value for name, value in vars(batch).items() if getattr(own, name) is None})
    loops = {name: make_loop(run, device) for name, run in runs.items()}
    audits = {name: audit(loop.net, batch) for name, loop in loops.items()}
    peaks = {name: peak(run, batch) for name, run in runs.items()}
    image = tuple(batch.x.shape[1:])
    with deterministic_kernels():
        times = step_times(loops, batch, repeats=repeats, warmup=WARMUP)
    return {
        name: Cost(
            spans=tuple(unit.span for unit in loop.net.unit_list()),
            live_bytes=peaks[name],
            step=times[name],
            audit=audits[name],
            macs=macs(loop.net, image),
        )
        for name, loop in loops.items()
    }


def peak(run: Run, batch: Batch) -> int:
    """Live bytes of one training step at their peak: predicted, or counted in a real step under ``accumulate``."""
    if run.accumulate > 1:
        return live(make_loop(run, batch.x.device), batch).peak
    return memory(
        run.network(),
        batch_size=run.batch_size,
        image=tuple(batch.x.shape[1:]),
        precision=run.precision,
        channels_last=run.channels_last,
        optimizer=run.optimizer,
        update=run.update,
    ).peak


def make_row(
    name: str, runs: Sequence[Run], results: Sequence[Result], cost: Cost, first: Cost, accuracy: Accuracy = "test"
) -> Row:
    """One name's row; ratios are to ``first``."""
    scores = [make_score(run, result, accuracy) for run, result in zip(runs, results, strict=True)]
    reached = [[span for span, hit in zip(cost.spans, row, strict=True) if hit] for row in cost.audit.reach]
    return Row(
        name=name,
        scores=tuple(scores),
        spans=tuple((span.start, span.stop) for span in cost.spans),
        precision=runs[0].precision.value,
        live_bytes=cost.live_bytes,
        live_ratio=cost.live_bytes / first.live_bytes,
        step_seconds=cost.step.median,
        step_quartiles=cost.step.quartiles,
        step_ratio=cost.step.ratio(first.step),
        reach_units=max(map(len, reached)),
        reach_blocks=max(sum(map(len, spans)) for spans in reached),
        audit_problems=cost.audit.problems,
        macs_inference=cost.macs.inference,
        macs_max_node=cost.macs.max_node,
        macs_total=cost.macs.total,
    )


def _conditions(runs: Mapping[str, Sequence[Run]], repeats: int, accuracy: Accuracy) -> dict[str, object]:
    first = next(iter(runs.values()))
    some = first[0]
    return {
        **conditions(some.torch_device()),
        "precision": ", ".join(dict.fromkeys(own[0].precision.value for own in runs.values())),
        "data": some.data.name,
        "epochs": some.epochs,
        "batch_size": some.batch_size,
        "seeds": [run.seed for run in first],
        "n": len(first),
        "accuracy": accuracy,
        "best_chosen_on": "validation" if some.val_fraction > 0 and accuracy == "test" else "test",
        "memory": "live bytes of tensors, predicted on fake tensors; counted in a real step where accumulate > 1",
        "step_repeats": repeats,
        "step_warmup": WARMUP,
        "channels_last": some.channels_last,
    }
