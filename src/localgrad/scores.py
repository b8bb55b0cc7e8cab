"""By which accuracy runs are compared, and what a finished run reached in it."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Literal

from localgrad.errors import LocalgradError
from localgrad.report.comparison import Score
from localgrad.train.frozen import final_features
from localgrad.train.loop import Result
from localgrad.train.record import read_rows
from localgrad.train.run import Run

Accuracy = Literal["test", "linear", "knn"]
"""What names are compared by: their classifiers, or linear evaluation or kNN of their frozen final features."""


def accuracy_of(runs: Mapping[str, Sequence[Run]]) -> Accuracy | None:
    """What the names are compared by: classifiers' accuracy, else what judges all their frozen features; None without.

    Classifiers of some and features of others would be no comparison.
    """
    some = [own[0] for own in runs.values()]
    if all("y" in run.method.needs for run in some):
        return "test"
    if all(run.linear_every > 0 for run in some):
        return "linear"
    return "knn" if all(run.knn_every > 0 for run in some) else None


def make_score(run: Run, result: Result, accuracy: Accuracy) -> Score:
    """The last epoch of a finished run and its best. Raises LocalgradError where nothing judged it by ``accuracy``."""
    assert result.last is not None
    last, best = result.last, result.best
    if accuracy == "test":
        assert best is not None
        own = tuple((row["epoch"], row["test"]["top1"]) for row in (last, best))
    else:
        judged = [row for row in read_rows(result.folder) if row.get("kind") == "epoch" and accuracy in row]
        if accuracy not in last or not judged:
            raise LocalgradError(
                f"{result.folder} is finished, and was trained without {accuracy}_every, so there is nothing to "
                "compare. Remove it, or compare in another folder."
            )
        found = [(row["epoch"], final_features(row, accuracy) or 0.0) for row in judged]
        own = found[-1], max(found, key=itemgetter(1))
    return Score(
        seed=run.seed,
        folder=result.folder.name,
        epoch=own[0][0],
        top1=own[0][1],
        best_epoch=own[1][0],
        best_top1=own[1][1],
        ensemble=last["test"].get("ensemble", {}) if accuracy == "test" else {},
    )
