"""Several Runs in folders below one: what is skipped, and what diverges (the rest is tested with compare)."""

from dataclasses import replace
from pathlib import Path

import pytest

from localgrad.errors import DivergedError
from localgrad.recipes import digits
from localgrad.several import check_saved, place, train_all
from localgrad.train import SGD, Constant, Run
from localgrad.train.progress import Silent


def runs() -> dict[str, list[Run]]:
    good = replace(digits.backprop(layers=8, epochs=1), batch_size=512)
    bad = replace(good, optimizer=SGD(lr=1e30), schedule=Constant(), epochs=2)
    return {"bad": [bad], "left out": [replace(good, seed=5)], "good": [good]}


def test_what_diverges_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    placed, told = place(runs(), tmp_path, "test"), list[tuple[str, str]]()
    found = list(
        train_all(
            placed,
            tmp_path,
            Silent(),
            lambda name, run: name != "left out",
            lambda name, error: told.append((name, str(error))),
        )
    )
    assert [name for name, _ in found] == ["good"] and found[0][1].finished
    assert told[0][0] == "bad" and "is not a finite number" in told[0][1] and len(told) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad-seed0", "good-seed0"]
    check_saved(placed)


def test_without_anybody_to_tell_it_ends(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="is not a finite number"):
        list(train_all(place(runs(), tmp_path, "test"), tmp_path, Silent()))
