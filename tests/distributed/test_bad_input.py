"""What a user can get wrong, and what can go wrong in one process: all stop, and say why."""

import re
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from localgrad import LocalgradError, equal_blocks
from localgrad.distributed import Address
from localgrad.train import DistributedSpec
from localgrad.train.newest import newest
from tests.distributed.pool import Pool, free_port
from tests.distributed.runs import made
from tests.distributed.test_runs import TASK, rows, same, sequential

__all__ = ["sequential"]
RANK_0 = "rank 0 (units layer1.0, layer2.0)"
RANK_1 = "rank 1 (units layer3.0, layer3.1)"
SAYS = "this process stops: rank 0 says why."
KINDS = ("LocalgradError", "RunError", "DataError")


def told(outcome: tuple[bool, Any]) -> str:
    """The text of the error that a process ended with."""
    fine, value = outcome
    assert not fine, value
    kind, text, trace = value
    assert kind in KINDS, trace
    return str(text)


def errors(pool: Pool, ranks: int, name: str, out: Path, spec: DistributedSpec, *more: Any) -> list[str]:
    """The texts of all processes, each of which has to fail."""
    return [told(outcome) for outcome in pool.outcomes(TASK, ranks, name, out, spec, *more)]


def test_more_processes_than_units(pool: Pool, tmp_path: Path) -> None:
    found = errors(
        pool, 3, "dgl", tmp_path / "run", DistributedSpec(), False, None, {None: {"partition": equal_blocks(2)}}
    )
    assert found == [
        "nothing was started:\n- 3 processes are more than the 2 units that resnet14 is cut into: start at most 2, cut "
        "the network into more modules (--modules), or share every unit's batches (--replicas).",
        SAYS,
        SAYS,
    ]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            DistributedSpec(hosts=(0, 1, 1, 2)),
            "hosts=[0, 1, 1, 2] with 1 replica need 3 processes, there are 2.",
        ),
        (
            DistributedSpec(hosts=(0, 1)),
            "runtime distributed: hosts must name a stage for each of the 4 units, got 2 numbers: [0, 1].",
        ),
        (DistributedSpec(replicas=3), "2 processes cannot be stages of 3 replicas each: start a multiple of 3."),
    ],
)
def test_hosts_that_do_not_fit(pool: Pool, tmp_path: Path, spec: DistributedSpec, text: str) -> None:
    first, second = errors(pool, 2, "dgl", tmp_path / "run", spec)
    assert first == f"nothing was started:\n- {text}"
    assert second == SAYS


def test_settings_that_do_not_go_with_it(pool: Pool, tmp_path: Path) -> None:
    changes = {None: {"accumulate": 2, "workers": 2, "update": "fused"}}
    first, second = errors(pool, 2, "dgl", tmp_path / "run", DistributedSpec(), False, None, changes)
    for name, only, got in (("update", "'unit'", "'fused'"), ("accumulate", "1", "2"), ("workers", "1", "2")):
        assert f"\n- runtime distributed: {name} must be {only}, got {got}: every unit updates on its own, " in first
    assert second == SAYS


def test_leaps_follow_weights_of_later_stages(pool: Pool, tmp_path: Path) -> None:
    first, second = errors(pool, 2, "leaps", tmp_path / "run", DistributedSpec(hosts=(0, 0, 0, 1)))
    assert first == (
        "nothing was started:\n- auxiliary networks of this method follow blocks of later stages (MLAAN's copies), "
        "whose weights for the next step do not exist yet: with several mini-batches on the way it would not be what "
        "one process computes. Train with leaps=False, put these units on one stage (--hosts), use --runtime "
        "sequential, or accept copies that are n steps late (--ema-delay n)."
    )
    assert second == SAYS


def test_another_version(pool: Pool, tmp_path: Path) -> None:
    found = errors(pool, 2, "dgl", tmp_path / "run", DistributedSpec(), False, {1: "version"})
    for text in found:
        assert text.startswith(
            "rank 1 has another program or another run than rank 0 (rank 0 -> rank 1):\n  localgrad: "
        )
        assert text.endswith("-> '0.0.1'\nStart all processes with the same command and the same versions.")


