"""What can happen to the files of many processes: damage, a full disk, a kill, files of somebody else."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localgrad import LocalgradError
from localgrad.train.newest import forget_newer, forget_older, has_checkpoint, newest, read_newest
from localgrad.train.shard_steps import found_steps, read_step
from tests.conftest import tiny_resnet
from tests.forking import forkserver
from tests.train.by_hand import FACTS, save_rank, save_ranks, trained

LOOP = trained()


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """As a full disk: nothing writes more bytes into one file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-7] ^= 64
    path.write_bytes(data)


def test_damage_makes_the_older_one_count(tmp_path: Path) -> None:
    for step in (2, 4):
        save_ranks(tmp_path, LOOP, 3, step=step)
    flip(tmp_path / "checkpoints/step-00000004/rank-1.safetensors")
    assert [found.complete for found in found_steps(tmp_path)] == [True, True]  # by the headers
    found = newest(tmp_path)
    assert found is not None
    assert found.step == 2
    (line,) = found.passed_over
    first, second = line.splitlines()
    unit = LOOP.net.unit_list()[2].name
    assert first == f"passed over: the checkpoint of step 4 lacks units {unit}"
    assert second.startswith(f"  {tmp_path}/checkpoints/step-00000004/rank-1.safetensors cannot be read as a process's")
    assert "it is damaged, its checksum is blake2b-128:" in second


def test_the_older_one_is_said_in_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_ranks(tmp_path, LOOP, 2, step=2)
    save_rank(tmp_path, LOOP, 2, 0, step=4)
    header, _, path = read_newest(tmp_path)
    assert (header["progress"]["step"], path.name) == (2, "step-00000002")
    units = ", ".join(unit.name for unit in LOOP.net.unit_list()[2:])
    assert caplog.messages == [f"passed over: the checkpoint of step 4 lacks units {units}"]


@pytest.mark.parametrize("spoil", [flip, lambda path: path.write_bytes(path.read_bytes()[:100])])
def test_nothing_whole_is_left(tmp_path: Path, spoil: object) -> None:
    """A run that lost what it had does not quietly begin again."""
    path = save_ranks(tmp_path, LOOP, 2)[1]
    assert callable(spoil)
    spoil(path)
    with pytest.raises(LocalgradError) as raised:
        newest(tmp_path)
    first, *_, last = str(raised.value).splitlines()
    assert first == f"no checkpoint below {tmp_path} is whole:"
    assert f"{path} cannot be read as a process's part of a checkpoint: " in str(raised.value)
    assert last == "Restore the files from a copy, or train anew in another folder."


def test_nothing_complete_yet(tmp_path: Path) -> None:
    """Killed before the first checkpoint was complete: no damage, the run begins again."""
    assert newest(tmp_path) is None
    save_rank(tmp_path, LOOP, 2, 0)
    assert not has_checkpoint(tmp_path)
    assert newest(tmp_path) is None
    with pytest.raises(LocalgradError, match=r"units \S+, \S+ are missing; there is \S+/rank-0\.safetensors\.$"):
        read_step(tmp_path, 2)
    with pytest.raises(LocalgradError, match=r"there is no checkpoint at .*/checkpoint\.safetensors\. A run writes"):
        read_newest(tmp_path)
    forget_newer(tmp_path, None)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_files_of_different_runs(tmp_path: Path) -> None:
    save_rank(tmp_path, LOOP, 2, 0)
    save_rank(tmp_path, LOOP, 2, 1, facts={**FACTS, "seed": 1, "device": "cuda"})
    told = (
        f"{tmp_path}/checkpoints/step-00000002/rank-0.safetensors and {tmp_path}/checkpoints/step-00000002/"
        "rank-1.safetensors are of different runs (first -> second):\n  seed: 0 -> 1\n"
        "Remove the one that does not belong to this run."
    )
    for read in (lambda: newest(tmp_path), lambda: read_step(tmp_path, 2)):
        with pytest.raises(LocalgradError) as raised:
            read()
        assert str(raised.value) == told


def test_where_a_process_runs_may_differ(tmp_path: Path) -> None:
    save_rank(tmp_path, LOOP, 2, 0)
    save_rank(tmp_path, LOOP, 2, 1, facts={**FACTS, "device": "cuda"})
    assert newest(tmp_path) is not None


def test_a_file_in_the_wrong_folder(tmp_path: Path) -> None:
    paths = save_ranks(tmp_path, LOOP, 2)
    (tmp_path / "checkpoints/step-00000009").mkdir()
    moved = tmp_path / "checkpoints/step-00000009/rank-0.safetensors"
    paths[0].rename(moved)
    later = found_steps(tmp_path)[-1]
    assert later.damaged == (f"{moved} is of step 2: it was moved. Put it back, or remove it.",)


def test_files_of_somebody_else(tmp_path: Path) -> None:
    """Neither read, nor replaced, nor deleted."""
    home = tmp_path / "checkpoints/step-00000002"
    home.mkdir(parents=True)
    notes = [home / "notes.txt", home / "rank-x.safetensors", tmp_path / "checkpoints/step-1", home / "rank-0.pt"]
    for path in notes:
        path.write_text("mine")
    save_ranks(tmp_path, LOOP, 2, step=2)
    save_ranks(tmp_path, LOOP, 2, step=4)
    found = newest(tmp_path)
    assert found is not None
    assert (found.step, found.passed_over) == (4, ())
    for rank in range(2):
        forget_older(tmp_path, rank, 4)
    assert sorted(home.iterdir()) == sorted(path for path in notes if path.parent == home)
    forget_newer(tmp_path, None)
    assert [path.read_text() for path in notes] == ["mine"] * 4


