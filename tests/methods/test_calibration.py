"""Calibrations: thresholds from quantiles, files, and errors that say both networks or augmentations."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from localgrad import equal_blocks, localize
from localgrad.data import Views
from localgrad.errors import LocalgradError
from localgrad.facts import plain
from localgrad.methods import DGSSL, Calibrated, Calibration, PairSelection, read_calibration
from localgrad.methods.calibration import POINTS

from ..conftest import tiny_resnet

BACKBONE = tiny_resnet()


def evenly(low: float, high: float) -> tuple[float, ...]:
    return tuple(low + (high - low) * point / (POINTS - 1) for point in range(POINTS))


MADE = Calibration(
    positives=evenly(0.0, 1.0),
    negatives=evenly(-0.5, 0.5),
    network=json.dumps(plain(BACKBONE)),
    views=json.dumps(plain(Views())),
    data=json.dumps("cifar10"),
    run="runs/simclr",
    pairs=(10, 20),
)


def test_thresholds_keep_the_shares() -> None:
    assert MADE.alpha(0.95) == pytest.approx(0.05)
    assert MADE.alpha(1.0) == 0.0 and MADE.alpha(0.0) == 1.0
    assert MADE.beta(0.95) == pytest.approx(0.45) and MADE.beta(0.0012) == pytest.approx(-0.4988)
    assert (MADE.beta(0.0), MADE.beta(1.0)) == (-0.5, 0.5)
    assert MADE.share_above(0.2) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("difficulty", "expected"),
    [
        ("increasing", [(1 - 0.9**2, 0.8**2 - 0.5), (1 - 0.9, 0.8 - 0.5), None]),
        ("decreasing", [None, (1 - 0.9, 0.8 - 0.5), (1 - 0.9**2, 0.8**2 - 0.5)]),
    ],
)
def test_thresholds_of_modules(difficulty: str, expected: list[tuple[float, float] | None]) -> None:
    """Of the last module all pairs, also those with a negative cosine: methods.md 12, row 34."""
    selection = PairSelection(Calibrated(MADE), 0.9, 0.8, difficulty)  # type: ignore[arg-type]
    net = localize(BACKBONE, DGSSL(selection=selection), partition=equal_blocks(3))
    found = []
    for unit in net.unit_list():
        loss = unit.spec.objectives[0].loss
        found.append((loss.alpha, loss.beta) if hasattr(loss, "alpha") else None)
    for own, theirs in zip(found, expected, strict=True):
        assert own == (None if theirs is None else pytest.approx(theirs))
    assert not [name for name in net.state_dict() if "thresholds" in name]


def test_a_file_and_back(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(MADE.to_json())
    assert read_calibration(path) == MADE
    assert hash(read_calibration(path)) == hash(MADE)


def test_another_network_is_refused_and_both_are_said() -> None:
    method = DGSSL(selection=PairSelection(Calibrated(MADE)))
    with pytest.raises(LocalgradError) as told:
        localize(tiny_resnet(20), method, partition=equal_blocks(3))
    assert "calibration of another network: runs/simclr was made with cifar_resnet(layers=14" in str(told.value)
    assert "this network is cifar_resnet(layers=20" in str(told.value)


def test_another_augmentation_or_data_set_is_refused_and_both_are_said() -> None:
    method = DGSSL(selection=PairSelection(Calibrated(MADE)))
    assert not list(method.view_problems(plain(Views()), "cifar10"))
    (views, data) = method.view_problems(plain(replace(Views(), blur=0.5)), "svhn")
    assert "calibration of another augmentation: runs/simclr was made with" in views
    assert '"blur": 0.0' in views and '"blur": 0.5' in views and "(blur: 0.0 -> 0.5)" in views
    assert 'calibration of another data set: runs/simclr was made with "cifar10", this run has "svhn"' in data
    assert not list(DGSSL().view_problems(None, "x"))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is damaged: it is no whole JSON document"),
        ("[1]", "is no calibration: expected the format"),
        ('{"format": "localgrad weights 1"}', "is no calibration"),
        ('{"format": "localgrad calibration 1"}', r"is incomplete \(KeyError: 'positives'\)"),
        (MADE.to_json().replace('"cifar10', "cifar10"), "is damaged|is incomplete"),
        (replace(MADE, data="no json").to_json(), "is incomplete"),
    ],
)
def test_bad_files(content: str | None, text: str, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(LocalgradError, match=text):
        read_calibration(path)


@pytest.mark.parametrize("values", [(0.0, 1.0), evenly(1.0, 0.0), evenly(-2.0, 1.0), (*evenly(0, 1)[:-1], torch.nan)])
def test_numbers_that_are_no_quantiles(values: tuple[float, ...]) -> None:
    with pytest.raises(LocalgradError, match=f"calibration: positives must be {POINTS} rising cosines"):
        replace(MADE, positives=values)
