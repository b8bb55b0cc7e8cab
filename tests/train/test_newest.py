"""A run trained by many processes is resumed, evaluated, exported and started from as one trained by a single one."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from localgrad import LocalgradError, load
from localgrad.cli import main
from localgrad.facts import plain
from localgrad.recipes import digits
from localgrad.train import Run, train
from localgrad.train.checkpoint import CHECKPOINT_FILE, Progress, restore
from localgrad.train.newest import has_checkpoint, load_trained, newest, read_newest
from localgrad.train.record import write_run
from localgrad.train.setup import make_loop
from localgrad.train.shards import save_shard
from localgrad.train.weights import network_weights
from tests.conftest import changed, copy_of
from tests.train.conftest import Stopping, assert_same_run, tensors

CPU = torch.device("cpu")


def run(out: Path, **changes: object) -> Run:
    """Two epochs of 6 batches."""
    return replace(digits.dgl(layers=8, epochs=2), out=out, **changes)  # type: ignore[arg-type]


def split(own: Run, ranks: int, *, drop: int | None = None) -> Path:
    """Turn the single checkpoint of a run's folder into the files of several processes, as these would write them."""
    assert own.out is not None
    header, saved, _ = read_newest(own.out)
    loop = make_loop(own, CPU)
    with torch.random.fork_rng():
        progress = restore(header, saved, loop, plain(own.facts()), own.out)
        places = torch.arange(len(loop.net.units)).tensor_split(ranks)
        for rank, mine in enumerate(part.tolist() for part in places):
            tail = rank == ranks - 1
            known = progress if tail else Progress(progress.epoch, progress.batch, progress.step)
            sums = {str(place): progress.sums[str(place)] for place in mine if str(place) in progress.sums}
            seen = {str(place): progress.seen[str(place)] for place in mine if str(place) in progress.seen}
            if rank == drop:
                continue
            save_shard(
                own.out,
                step=progress.step,
                rank=rank,
                ranks=ranks,
                net=loop.net,
                units=mine,
                updates=[loop.updates[place] for place in mine],
                facts=own.facts(),
                progress=replace(known, sums=sums, seen=seen),
            )
    (own.out / CHECKPOINT_FILE).unlink()
    return own.out


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(run(folder))
    return folder


@pytest.mark.parametrize("step", [4, 6, 9])
def test_one_process_continues_what_three_saved(tmp_path: Path, whole: Path, step: int) -> None:
    """In an epoch and between two: the same files in the end, the single checkpoint among them."""
    own = run(tmp_path / "run")
    train(own, reporter=Stopping(step))
    split(own, 3)
    assert has_checkpoint(tmp_path / "run")
    assert train(own, resume=True).finished
    assert_same_run(whole, tmp_path / "run")


