"""Learning rates against the ready-made vectors of the papers' codes (methods.md 0 and 14)."""

from math import cos, pi

import pytest

from localgrad import LocalgradError
from localgrad.train import Constant, Cosine, MultiStep
from localgrad.train.schedule import falls


@pytest.mark.parametrize(
    ("e", "expected"),
    [
        (1, 0.01),
        (5, 0.5 * 0.8 * (1 + cos(5 * pi / 160)) * 0.4 + 0.006),
        (10, 0.5 * 0.8 * (1 + cos(10 * pi / 160)) * 0.9 + 0.001),
        (11, 0.5 * 0.8 * (1 + cos(11 * pi / 160))),
        (160, 0.0),
    ],
)
def test_cosine_with_ramp_of_160_epochs(e: int, expected: float) -> None:
    assert Cosine().lr(0.8, e - 1, 160) == pytest.approx(expected, abs=1e-12)


def test_the_vectors_as_printed() -> None:
    assert [round(Cosine().lr(0.8, e - 1, 160), 4) for e in (1, 5, 11)] == [0.01, 0.3252, 0.7907]


def test_the_ramp_changes_no_later_epoch() -> None:
    plain = Cosine(warmup_epochs=0)
    assert [Cosine().lr(0.8, e, 40) for e in range(10, 40)] == [plain.lr(0.8, e, 40) for e in range(10, 40)]
    assert Cosine().lr(0.8, 9, 40) != plain.lr(0.8, 9, 40)


def test_imagenet_form_counts_from_zero() -> None:
    schedule = Cosine(warmup_epochs=0, from_zero=True)
    assert schedule.lr(0.1, 0, 90) == 0.1
    assert schedule.lr(0.1, 45, 90) == pytest.approx(0.05)
    assert schedule.lr(0.1, 89, 90) == pytest.approx(0.05 * (1 + cos(89 * pi / 90)))


def test_multi_step_multiplies_at_every_milestone() -> None:
    schedule = MultiStep((3, 5), 0.1)
    assert [schedule.lr(1.0, epoch, 7) for epoch in range(7)] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize(
    ("epochs", "milestones"), [(400, (200, 300, 350, 375)), (200, (100, 150, 175, 188)), (100, (50, 75, 89, 94))]
)
def test_predsims_steps(epochs: int, milestones: tuple[int, ...]) -> None:
    """methods.md 4: Adam's rate is quartered at these epochs; its code compares (epoch - 1), so epochs count from 0."""
    schedule = MultiStep(milestones, 0.25)
    expected = [5e-4 * 0.25 ** sum(epoch >= milestone for milestone in milestones) for epoch in range(epochs)]
    assert [schedule.lr(5e-4, epoch, epochs) for epoch in range(epochs)] == pytest.approx(expected, rel=1e-12)
    assert schedule.lr(5e-4, milestones[0] - 1, epochs) == 5e-4
    assert schedule.lr(5e-4, milestones[0], epochs) == 1.25e-4


def test_milestones_as_shares_of_the_epochs() -> None:
    """The same four shares give the paper's milestones of 400 and 200 epochs; its 89 of 100 is no such share."""
    schedule = MultiStep((0.5, 0.75, 0.875, 0.9375), 0.25)
    assert schedule.epochs(400) == (200, 300, 350, 375)
    assert schedule.epochs(200) == (100, 150, 175, 188)
    assert schedule.epochs(100) == (50, 75, 88, 94)
    assert [schedule.lr(1.0, epoch, 8) for epoch in range(8)] == [1, 1, 1, 1, 0.25, 0.25, 0.0625, 0.25**3]


def test_a_factor_per_milestone() -> None:
    """GN-DGL layer-wise (methods.md 6): 1e-3, 5e-4 from epoch 50, 1e-4 from epoch 100 of 150."""
    schedule = MultiStep((50, 100), (0.5, 0.2))
    rates = {epoch: schedule.lr(1e-3, epoch, 150) for epoch in (0, 49, 50, 99, 100, 149)}
    assert rates == pytest.approx({0: 1e-3, 49: 1e-3, 50: 5e-4, 99: 5e-4, 100: 1e-4, 149: 1e-4}, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (((5, 3),), r"milestones must grow, got \(5, 3\)"),
        (((3, 3),), r"milestones must grow"),
        (((0.5, 20),), "whole epochs, or all of them shares of the epochs between 0 and 1, got"),
        (((1.5, 2),), "whole epochs, or all of them shares"),
        (((-1, 2),), "must be numbers and not negative"),
        (((1, 2), float("nan")), "must be numbers and not negative"),
        ((("1", 2),), "must be numbers and not negative"),
        (((1, 2), (0.1,)), "one factor or one per milestone, got 1 for 2 milestones"),
    ],
)
def test_steps_that_cannot_be(arguments: tuple, text: str) -> None:
    with pytest.raises(LocalgradError, match=f"MultiStep: .*{text}"):
        MultiStep(*arguments)


def test_where_a_rate_falls() -> None:
    assert [epoch for epoch in range(7) if falls(MultiStep((3, 5), 0.1), 1.0, epoch, 7)] == [3, 5]
    assert not any(falls(Constant(), 0.3, epoch, 9) for epoch in range(9))
    # The ramp's rates grow.
    assert [epoch for epoch in range(12) if falls(Cosine(), 0.8, epoch, 160)] == [11]


def test_constant() -> None:
    assert {Constant().lr(0.3, epoch, 9) for epoch in range(9)} == {0.3}
