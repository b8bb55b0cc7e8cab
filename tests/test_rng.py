"""Seeds from names: the same numbers on every machine and in every version."""

import numpy as np
import pytest
import torch

from localgrad.rng import derive_seed, seeded


@pytest.mark.parametrize(
    ("key", "seed"),
    [
        ((0, "model", "stem"), 3242689415637082780),
        ((1, "step", "layer1.0", 3, 0), 643073154897897281),
        ((), 6510301506637419378),
    ],
)
def test_seeds_are_frozen(key: tuple[int | str, ...], seed: int) -> None:
    """Changing these changes every initial weight and every resumed run."""
    assert derive_seed(*key) == seed


def test_seeds_differ_by_every_part_and_type() -> None:
    keys = [(0, "a"), (1, "a"), (0, "b"), ("0", "a"), (0, "a", 0), ("a", 0), (0,), (-1, "a")]
    seeds = {derive_seed(*key) for key in keys}
    assert len(seeds) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeded_draws_the_same_and_restores() -> None:
    before = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with seeded(5):
            draws.append(torch.rand(3))
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(1)
        before = torch.get_rng_state()
    assert torch.equal(*draws)


def test_seeded_restores_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(KeyError), seeded(5):
        torch.rand(3)
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)


def test_seeded_nests() -> None:
    with seeded(5):
        expected = torch.rand(2)
    with seeded(5):
        first = torch.rand(1)
        with seeded(6):
            torch.rand(7)
        assert torch.equal(torch.cat([first, torch.rand(1)]), expected)


def test_integers_of_any_type_are_the_same_key() -> None:
    assert derive_seed(np.int64(3), "a") == derive_seed(3, "a") != derive_seed("3", "a")
