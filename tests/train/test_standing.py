"""What a checkpoint's progress says in words."""

from dataclasses import replace

import pytest

from localgrad.recipes import digits
from localgrad.train.checkpoint import Progress
from localgrad.train.runtimes import GreedySpec, QueuedSpec
from localgrad.train.standing import standing

NAMES = ("one", "two", "three")


@pytest.mark.parametrize(
    ("epoch", "batch", "untrained"),
    [(0, 0, NAMES), (0, 1, NAMES[1:]), (1, 0, NAMES[1:]), (2, 0, NAMES[1:]), (2, 1, NAMES[2:]), (5, 0, ()), (6, 0, ())],
)
def test_units_that_no_step_has_trained(epoch: int, batch: int, untrained: tuple[str, ...]) -> None:
    """Greedy, 2 epochs for each of 3 units."""
    run = replace(digits.dgl(epochs=2), runtime=GreedySpec())
    found = standing(run, Progress(epoch=epoch, batch=batch, step=9 * epoch + batch), NAMES)
    assert (found.epochs, found.untrained) == (6, untrained)


def test_lines() -> None:
    run = digits.dgl(epochs=60, seed=3)
    found = standing(run, Progress(epoch=30, step=300), NAMES)
    assert found.lines("probe") == (
        "Checkpoint: after epoch 30 of 60, seed 3, float32.",
        "not finished: after epoch 30 of 60; a later probe will differ.",
    )
    diverged = standing(run, Progress(epoch=30, step=300), NAMES, 31)
    assert diverged.lines("probe")[1] == (
        "not finished: after epoch 30 of 60; the run diverged in epoch 31 and was stopped."
    )
    assert diverged.row()["diverged"] == 31 and "diverged" not in found.row()
    assert standing(run, Progress(epoch=60, step=600, finished=True), NAMES).lines("probe") == (
        "Checkpoint: after epoch 60 of 60, seed 3, float32.",
    )
    queued = standing(replace(run, runtime=QueuedSpec()), Progress(epoch=4, batch=2, step=9), NAMES)
    assert queued.row()["epochs"] is None and queued.position == "after epoch 4 and 2 steps of the next"
