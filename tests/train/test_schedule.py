"""Learning rates against the ready-made vectors of the papers' codes (methods.md 0 and 14)."""

from math import cos, pi

import pytest

from localgrad.train import Constant, Cosine, MultiStep


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


def test_constant() -> None:
    assert {Constant().lr(0.3, epoch, 9) for epoch in range(9)} == {0.3}