def test_the_newest_counts(tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "run"
    own = run(folder)
    train(own, reporter=Stopping(4))
    split(own, 2)
    train(own, resume=True, reporter=Stopping(3))
    found = newest(folder)
    assert found is not None
    assert (found.path.name, found.step) == (CHECKPOINT_FILE, 7)
    split(own, 3)
    shutil.copy(whole / CHECKPOINT_FILE, folder / "other")
    found = newest(folder)
    assert found is not None
    assert (found.path.name, found.step) == ("step-00000007", 7)
    shutil.copy(whole / CHECKPOINT_FILE, folder)
    found = newest(folder)
    assert found is not None
    assert (found.path.name, found.step) == (CHECKPOINT_FILE, 12)


def test_a_damaged_single_file_beside_files_of_many(tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "run"
    own = run(folder)
    train(own, reporter=Stopping(4))
    split(own, 2)
    (folder / CHECKPOINT_FILE).write_text("mine")
    found = newest(folder)
    assert found is not None
    assert found.step == 4
    (line,) = found.passed_over
    assert line.startswith(f"passed over: {folder}/{CHECKPOINT_FILE} cannot be read as a localgrad checkpoint: ")


def test_what_was_passed_over_is_said_and_removed(tmp_path: Path, whole: Path) -> None:
    """Three had saved step 4, and two of them step 7 when the third was killed."""
    folder = tmp_path / "run"
    own = run(folder)
    train(own, reporter=Stopping(4))
    split(own, 3)
    metrics = (folder / "metrics.jsonl").read_bytes() if (folder / "metrics.jsonl").exists() else b""
    ahead = run(tmp_path / "ahead")
    train(ahead, reporter=Stopping(7))
    later = split(ahead, 3, drop=1)
    shutil.copytree(later / "checkpoints/step-00000007", folder / "checkpoints/step-00000007")
    (folder / "metrics.jsonl").write_bytes((later / "metrics.jsonl").read_bytes())
    assert metrics == b""

    class Lines(Stopping):
        said: list[str] = []  # noqa: RUF012

        def line(self, text: str) -> None:
            self.said.append(text)

    train(own, resume=True, reporter=Lines(0))
    assert Lines.said[0].startswith("passed over: the checkpoint of step 7 lacks units ")
    assert not (folder / "checkpoints/step-00000007").exists()
    assert_same_run(whole, folder)


def test_weights_of_a_run(tmp_path: Path, whole: Path) -> None:
    """Loaded, evaluated, exported and started from: as the single checkpoint of the same step."""
    own = run(tmp_path / "run")
    shutil.copytree(whole, tmp_path / "run")
    before = load_trained(own, tmp_path / "run")
    expected = tensors(whole)
    split(own, 3)
    net = load_trained(own, tmp_path / "run")
    assert not changed(copy_of(before), copy_of(net))
    assert all(torch.equal(expected[f"weights.{name}"], value) for name, value in net.state_dict().items())
    started = network_weights(tmp_path / "run")
    assert not changed(started, copy_of(net.model))
    assert train(run(tmp_path / "next", init_from=tmp_path / "run", epochs=1)).finished


def test_the_command_line(tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main(["train", "digits.dgl", "--layers", "8", "--epochs", "2", "--out", str(folder)]) == 0
    own = run(folder)
    capsys.readouterr()
    assert main(["evaluate", str(folder)]) == 0
    printed = capsys.readouterr().out
    split(own, 2)
    assert main(["evaluate", str(folder)]) == 0
    assert capsys.readouterr().out == printed
    assert main(["export", str(folder), "-o", str(tmp_path / "net")]) == 0
    plain_network = load(tmp_path / "net")
    assert not changed(copy_of(plain_network), copy_of(load_trained(own, folder).model))
    assert main(["train", "--resume", str(folder)]) == 0
    assert "finished: test top-1" in capsys.readouterr().out


def test_other_settings(tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    folder = split(run(tmp_path / "run"), 2)
    with pytest.raises(
        LocalgradError,
        match=r"/checkpoints/step-00000012 was made with other settings \(checkpoint -> now\):\n  epochs",
    ):
        train(run(folder, epochs=3), resume=True)


def test_a_run_that_lost_its_only_checkpoint(tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    folder = split(run(tmp_path / "run"), 2)
    (folder / "checkpoints/step-00000012/rank-0.safetensors").write_text("mine")
    with pytest.raises(LocalgradError, match=r"^no checkpoint below .*/run is whole:\n"):
        train(run(folder), resume=True)


def test_a_run_killed_before_its_first_complete_checkpoint(tmp_path: Path, whole: Path) -> None:
    """It begins again, and nothing of the first attempt is left."""
    own = run(tmp_path / "run")
    train(own, reporter=Stopping(4))
    split(own, 2, drop=0)
    write_run(tmp_path / "run", own, CPU)
    assert not has_checkpoint(tmp_path / "run")
    assert train(own, resume=True).finished
    assert list((tmp_path / "run/checkpoints").iterdir()) == []
    assert_same_run(whole, tmp_path / "run")
