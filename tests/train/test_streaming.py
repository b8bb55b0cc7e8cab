"""A streamed image folder trains, evaluates, stops at a signal and goes on bit for bit; and batches that do not fit."""

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import nn

from localgrad.backbones import cifar_resnet
from localgrad.data import Crops, DataError, ImageFolder, StreamedFolder
from localgrad.errors import RunError
from localgrad.methods import DGL
from localgrad.train import SGD, Constant, Run, train
from tests.conftest import child_processes
from tests.data.conftest import Publish
from tests.train.conftest import assert_same_run, header, rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of 11 images each."""
    Publish().image_folder(tmp_path / "images", per_class=11, size=(14, 12), extension="jpg", test="val")
    return tmp_path / "images"


@dataclass(frozen=True)
class Signalling:
    """SGD that sends SIGTERM to its own process before step SIGNAL_AT of the first unit, where the environment says so.

    Only where the run catches it: the units after the first would end the process.
    """

    lr: float = 0.05

    def problems(self) -> Iterable[str]:
        return []

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = SGD(self.lr)(parameters)
        steps, at = count(1), int(os.environ.get("SIGNAL_AT", "0"))

        def send(*_: object) -> None:
            if next(steps) == at and signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
                os.kill(os.getpid(), signal.SIGTERM)

        optimizer.register_step_pre_hook(send)
        return optimizer


def tiny(folder: Path, out: Path, workers: int = 2, **changes) -> Run:
    """6 batches per epoch, the last one of 2 images; 2 epochs."""
    data = StreamedFolder(folder, crops=Crops(size=8, resize=10), workers=workers)
    run = Run(
        backbone=cifar_resnet(8, 2, width=0.5, image=(3, 8, 8)),
        method=DGL(),
        data=data,
        optimizer=Signalling(),
        schedule=Constant(),
        batch_size=4,
        epochs=2,
        out=out,
    )
    return replace(run, **changes)


def test_workers_change_nothing_of_a_run(folder: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        result = train(tiny(folder, tmp_path / str(workers), workers, val_fraction=0.2))
        assert result.finished
    assert rows(tmp_path / "0") == rows(tmp_path / "2")
    last = rows(tmp_path / "2")[1]
    assert (last["test"]["samples"], last["val"]["samples"]) == (22, 4)
    assert child_processes() == []


def test_a_signal_ends_the_workers_and_the_resumed_run_is_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(tiny(folder, whole, workers=1))
    # In the middle of the second epoch.
    monkeypatch.setenv("SIGNAL_AT", "8")
    stopped = train(tiny(folder, cut))
    assert (stopped.interrupted, stopped.finished) == ("SIGTERM", False)
    assert child_processes() == []
    assert header(cut)["progress"]["batch"] == 2
    monkeypatch.delenv("SIGNAL_AT")
    # With another number of workers, as on another machine.
    assert train(tiny(folder, cut, workers=1), resume=True).finished
    assert_same_run(whole, cut)


def test_a_broken_image_stops_the_run_with_its_name(folder: Path, tmp_path: Path) -> None:
    broken = folder / "train" / "bee" / "4.jpg"
    broken.write_bytes(broken.read_bytes()[:-60])
    with pytest.raises(DataError, match=r"1 files cannot be decoded; .*\n  train/bee/4.jpg: image file is truncated"):
        train(tiny(folder, tmp_path / "a"))
    assert child_processes() == []


@pytest.mark.parametrize("streaming", [True, False])
def test_a_batch_larger_than_the_training_split_is_refused(folder: Path, tmp_path: Path, streaming: bool) -> None:
    run = tiny(folder, tmp_path / "a", batch_size=23)
    run = run if streaming else replace(run, data=ImageFolder(folder, image=8))
    with pytest.raises(RunError) as raised:
        train(run)
    assert str(raised.value) == (
        "nothing was started:\n- batch_size=23 is larger than the 22 images of the training split: every epoch would "
        "be one short step. Take batch_size=22 or less."
    )
    assert not (tmp_path / "a").exists()
    with pytest.raises(RunError, match="the 18 images of the training split without its validation part"):
        train(replace(run, batch_size=22, val_fraction=0.2))


def test_a_backbone_of_another_image_or_class_count_is_refused_before_work(folder: Path, tmp_path: Path) -> None:
    channels, classes = tiny(folder, tmp_path / "a", backbone=cifar_resnet(8, 3, width=0.5, image=(1, 8, 8))).problems()
    assert "reads images of 1 channels, images has 3 (image shape (3, 8, 8))" in channels
    assert "has 3 classes, images has 2" in classes
