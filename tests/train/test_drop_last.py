"""Runs that leave out the short last batch of every epoch."""

from dataclasses import replace
from pathlib import Path

from localgrad.recipes import digits
from localgrad.train import QueuedSpec, train
from localgrad.train.setup import load_images, make_loaders
from tests.data.conftest import Publish
from tests.train.conftest import header, rows
from tests.train.test_streaming import tiny


def test_steps_and_samples_of_an_epoch(tmp_path: Path) -> None:
    """1437 images: 5 batches of 256 and 157 more."""
    whole = replace(digits.dgl(layers=8, epochs=2), out=tmp_path / "whole")
    short = replace(whole, drop_last=True, out=tmp_path / "short")
    for run, steps in ((whole, 6), (short, 5)):
        train(run)
        assert [row["step"] for row in rows(run.out)[:2]] == [steps, 2 * steps]
    assert (whole.facts()["drop_last"], short.facts()["drop_last"]) == (False, True)
    loaders = make_loaders(short, load_images(short), short.torch_device())
    assert {len(batch.x) for batch in loaders.train.epoch(0)} == {256}
    # Evaluation reads all.
    assert sum(len(batch.x) for batch in loaders.test.epoch(0)) == 360


def test_own_epochs_of_units_are_shorter_too(tmp_path: Path) -> None:
    train(replace(digits.dgl(layers=8, epochs=2), runtime=QueuedSpec(buffer=2), drop_last=True, out=tmp_path))
    assert list(rows(tmp_path)[-2]["updates"].values()) == [2 * 5] * 4


def test_a_single_image_at_the_end_does_not_matter(tmp_path: Path) -> None:
    """1437 = 4 * 359 + 1."""
    run = replace(digits.dgl(layers=8, epochs=1), batch_size=359, drop_last=True, out=tmp_path)
    train(run)
    assert header(tmp_path)["progress"]["step"] == 4


def test_streams(tmp_path: Path) -> None:
    """22 images."""
    Publish().image_folder(tmp_path / "images", per_class=11, size=(14, 12), extension="jpg", test="val")
    run = tiny(tmp_path / "images", tmp_path, drop_last=True)
    loaders = make_loaders(run, load_images(run), run.torch_device())
    assert [len(batch.x) for batch in loaders.train.epoch(0)] == [4] * 5
    assert list(replace(run, drop_last=1).problems()) == ["drop_last must be True or False, got 1."]  # type: ignore[arg-type]