def test_another_recipe(pool: Pool, tmp_path: Path) -> None:
    found = errors(pool, 3, "dgl", tmp_path / "run", DistributedSpec(), False, None, {2: {"seed": 2, "batch_size": 12}})
    for text in found:
        first, *changed, last = text.splitlines()
        assert first == "rank 2 has another program or another run than rank 0 (rank 0 -> rank 2):"
        assert sorted(changed) == ["  run.batch_size: 8 -> 12", "  run.seed: 1 -> 2"]
        assert last == "Start all processes with the same command and the same versions."


def test_shapes_at_a_border(pool: Pool, tmp_path: Path) -> None:
    first, second = errors(pool, 2, "dgl", tmp_path / "run", DistributedSpec(), False, {1: "shape"})
    assert first == (
        f"{RANK_1} and {RANK_0} disagree about what crosses a border (shape of unit.1: [8, 4, 4] -> [5, 4, 4]; this "
        "process -> that one). Start all processes with the same network."
    )
    assert second.startswith(
        f"{RANK_0} and {RANK_1} disagree about what crosses a border (shape of unit.1: [5, 4, 4] ->"
    )


def test_a_peer_that_never_comes(pool: Pool, tmp_path: Path) -> None:
    pool.start(TASK, 3, "dgl", tmp_path / "run", DistributedSpec(timeout=1.5), only=[0], port=(port := free_port()))
    assert told(pool.answer(0)) == (
        f"runtime distributed: rank 1, rank 2 of 3 did not come to 127.0.0.1:{port} within 1.5 s. Start them with the "
        "same command, or give a longer --timeout."
    )


def test_the_first_process_never_comes(pool: Pool, tmp_path: Path) -> None:
    pool.start(TASK, 2, "dgl", tmp_path / "run", DistributedSpec(timeout=1), only=[1], port=(port := free_port()))
    text = told(pool.answer(1))
    assert text.startswith(
        f"runtime distributed: rank 1 found nobody at 127.0.0.1:{port} within 1 s: rank 0 did not come ("
    )
    assert text.endswith("). Check address and port, or start rank 0.")


def test_a_port_in_use(pool: Pool, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        pool.start(TASK, 2, "dgl", tmp_path / "run", DistributedSpec(timeout=1), only=[0], port=port)
        assert told(pool.answer(0)) == (
            f"runtime distributed: rank 0 cannot listen at 127.0.0.1:{port}: the port is in use. Give another port "
            "(torchrun --master-port N, or --standalone on one machine)."
        )


def test_a_process_that_reaches_nobody(pool: Pool, tmp_path: Path) -> None:
    """The others hear it at once: making a process group would wait for days."""
    first, second = errors(pool, 2, "dgl", tmp_path / "run", DistributedSpec(), False, {1: "group"})
    assert re.fullmatch(
        r"runtime distributed: rank 1 and the others meet at 127\.0\.0\.1:\d+, but cannot connect to each other: Gloo "
        r"connectFullMesh failed with connection refused\. Each machine must be reachable under its own host name; "
        r"else name the network interface that is \(GLOO_SOCKET_IFNAME, NCCL_SOCKET_IFNAME\)\.",
        second,
    )
    assert first == f"rank 1 stopped: {second}"


@pytest.mark.parametrize("silent", [0, 1])
def test_a_peer_that_stops_answering(pool: Pool, tmp_path: Path, silent: int) -> None:
    other = 1 - silent
    pool.start(TASK, 2, "dgl", tmp_path / "run", DistributedSpec(timeout=3), False, {silent: "SIGSTOP"})
    try:
        text = told(pool.answer(other))
    finally:
        pool.signal(silent, signal.SIGCONT)
    stopped = told(pool.answer(silent))
    if silent:
        assert text == (
            f"{RANK_1} is gone: no sign of life for 3 s. This run stops; its checkpoints are whole. torchrun "
            "--max-restarts 3 starts it again by itself; by hand, start all processes with `train --resume RUN`."
        )
    else:
        assert text.startswith(f"{RANK_0} is gone: ")
    assert "rank " in stopped


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("CUDA memory", "CUDA out of memory. Tried to allocate 2.00 GiB."),
        ("CPU memory", "DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
        ("Python memory", "MemoryError"),
    ],
)
def test_no_memory_in_one_process(pool: Pool, tmp_path: Path, fault: str, why: str) -> None:
    first, second, third = errors(pool, 3, "dgl", tmp_path / "run", DistributedSpec(), False, {2: fault})
    assert third == (
        f"out of memory in unit 3 (layer3.1) on cpu: {why}. Give this process fewer units (--hosts, or more "
        "processes), cut the network into smaller modules, or take a smaller --batch-size."
    )
    assert first == second == f"rank 2 (units layer3.1) stopped: {third}"


