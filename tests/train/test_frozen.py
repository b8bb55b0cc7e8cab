"""kNN and linear evaluation during training: what the rows say, and that the training does not notice."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from localgrad import RunError, methods
from localgrad.analysis.features import block_features, unit_features
from localgrad.analysis.knn import knn_top1
from localgrad.analysis.probe import fit_probes
from localgrad.data import Views
from localgrad.methods import DGSSL, PairSelection, Running
from localgrad.train import Adam, GreedySpec, QueuedSpec, Run, train
from localgrad.train.frozen import due, frozen_words
from localgrad.train.newest import load_trained
from localgrad.train.record import read_run
from localgrad.train.setup import evaluation_loader, load_images
from tests.distributed.runs import tiny
from tests.train.conftest import Lines, Stopping, assert_same_run, header, rows, tensors

CHEAP = Views(scale=(0.5, 1), flip=0, jitter=0, grayscale=0)
LOOKING: dict[str, Any] = {"knn_every": 1, "linear_every": 2}


def made(out: Path, modules: int = 2, **changes: Any) -> Run:
    """Three epochs of six steps on 48 random images, with a state outside of the weights."""
    method = DGSSL(hidden=16, out=8, selection=PairSelection(Running(), 0.8, 0.8, similarity="teacher"))
    return replace(tiny(method, modules), views=CHEAP, optimizer=Adam(1e-3), epochs=3, out=out, **changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Lines]:
    """A run that looks at its features."""
    folder, lines = tmp_path_factory.mktemp("frozen") / "run", Lines()
    train(made(folder, **LOOKING), reporter=lines)
    return folder, lines


def test_rows_and_lines(whole: tuple[Path, Lines]) -> None:
    folder, told = whole
    *epochs, end = rows(folder)
    assert [("knn" in row, "linear" in row) for row in epochs] == [(True, False), (True, True), (True, True)]
    for row in epochs:
        assert row["knn"].keys() == {"0", "1"} and all(0 <= value <= 100 for value in row["knn"].values())
    assert end["last"] == {"epoch": 3, "knn": epochs[2]["knn"], "linear": epochs[2]["linear"]}
    assert f"  kNN {epochs[0]['knn']['1']:.2f} %  lr 0.01" in told.lines[0] and "linear" not in told.lines[0]
    both = f"linear {epochs[2]['linear']['1']:.2f} %, kNN {epochs[2]['knn']['1']:.2f} %"
    assert told.lines[-1] == f"finished: {both} of the frozen features (last epoch), in {folder}"
    assert read_run(folder)["conditions"]["frozen"] == {
        "samples": 48,
        "features": "mean over positions of every unit's output, BatchNorm frozen",
        "knn": {"every": 1, "neighbours": 48, "temperature": 0.07},
        "linear": {"every": 2, "classifier": "multinomial logistic regression", "c": 1.0},
    }


def test_figures_are_those_of_the_trained_features(whole: tuple[Path, Lines]) -> None:
    run = made(whole[0], **LOOKING)
    net, images = load_trained(run, whole[0]), load_images(run)
    loaders = [evaluation_loader(run, images, part, torch.device("cpu")) for part in ("train", "test")]  # type: ignore[arg-type]
    blocks, units = ([features(net, loader) for loader in loaders] for features in (block_features, unit_features))
    names = [net.backbone.block_names[unit.span.stop - 1] for unit in net.unit_list()]
    for split, own in zip(blocks, units, strict=True):
        assert all(torch.equal(split.blocks[name], own.blocks[str(place)]) for place, name in enumerate(names))
    last = rows(whole[0])[2]
    assert last["knn"] == knn_top1(*units, classes=4, neighbours=48)
    # All together are each by itself, to the tolerance of the fit.
    assert last["linear"] == pytest.approx(fit_probes(units[0], classes=4).top1(units[1]), abs=100 / 22 + 0.01)


def test_training_does_not_notice(whole: tuple[Path, Lines], tmp_path: Path) -> None:
    """Weights, optimisers, BatchNorm statistics, the teacher, random state: bit for bit those without."""
    train(made(tmp_path / "blind"))
    looked, blind = tensors(whole[0]), tensors(tmp_path / "blind")
    assert looked.keys() == blind.keys()
    assert [name for name in looked if not torch.equal(looked[name], blind[name])] == []
    kept = [{k: v for k, v in row.items() if k in ("train", "figures")} for row in rows(whole[0])]
    assert kept == [{k: v for k, v in row.items() if k in ("train", "figures")} for row in rows(tmp_path / "blind")]
    assert "frozen" not in read_run(tmp_path / "blind")["conditions"]
    assert "knn_every" not in made(tmp_path).facts() and made(tmp_path, **LOOKING).facts()["linear_every"] == 2


def test_a_stopped_run_continues_with_equal_rows(whole: tuple[Path, Lines], tmp_path: Path) -> None:
    run = made(tmp_path / "stopped", **LOOKING)
    assert train(run, reporter=Stopping(12)).interrupted == "SIGTERM"  # the last step of the second epoch
    assert header(tmp_path / "stopped")["progress"]["batch"] == 6 and len(rows(tmp_path / "stopped")) == 1
    assert train(run, resume=True).finished
    assert_same_run(whole[0], tmp_path / "stopped")


def test_a_run_may_look_more_often_when_it_continues(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    assert train(run, reporter=Stopping(7)).interrupted == "SIGTERM"
    train(replace(run, knn_every=5), resume=True)
    assert ["knn" in row for row in rows(tmp_path / "run")] == [False, False, True, False]


@pytest.mark.parametrize(
    ("method", "units"),
    [(methods.DGL(), 2), (methods.GNDGL(groups=2), 5), (methods.MLAAN(2, leaps=False), 2), (methods.Backprop(), 1)],
)
def test_runs_with_labels(method: Any, units: int, tmp_path: Path) -> None:
    run = tiny(method, 1 if units == 1 else 2, val_fraction=0.25, epochs=1, out=tmp_path / "run", **LOOKING)
    lines = Lines()
    train(run, reporter=lines)
    row, _ = rows(tmp_path / "run")
    assert row["knn"].keys() == row["linear"].keys() == set(map(str, range(units))) and "test" in row
    assert all(f"  {word} " in lines.lines[0] for word in ("test", "linear", "kNN"))
    assert read_run(tmp_path / "run")["conditions"]["frozen"]["samples"] == 36  # what is held out is not trained on


def test_greedy_units_have_epochs_of_their_own(tmp_path: Path) -> None:
    train(made(tmp_path / "run", runtime=GreedySpec(), **LOOKING))
    *epochs, _ = rows(tmp_path / "run")
    assert [list(row["knn"]) for row in epochs] == [["0"]] * 3 + [["0", "1"]] * 3
    assert ["linear" in row for row in epochs] == [False, True, True] * 2


def test_queued_units_are_judged_after_the_last_row(tmp_path: Path) -> None:
    queued = QueuedSpec(buffer=2, slowdown=((1, 2.0),))
    train(made(tmp_path / "run", runtime=queued, knn_every=100))
    *epochs, end = rows(tmp_path / "run")
    assert ["knn" in row for row in epochs] == [False] * (len(epochs) - 1) + [True] and "knn" in end["last"]


def test_bad_runs(tmp_path: Path) -> None:
    with pytest.raises(RunError) as told:
        train(made(tmp_path / "run", knn_every=-1, linear_every=-2))
    assert told.value.problems == (
        "knn_every must be a number of epochs, or 0 for never, got -1.",
        "linear_every must be a number of epochs, or 0 for never, got -2.",
    )
    assert list(made(tmp_path, knn_every=1.5).problems()) == ["knn_every must be a whole number, got 1.5."]


def test_when_and_words() -> None:
    assert [due(2, epoch, last=epoch == 4) for epoch in range(5)] == [False, True, False, True, True]
    assert not due(0, 4, last=True)
    row = {"knn": {"9": 1.0, "10": 2.0}, "linear": {"0": 3.456}}
    assert frozen_words(row) == "  linear 3.46 %  kNN 2.00 %" and frozen_words({}) == ""
