"""Comparison: the rows of ``comparison.json``, as ``compare`` writes them and the report and the terminal show them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev
from typing import Any, final

COMPARISON_FILE = "comparison.json"
FORMAT = "localgrad comparison 1"


@final
@dataclass(frozen=True)
class Score:
    """One seed's run: top-1 in percent on the test split, after the last epoch and after the best one.

    ``ensemble`` is the top-1 of ensembles of the units' heads after the last epoch, by mode, where there are any.
    """

    seed: int
    folder: str
    epoch: int
    top1: float
    best_epoch: int
    best_top1: float
    ensemble: Mapping[str, float] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Row:
    """What one name costs and reaches. Ratios are to the first row.

    ``spans`` are the blocks [start, stop) of every unit. ``live_bytes`` is the peak of one training step, predicted;
    ``step_seconds`` a median with its quartiles, ``step_ratio`` the median ratio of neighbouring steps. ``reach_units``
    and ``reach_blocks``: the most that the loss of one unit has a gradient for. MACs are forward, per sample.
    """

    name: str
    scores: tuple[Score, ...]
    spans: tuple[tuple[int, int], ...]
    precision: str
    live_bytes: int
    live_ratio: float
    step_seconds: float
    step_quartiles: tuple[float, float]
    step_ratio: float
    reach_units: int
    reach_blocks: int
    audit_problems: tuple[str, ...]
    macs_inference: int
    macs_max_node: int
    macs_total: int

    @property
    def top1(self) -> "Spread":
        """Over the seeds, last epoch."""
        return spread([score.top1 for score in self.scores])

    @property
    def best_top1(self) -> "Spread":
        """Over the seeds, best epoch."""
        return spread([score.best_top1 for score in self.scores])

    @property
    def ensembles(self) -> dict[str, "Spread"]:
        """Over the seeds, last epoch, by mode."""
        modes = self.scores[0].ensemble
        return {
            mode: spread([score.ensemble[mode] for score in self.scores if mode in score.ensemble]) for mode in modes
        }

    @property
    def blocks(self) -> int:
        """Blocks of the network."""
        return max(stop for _, stop in self.spans)


@final
@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1); one value has no deviation."""

    mean: float
    std: float | None

    def __str__(self) -> str:
        """``97.64 ± 0.20``, or the mean alone."""
        return f"{self.mean:.2f}" + ("" if self.std is None else f" ± {self.std:.2f}")

    def plain(self) -> dict[str, float]:
        """As JSON data; without a key for what there is not."""
        return {"mean": self.mean} | ({} if self.std is None else {"std": self.std})


@final
@dataclass(frozen=True)
class Comparison:
    """Rows in the order given, and what their numbers depend on."""

    rows: tuple[Row, ...]
    conditions: Mapping[str, Any]

    def to_json(self) -> str:
        """The content of ``comparison.json``."""
        rows = [
            asdict(row) | {"n": len(row.scores), "top1": row.top1.plain(), "best_top1": row.best_top1.plain()}
            for row in self.rows
        ]
        return json.dumps({"format": FORMAT, "rows": rows, "conditions": self.conditions}, indent=1)


def spread(values: list[float]) -> Spread:
    """Mean and sample standard deviation of at least one value."""
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None)


def row_from_json(data: Mapping[str, Any]) -> Row:
    """A row as ``to_json`` wrote it. Raises KeyError, TypeError or ValueError for anything else."""
    scores = tuple(
        Score(
            seed=int(score["seed"]),
            folder=str(score["folder"]),
            epoch=int(score["epoch"]),
            top1=float(score["top1"]),
            best_epoch=int(score["best_epoch"]),
            best_top1=float(score["best_top1"]),
            ensemble={str(mode): float(value) for mode, value in score.get("ensemble", {}).items()},
        )
        for score in data["scores"]
    )
    low, high = data["step_quartiles"]
    spans = tuple((int(start), int(stop)) for start, stop in data["spans"])
    if not scores or not spans:
        raise ValueError("no scores or no spans")
    return Row(
        name=str(data["name"]),
        scores=scores,
        spans=spans,
        precision=str(data["precision"]),
        live_bytes=int(data["live_bytes"]),
        live_ratio=float(data["live_ratio"]),
        step_seconds=float(data["step_seconds"]),
        step_quartiles=(float(low), float(high)),
        step_ratio=float(data["step_ratio"]),
        reach_units=int(data["reach_units"]),
        reach_blocks=int(data["reach_blocks"]),
        audit_problems=tuple(str(problem) for problem in data["audit_problems"]),
        macs_inference=int(data["macs_inference"]),
        macs_max_node=int(data["macs_max_node"]),
        macs_total=int(data["macs_total"]),
    )