def test_an_unreadable_file_is_not_replaced(tmp_path: Path) -> None:
    path = save_rank(tmp_path, LOOP, 2, 0)
    path.write_text("mine")
    assert save_rank(tmp_path, LOOP, 2, 0).name == "rank-0.1.safetensors"
    assert path.read_text() == "mine"


def test_a_full_disk(tmp_path: Path) -> None:
    """The checkpoint before stays, and it is the one that counts."""
    save_ranks(tmp_path, LOOP, 2, step=2)
    save_rank(tmp_path, LOOP, 2, 0, step=4)
    path = tmp_path / "checkpoints/step-00000004/rank-1.safetensors"
    with files_up_to(5000), pytest.raises(LocalgradError) as raised:
        save_rank(tmp_path, LOOP, 2, 1, step=4)
    told = str(raised.value)
    assert told.startswith(f"the checkpoint of process 1 was not written to {path} (")
    assert told.endswith(" bytes): File too large; free some space (or raise the file size limit) and resume.")
    assert [file.name for file in path.parent.iterdir()] == ["rank-0.safetensors"]
    found = newest(tmp_path)
    assert found is not None
    assert found.step == 2


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("mine")
    with pytest.raises(LocalgradError, match=r"the folder \S+/step-00000002 cannot be made: Not a directory\.$"):
        save_rank(tmp_path, LOOP, 2, 0)
    assert newest(tmp_path) is None


def kill_while_writing(folder: Path) -> None:
    """In a process of its own: the second file is half written when it is killed."""
    save_rank(folder, LOOP, 2, 0)

    def fsync(_: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = fsync
    save_rank(folder, LOOP, 2, 1)


def test_killed_while_writing(tmp_path: Path) -> None:
    process = forkserver().Process(target=kill_while_writing, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    home = tmp_path / "checkpoints/step-00000002"
    assert len(list(home.glob("rank-1.safetensors.*.partial"))) == 1
    (found,) = found_steps(tmp_path)
    assert (found.paths, found.damaged) == ({0: home / "rank-0.safetensors"}, ())
    assert newest(tmp_path) is None
    save_rank(tmp_path, LOOP, 2, 1)
    forget_newer(tmp_path, 2)
    assert sorted(path.name for path in home.iterdir()) == ["rank-0.safetensors", "rank-1.safetensors"]


def test_retention(tmp_path: Path) -> None:
    """Every process deletes its own files before the newest complete step; process 0 those of former ones, too."""
    save_ranks(tmp_path, LOOP, 4, step=1)
    for step in (2, 3):
        save_ranks(tmp_path, LOOP, 2, step=step)
    save_rank(tmp_path, LOOP, 2, 0, step=4)

    def names() -> list[str]:
        return sorted(f"{path.parent.name[-1]}/{path.name[5]}" for path in tmp_path.glob("checkpoints/*/*.safetensors"))

    forget_older(tmp_path, 1, 4)  # not complete
    assert len(names()) == 9
    forget_older(tmp_path, 1, 3)
    assert names() == ["1/0", "1/2", "1/3", "2/0", "3/0", "3/1", "4/0"]
    forget_older(tmp_path, 0, 3)
    assert names() == ["3/0", "3/1", "4/0"]
    assert sorted(path.name[-1] for path in (tmp_path / "checkpoints").iterdir()) == ["3", "4"]
    forget_newer(tmp_path, 3)
    assert names() == ["3/0", "3/1"]


def test_retention_inside_a_step(tmp_path: Path) -> None:
    """What was saved before an evaluation goes when what was saved after it is complete."""
    save_ranks(tmp_path, LOOP, 2, epoch=0, batch=5)
    save_rank(tmp_path, LOOP, 2, 0, epoch=1, batch=0)
    forget_older(tmp_path, 0, 2)
    assert [found.complete for found in found_steps(tmp_path)] == [True, False]
    save_rank(tmp_path, LOOP, 2, 1, epoch=1, batch=0)
    for rank in range(2):
        forget_older(tmp_path, rank, 2)
    (found,) = found_steps(tmp_path)
    assert found.position == (2, 1, 0)
    assert found.complete


def test_networks_of_different_units(tmp_path: Path) -> None:
    other = trained(0)
    assert other.net.backbone == tiny_resnet()
    save_rank(tmp_path, LOOP, 2, 0)
    path = save_rank(tmp_path, LOOP, 2, 1)
    data = path.read_bytes()
    assert LOOP.net.unit_list()[0].name.encode() in data
    renamed = other.net.unit_list()[0]
    object.__setattr__(renamed.spec, "name", "another")
    save_rank(tmp_path, other, 2, 1, step=2)
    with pytest.raises(LocalgradError, match=r"are of different runs \(first -> second\):\n  units of the network"):
        newest(tmp_path)
