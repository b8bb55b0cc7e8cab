"""Runs without labels: losses and figures, no accuracy; resumed bit for bit; pairs judged by another run."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from localgrad import LocalgradError, RunError, methods
from localgrad.analysis.pair_quantiles import view_features
from localgrad.backbones import cifar_resnet
from localgrad.compare import compare
from localgrad.data import Views
from localgrad.facts import plain
from localgrad.losses import cosines
from localgrad.methods import DGSSL, Calibrated, Calibration, Given, PairSelection, Running
from localgrad.methods.calibration import POINTS
from localgrad.report.read import read_run as read_for_report
from localgrad.train import Adam, DistributedSpec, GreedySpec, QueuedSpec, Run, evaluate, train
from localgrad.train.newest import load_trained
from localgrad.train.setup import load_images, make_loaders
from tests.distributed.runs import tiny
from tests.train.conftest import Lines, Stopping, assert_same_run, header, rows, tensors

EASY = PairSelection(Running(), 0.8, 0.8, similarity="teacher")
CHEAP = Views(scale=(0.5, 1), flip=0, jitter=0, grayscale=0)


def made(out: Path | None = None, selection: PairSelection | None = None, modules: int = 2, **changes: Any) -> Run:
    """Two epochs of six steps on 48 random images."""
    method = DGSSL(hidden=16, out=8, selection=selection)
    return replace(tiny(method, modules), views=CHEAP, optimizer=Adam(1e-3), out=out, **changes)


@pytest.fixture(scope="module")
def simclr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one module."""
    folder = tmp_path_factory.mktemp("simclr") / "run"
    train(made(folder, modules=1))
    return folder


def test_records_without_accuracy(tmp_path: Path) -> None:
    result = train(made(tmp_path / "run", EASY, modules=3))
    first, last, end = rows(tmp_path / "run")
    assert result.finished and result.last == {"epoch": 2} and result.best is None
    for row in (first, last):
        assert row.keys() == {"kind", "epoch", "step", "lr", "train", "figures"}
        assert row["train"].keys() == {"0", "1", "2"}
        assert all(terms.keys() == {"nt_xent"} for terms in row["train"].values())
        assert row["figures"].keys() == {"0", "1"}
        assert row["figures"]["0"].keys() == {"kept_positives", "kept_negatives", "empty"}
    assert end == {"kind": "end", "epochs": 2, "last": {"epoch": 2}, "best": None}
    record = read_for_report(tmp_path / "run")
    assert not record.problems and record.best is None and record.finished
    assert [(epoch.top1, epoch.loss) for epoch in record.epochs] == [
        (None, row["train"]["2"]["nt_xent"]) for row in (first, last)
    ]


def test_an_empty_selection_is_counted_and_said(tmp_path: Path) -> None:
    """Unit 0 finds no pair alike enough in any step, the others in all: there is no NaN."""
    given = PairSelection(Given((2.0, -2.0, -2.0), (2.0, 2.0, 2.0)))
    told = Lines()
    run = made(tmp_path / "run", given, modules=3)
    assert train(run, reporter=told).finished
    first, last, end = rows(tmp_path / "run")
    for row in (first, last):
        assert row["train"]["0"] == {"nt_xent": 0.0} and row["train"]["1"]["nt_xent"] > 1
        assert [figures["empty"] for figures in row["figures"].values()] == [1.0, 0.0, 0.0]
    assert end["empty"] == {"0": {"images": 96, "of": 96}}
    assert told.lines[-2] == (
        "unit 0 (layer1.1): no pair was selected in 100.0 % of its training (96 of 96 images), where its loss is 0. "
        "A larger sample ratio or a lower alpha selects more."
    )
    assert all(value.isfinite().all() for value in tensors(tmp_path / "run").values() if value.is_floating_point())
    stopped = replace(run, out=tmp_path / "stopped")
    assert train(stopped, reporter=Stopping(9)).interrupted == "SIGTERM"
    assert train(stopped, resume=True).finished
    assert_same_run(tmp_path / "run", tmp_path / "stopped")


@pytest.mark.parametrize("selection", [None, EASY], ids=["all pairs", "teacher and quantiles"])
def test_a_stopped_run_continues_bit_for_bit(selection: PairSelection | None, tmp_path: Path) -> None:
    """The teacher, the thresholds and the views, none of which a checkpoint has a rule of its own for."""
    train(made(tmp_path / "whole", selection))
    run = made(tmp_path / "stopped", selection)
    assert train(run, reporter=Stopping(7)).interrupted == "SIGTERM"
    assert header(tmp_path / "stopped")["progress"]["step"] == 7
    assert train(run, resume=True).finished
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize("runtime", [QueuedSpec(buffer=2), GreedySpec()])
def test_other_runtimes(runtime: Any, tmp_path: Path) -> None:
    result = train(made(tmp_path / "run", runtime=runtime))
    assert result.finished and all("test" not in row for row in rows(tmp_path / "run"))


