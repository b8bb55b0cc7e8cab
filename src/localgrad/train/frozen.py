"""What the frozen features of every unit say while a run trains: nearest neighbours and linear evaluation.

One pass over the training images, not augmented, and one over the test images give the features of all units; kNN and
the linear classifiers of all units read these. Nothing of the training changes: no weight, no BatchNorm statistic, no
random state. All features of both splits are held at once: (N + M) * (sum of the units' channels) * 4 bytes.
"""

from collections.abc import Callable
from typing import Any

from localgrad.analysis.features import BlockFeatures
from localgrad.analysis.knn import TEMPERATURE, knn_top1, neighbours_of
from localgrad.analysis.probe import fit_probes
from localgrad.train.run import Run

KNN, LINEAR, GRADIENT = FROZEN = ("knn", "linear", "linear_gradient")
"""Keys of an epoch's row."""
C = 1.0
"""Inverse weight of the penalty of the linear classifiers, that of ``localgrad probe``."""


def asked(run: Run) -> bool:
    """Whether a run ever looks at frozen features."""
    return run.knn_every > 0 or run.linear_every > 0


def due(every: int, epoch: int, *, last: bool) -> bool:
    """Whether something done every so many epochs (0: never) is done after ``epoch``, from 0; always after the last."""
    return every > 0 and (last or (epoch + 1) % every == 0)


def looks(run: Run, epoch: int) -> bool:
    """Whether frozen features are looked at after an epoch of a run that trains all units together."""
    return any(due(every, epoch, last=epoch + 1 >= run.epochs) for every in (run.knn_every, run.linear_every))


def frozen_conditions(run: Run, samples: int) -> dict[str, object]:
    """What the figures depend on, for ``run.json``; ``samples`` are the training images. Empty where none is asked."""
    if not asked(run):
        return {}
    common = {"samples": samples, "features": "mean over positions of every unit's output, BatchNorm frozen"}
    knn = {"every": run.knn_every, "neighbours": neighbours_of(samples), "temperature": TEMPERATURE}
    linear = {"every": run.linear_every, "classifier": "multinomial logistic regression", "c": C}
    own = {KNN: knn} if run.knn_every else {}
    return {"frozen": {**common, **own, **({LINEAR: linear} if run.linear_every else {})}}


def frozen_row(
    train: BlockFeatures,
    test: BlockFeatures,
    *,
    classes: int,
    knn: bool,
    linear: bool,
    before_pass: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The part of an epoch's row: top-1 in percent of the test split by unit, ``knn`` and ``linear`` where asked.

    ``linear_gradient`` has the units whose classifier has not converged: the largest entry of its gradient. Every unit
    is judged by itself, so that it does not matter which process holds which.
    ``before_pass`` is called in between; what it raises ends it. Raises LocalgradError for features not finite.
    """
    row: dict[str, Any] = {}
    if knn:
        before_pass()
        row[KNN] = knn_top1(train, test, classes=classes, neighbours=neighbours_of(len(train.labels_N)))
    if linear:
        row[LINEAR], gradients = {}, {}
        for unit, features_ND in train.blocks.items():
            alone = BlockFeatures({unit: features_ND}, train.labels_N)
            probes = fit_probes(alone, classes=classes, c=C, before_pass=before_pass)
            row[LINEAR][unit] = probes.top1(BlockFeatures({unit: test.blocks[unit]}, test.labels_N))[unit]
            if not probes.converged:
                gradients[unit] = probes.gradient
        row |= {GRADIENT: gradients} if gradients else {}
    return row


def final_features(row: dict[str, Any], figure: str) -> float | None:
    """The network's own figure of a row: that of the last unit; None without one."""
    by_unit = row.get(figure)
    return by_unit[max(by_unit, key=int)] if by_unit else None


def frozen_words(row: dict[str, Any]) -> str:
    """The figures of the final features for a person, each with two spaces before; empty without any."""
    named = (("linear", LINEAR), ("kNN", KNN))
    found = ((word, final_features(row, figure)) for word, figure in named)
    return "".join(f"  {word} {value:.2f} %" for word, value in found if value is not None)