def test_a_loss_that_is_not_finite(pool: Pool, tmp_path: Path) -> None:
    first, second = errors(pool, 2, "dgl", tmp_path / "run", DistributedSpec(), False, {1: "not finite"})
    assert second == (
        "epoch 1: the training loss of unit 2 and 1 more is not a finite number, training has diverged and was "
        f"stopped. No checkpoint was written to {tmp_path}/run. Try a lower learning rate, a longer warm-up or clip=1 "
        "(--clip 1) in another folder; resuming this run would diverge again."
    )
    assert first == f"{RANK_1} stopped: {second}"


def test_a_full_disk_in_one_process(pool: Pool, tmp_path: Path, sequential: Any) -> None:
    folder = tmp_path / "run"
    spec = DistributedSpec(save_every=2)
    pool.run(TASK, 2, "dgl", folder, spec, False, {0: "SIGTERM"})
    before = newest(folder)
    assert before is not None
    first, second = errors(pool, 2, "dgl", folder, spec, True, {1: "full disk"})
    assert second.startswith(f"the checkpoint of process 1 was not written to {folder}/checkpoints/step-")
    assert "File too large; free some space (or raise the file size limit) and resume." in second
    assert first == f"{RANK_1} stopped: {second}"
    found = newest(folder)
    assert found is not None and found.step == before.step
    assert list(folder.rglob("*.partial")) == []
    pool.run(TASK, 2, "dgl", folder, spec, True)
    assert same(folder, sequential("dgl")) == []


def test_a_checkpoint_of_another_run(pool: Pool, tmp_path: Path, sequential: Any) -> None:
    folder = tmp_path / "run"
    shutil.copytree(sequential("dgl"), folder)
    found = errors(pool, 2, "dgl", folder, DistributedSpec(), True, None, {None: {"seed": 2}})
    assert any("seed: 1 -> 2" in text for text in found)
    for text in found:
        assert text == SAYS or "seed: 1 -> 2" in text
    # Of another plan: any will do.
    found = pool.run(TASK, 3, "dgl", folder, DistributedSpec(hosts=(0, 0, 1, 2)), True)
    assert rows(folder) == rows(sequential("dgl"))


def test_a_folder_that_holds_a_run(pool: Pool, tmp_path: Path, sequential: Any) -> None:
    folder = sequential("dgl")
    first, second = errors(pool, 2, "dgl", folder, DistributedSpec())
    assert first == (
        f"nothing was started:\n- out: {folder} already holds a run. Continue it (`localgrad train --resume {folder}`)"
        ", or give another folder."
    )
    assert second == SAYS


def test_not_started_by_torchrun(tmp_path: Path) -> None:
    with pytest.raises(LocalgradError) as caught:
        Address.from_environment({"RANK": "0", "WORLD_SIZE": "2"})
    assert str(caught.value) == (
        "runtime distributed: MASTER_ADDR, MASTER_PORT not found in the environment, so this process does not know the "
        "others. Start it with `torchrun --nproc-per-node N -m localgrad train ...`, give --processes N without "
        "torchrun, or train in this one process with --runtime sequential."
    )
    assert made("dgl", tmp_path, DistributedSpec()).out == tmp_path