def test_pairs_judged_by_a_pretrained_run(simclr: Path, tmp_path: Path) -> None:
    selection = PairSelection(Running(), 0.8, 0.8, similarity="pretrained", pretrained=simclr)
    run = made(tmp_path / "run", selection)
    loaders = make_loaders(run, load_images(run), torch.device("cpu"))
    batch = loaders.train.batch(1, 2)
    guide = load_trained(made(modules=1), simclr).eval()
    assert batch.views is not None and batch.pair_similarity is not None
    torch.testing.assert_close(batch.pair_similarity, cosines(view_features(guide, batch.views)))
    assert batch.pair_similarity.shape == (16, 16)
    again = next(loaders.train.epoch(1, 2))
    assert again.pair_similarity is not None and torch.equal(again.pair_similarity, batch.pair_similarity)
    assert loaders.test.batch(0, 0).pair_similarity is None
    assert train(run).finished
    figures = rows(tmp_path / "run")[1]["figures"]["0"]
    assert 0.5 < figures["kept_positives"] < 1 and 0.5 < figures["kept_negatives"] < 1


def test_a_pretrained_run_of_another_network_or_augmentation_is_refused(simclr: Path, tmp_path: Path) -> None:
    selection = PairSelection(similarity="pretrained", pretrained=simclr)
    other = made(tmp_path / "run", selection)
    backbone = cifar_resnet(20, num_classes=4, width=0.25, image=(3, 8, 8))
    with pytest.raises(RunError) as told:
        train(replace(other, backbone=backbone, views=replace(CHEAP, flip=0.5)))
    network, views = told.value.problems
    assert f"pretrained: {simclr} has another network" in network and "(arguments" not in network
    assert '"layers": 14' in network and '"layers": 20' in network
    assert "has another augmentation" in views and "(flip: 0 -> 0.5)" in views
    with pytest.raises(LocalgradError, match=r"shape of aux\.layer3\.1"):
        train(replace(other, method=DGSSL(hidden=32, out=8, selection=selection)))
    missing = replace(selection, pretrained=tmp_path / "nothing")
    with pytest.raises(RunError, match=r"pretrained: .*nothing is not a run folder"):
        train(made(tmp_path / "run", missing))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"views": None}, r"DGSSL compares two views of every image: say how they are drawn, views=localgrad.data.Vi"),
        ({"method": methods.DGL()}, "views: DGL reads images, no views of them. Leave views out"),
        ({"views": replace(CHEAP, hue=2)}, "Views.hue: expected 0 to 0.5, got 2"),
        ({"views": replace(CHEAP, scale=(2, 1))}, "Views.scale: expected 0 < lowest <= highest <= 1"),
    ],
)
def test_bad_runs(changes: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=text):
        train(replace(made(tmp_path / "run"), **changes))
    assert not (tmp_path / "run").exists()


def test_what_pair_similarities_do_not_go_with(simclr: Path) -> None:
    selection = PairSelection(similarity="pretrained", pretrained=simclr)
    told = list(made(Path("x"), selection, accumulate=2).problems())
    assert told == ["accumulate=2 splits batches, of which DGSSL compares all pairs: leave it out."]
    told = list(made(Path("x"), selection, runtime=DistributedSpec()).problems())
    assert len(told) == 1 and "similarities of a pretrained network do not travel" in told[0]
    assert not list(made(Path("x"), selection, runtime=DistributedSpec(labels="loader")).problems())


def test_a_calibration_of_something_else_is_refused_before_any_work(tmp_path: Path) -> None:
    """Another augmentation and data set; another network is a problem of its own, since nothing else can be judged."""
    cosines_ = tuple(-1 + 2 * point / (POINTS - 1) for point in range(POINTS))
    run = made(tmp_path / "run")
    facts = [json.dumps(plain(value)) for value in (run.backbone, replace(CHEAP, flip=0.5), "cifar10")]
    made_with = Calibration(cosines_, cosines_, *facts, run="runs/simclr", pairs=(1, 1))
    with pytest.raises(RunError) as told:
        train(replace(run, method=DGSSL(hidden=16, out=8, selection=PairSelection(Calibrated(made_with)))))
    views, data = told.value.problems
    assert "calibration of another augmentation: runs/simclr was made with" in views and "(flip: 0.5 -> 0)" in views
    assert 'calibration of another data set: runs/simclr was made with "cifar10", this run has "noise"' in data
    other = replace(made_with, network=json.dumps({"kind": "Backbone"}), views=json.dumps(plain(CHEAP)), data='"noise"')
    with pytest.raises(
        RunError, match=r"calibration of another network: runs/simclr was made with .*, this network is"
    ):
        train(replace(run, method=DGSSL(hidden=16, out=8, selection=PairSelection(Calibrated(other)))))
    assert not (tmp_path / "run").exists()


def test_views_are_facts_of_runs_that_read_them() -> None:
    facts = made().facts()
    assert facts["views"] == {"kind": "Views", **facts["views"], "flip": 0}  # type: ignore[dict-item]
    assert "views" not in tiny().facts()


def test_there_is_no_accuracy_to_ask_for(simclr: Path, tmp_path: Path) -> None:
    run = made(modules=1)
    loaders = make_loaders(run, load_images(run), torch.device("cpu"))
    with pytest.raises(LocalgradError, match=r"resnet14 learnt without labels and ends in features"):
        evaluate(load_trained(run, simclr), loaders.test)
    with pytest.raises(RunError, match=r"b: DGSSL learns without labels, so it has no classifier's accuracy to comp"):
        compare({"a": [tiny()], "b": [made()]}, tmp_path / "comparison")
