"""ResNet-32 cut into a module per process, in N processes of one thread: local learning, 1F1B, DDP.

Target, for DGL with K=2 in 2 processes on 2 cores: at least 0.9 of the bound, which is the time of sequential
backpropagation (one process, the others idle) by the time of the slowest unit's step (alone, the others idle). What no
runtime can help shows beside it: the slowest unit while all processes step their own units at once, none waiting for
another, so that they share caches, memory and clock. And the time that ``localgrad.planning`` predicts from measured
times of the units must be within 15 % of the measured one.

The processes start once. In every round each row has its turn of a few steps (the first of a turn is not counted), so
that what else the machine does hits all rows alike; ratios are medians over the rounds of two times of one round. The
time of a mini-batch in local learning is that between two that the last stage has done; after the counted ones come as
many as the channels can hold, so that the stages before it are at work all the time. CPU ms are processor time, which
other programs disturb less than they do the clock.

Labels are drawn anew for every step. 1F1B needs as many microbatches as there are stages, torch says, so --microbatches
is at least that.

    python benchmarks/parallel.py [--processes 2] [--batch 128] [--rounds 5] [--steps 8] [--out FILE.md]
        [--method dgl|auglocal] [--format contiguous|channels_last] [--microbatches 8]
        [--cut paper|macs|NAMES]    the papers' table, equal MACs, or the last block of each module but the last
"""

import argparse
import multiprocessing
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import final

from parallel_ranks import METHODS, Burst, Row, Settings, serve
from parallel_report import Report, Round

import localgrad as lg

PATIENCE = 300
LOOPBACK = Path("/proc/net/dev")


@final
class Ranks:
    """The processes, as the launcher sees them."""

    def __init__(self, connections: list[Connection], done: "Synchronized[int]") -> None:
        self.connections, self.done = connections, done

    def answer(self, rank: int) -> Burst:
        """What a process has to say. Raises SystemExit when it says nothing."""
        try:
            if self.connections[rank].poll(PATIENCE):
                found: Burst = self.connections[rank].recv()
                return found
        except EOFError:
            pass
        raise SystemExit(f"process {rank} has failed, or hangs.")

    def together(self, row: Row, steps: int) -> tuple[Burst, ...]:
        """A turn of a row in all processes at once."""
        self.done.value = 0
        for connection in self.connections:
            connection.send((row, steps))
        return tuple(self.answer(rank) for rank in range(len(self.connections)))

    def one(self, row: Row, steps: int, rank: int) -> Burst:
        """A turn of a row in one process, the others idle."""
        self.connections[rank].send((row, steps))
        return self.answer(rank)


@contextmanager
def started(settings: Settings) -> Iterator[Ranks]:
    """Processes that are ready; they end with the context."""
    context = multiprocessing.get_context("spawn")
    barrier, done = context.Barrier(settings.processes), context.Value("i", 0)
    ranks, processes = Ranks([], done), []
    for rank in range(settings.processes):
        mine, theirs = context.Pipe()
        arguments = (rank, settings, theirs, barrier, done)
        processes.append(context.Process(target=serve, args=arguments, daemon=True))
        processes[-1].start()
        theirs.close()
        ranks.connections.append(mine)
    for rank in range(settings.processes):
        ranks.answer(rank)
    yield ranks
    for connection in ranks.connections:
        connection.send(None)
    for process in processes:
        process.join(timeout=10)


def one_round(ranks: Ranks, steps: int) -> Round:
    """A turn of every row."""
    bursts = {
        Row.ALONE: tuple(ranks.one(Row.ALONE, steps, rank) for rank in range(len(ranks.connections))),
        Row.SEQUENTIAL: (ranks.one(Row.SEQUENTIAL, steps, 0),),
    }
    loopback: dict[Row, float] = {}
    for row in (Row.BUSY, Row.LOCAL, Row.PIPELINE, Row.DDP):
        before = on_loopback()
        bursts[row] = ranks.together(row, steps)
        after = on_loopback()
        if before is not None and after is not None:
            loopback[row] = (after - before) / len(bursts[row][0].ends)
    return Round(bursts, loopback, steps)


def on_loopback() -> int | None:
    """Bytes that this machine has sent to itself; None where the system does not say."""
    lines = LOOPBACK.read_text().splitlines() if LOOPBACK.exists() else []
    return next((int(line.split()[9]) for line in lines if line.strip().startswith("lo:")), None)


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--method", choices=list(METHODS), default="dgl")
    parser.add_argument("--format", choices=["contiguous", "channels_last"], default="contiguous")
    parser.add_argument("--cut", default="paper", help="paper, macs, or names of blocks such as layer1.2,layer2.1")
    parser.add_argument("--microbatches", type=int, default=8)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.processes < 2 or options.rounds < 2 or options.steps < 1:
        parser.error("--processes and --rounds must be at least 2, --steps at least 1.")
    settings = Settings(
        processes=options.processes,
        batch=options.batch,
        channels_last=options.format == "channels_last",
        method=options.method,
        cut=options.cut,
        microbatches=max(options.microbatches, options.processes),
        port=free_port(),
    )
    try:
        modules = len(settings.partition())
    except lg.LocalgradError as error:
        parser.error(str(error))
    if modules != settings.processes:
        parser.error(f"--cut {settings.cut} makes {modules} modules for {settings.processes} processes.")
    if settings.batch % settings.microbatches:
        parser.error(f"--batch must be a multiple of the {settings.microbatches} microbatches.")
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that start now
    load, _, _ = os.getloadavg()
    with started(settings) as ranks:
        rounds = [one_round(ranks, options.steps) for _ in range(options.rounds)]
    text = Report(settings, rounds, load).text()
    print(text)
    if options.out is not None:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
