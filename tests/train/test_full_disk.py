"""A disk that is full while a run saves: the last good checkpoint survives, byte for byte, and the run goes on."""

from tests.train.conftest import assert_same_run, rows
from tests.train.processes import Launcher


def test_the_checkpoint_before_survives(commands: Launcher) -> None:
    commands.run("train", "exp.py:tiny", "--out", "a", env={"SIGNAL_AT_STEP": "8:SIGINT"})
    path = commands.folder / "a" / "checkpoint.safetensors"
    good, size = path.read_bytes(), path.stat().st_size
    status, output = commands.run("train", "--resume", "a", limit=size // 2)
    assert status == 2
    told = output.splitlines()[-1]
    assert told.startswith("error: the checkpoint was not written to a/checkpoint.safetensors (")
    assert told.endswith(
        " bytes): File too large; free some space (or raise the file size limit) and resume. "
        "The one written before is untouched."
    )
    assert path.read_bytes() == good
    assert list(path.parent.glob("*.partial")) == []
    commands.done("train", "--resume", "a")
    commands.done("train", "exp.py:tiny", "--out", "b")
    assert_same_run(commands.folder / "a", commands.folder / "b")


def test_a_row_that_does_not_fit(commands: Launcher) -> None:
    metrics = commands.folder / "a" / "metrics.jsonl"
    metrics.parent.mkdir()
    metrics.symlink_to("/dev/full")
    status, output = commands.run("train", "exp.py:tiny", "--out", "a")
    assert status == 2
    assert output.splitlines()[-1] == (
        "error: a row was not written to a/metrics.jsonl: No space left on device; free some space (or raise the file "
        "size limit) and resume."
    )
    metrics.unlink()
    commands.done("train", "--resume", "a")
    commands.done("train", "exp.py:tiny", "--out", "b")
    assert_same_run(commands.folder / "a", commands.folder / "b")


def test_a_row_written_in_part_is_dropped(commands: Launcher) -> None:
    commands.run("train", "exp.py:tiny", "--out", "a", env={"SIGNAL_AT_STEP": "8:SIGINT"})
    with (commands.folder / "a" / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "epo')
    commands.done("train", "--resume", "a")
    assert [row.get("epoch") for row in rows(commands.folder / "a")] == [1, 2, 3, None]


def test_nothing_can_be_written_at_all(commands: Launcher) -> None:
    status, output = commands.run("train", "exp.py:tiny", "--out", "a", limit=600)
    assert status == 2
    assert output.startswith("error: the run's description was not written to a/run.json (")
    assert list((commands.folder / "a").iterdir()) == []
