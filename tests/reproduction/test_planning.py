"""The arithmetic of the estimate."""

from itertools import product

from localgrad.reproduction.planning import (
    CIFAR,
    DIGITS,
    LEAST_EPOCHS,
    MOST_EPOCHS,
    SHARE,
    Candidate,
    Pace,
    Walk,
    choose,
    fitting_epochs,
    table_seconds,
)

LIMIT = 15 * 60.0


def walk(step: float, samples: int = 1437, walks: int = 1, seeds: int = 1, drop_last: bool = False) -> Walk:
    return Walk(Pace(step, step / 2), samples, 64, drop_last, walks, seeds)


def test_steps_of_an_epoch() -> None:
    assert (
        walk(1).steps == 23 and walk(1, drop_last=True).steps == 22 and walk(1, samples=10, drop_last=True).steps == 1
    )


def test_seconds_grow_with_everything() -> None:
    one = walk(0.1).seconds(4)
    assert one == 0.5 + 4 * (23 * 0.1 + 0.05 + 0.1)
    assert walk(0.1, seeds=3).seconds(4) == 3 * one
    assert walk(0.1, walks=4).seconds(4) > 3.5 * one


def test_what_is_chosen_fits() -> None:
    for count, step, seeds, candidates in product((1, 5, 22, 67), (0.01, 0.1, 0.5), (1, 3), (DIGITS, CIFAR)):
        walks = {str(index): walk(step * (1 + index % 3), seeds=seeds) for index in range(count)}
        chosen, epochs = choose(walks, candidates[0], candidates, SHARE * LIMIT)
        at = {name: one.at(chosen, candidates[0]) for name, one in walks.items()}
        assert 0 <= epochs <= MOST_EPOCHS
        if epochs:
            assert table_seconds(at, epochs) <= SHARE * LIMIT
            assert epochs == MOST_EPOCHS or table_seconds(at, epochs + 1) > SHARE * LIMIT
        assert epochs >= LEAST_EPOCHS or chosen == candidates[-1]


def test_smaller_networks_and_fewer_images_come_one_after_the_other() -> None:
    found = [choose({"a": walk(step)}, DIGITS[0], DIGITS, 100.0)[0] for step in (0.1, 2.0, 2.6, 10.0)]
    assert found == [DIGITS[0], DIGITS[1], DIGITS[2], DIGITS[3]]


def test_nothing_fits() -> None:
    assert fitting_epochs({"a": walk(10)}, 60.0) == 0
    assert fitting_epochs({}, 60.0) == MOST_EPOCHS


def test_another_candidate_keeps_what_comes_after_a_run() -> None:
    moved = Walk(Pace(1.0, 1.0, 7.0), 1437, 64, False, 1, 1).at(Candidate(2, 500), DIGITS[0])
    assert moved.samples == 500 and moved.pace.step < 0.5 and moved.pace.after == 7.0
