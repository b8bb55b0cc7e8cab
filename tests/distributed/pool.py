"""A pool of real processes for tests: started once, each runs the tasks that it is given, one after the other."""

import faulthandler
import importlib
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any, final

from localgrad.distributed import Address
from tests.forking import check_preloaded, forkserver

PATIENCE = 150
GROUP = "process group"
"""The thread that makes a world's process group."""


def serve(connection: Connection) -> None:
    """What a process of the pool does: ``module:function`` with arguments, until there is none.

    It ends, and says so, when a task leaves its process group: after an error on a busy machine a connection may not
    close in time, and nobody can make another group then.
    """
    import torch
    import torch.distributed as dist

    check_preloaded()
    faulthandler.register(signal.SIGUSR1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    while True:
        task = connection.recv()
        if task is None:
            return
        reference, arguments = task
        module, _, name = reference.partition(":")
        try:
            answer = (True, getattr(importlib.import_module(module), name)(*arguments))
        except BaseException as error:  # noqa: BLE001 -- told to the test
            answer = (False, (type(error).__name__, str(error), traceback.format_exc()))
        left = dist.is_initialized() or any(thread.name == GROUP for thread in threading.enumerate())
        connection.send((*answer, left))
        if left:
            return


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_member() -> tuple[ForkServerProcess, Connection]:
    """A process of the pool, and the connection to it."""
    context = forkserver()
    mine, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), name="rank of the pool", daemon=True)
    process.start()
    theirs.close()
    return process, mine


@final
class RankError(Exception):
    """What a process of the pool raised: ``kind`` and ``text`` of its exception."""

    def __init__(self, rank: int, kind: str, text: str, trace: str) -> None:
        super().__init__(f"rank {rank}: {kind}: {text}\n{trace}")
        self.rank, self.kind, self.text = rank, kind, text


@final
class Pool:
    """``run`` gives the first processes a task each and returns their results by rank."""

    def __init__(self, size: int) -> None:
        self.members = [start_member() for _ in range(size)]

    def run(self, reference: str, ranks: int, *arguments: Any) -> list[Any]:
        """``module:function(address, *arguments)`` on so many processes. Raises RankError, that of the first that
        failed."""
        found = self.outcomes(reference, ranks, *arguments)
        for rank, (fine, value) in enumerate(found):
            if not fine:
                raise RankError(rank, *value)
        return [value for _, value in found]

    def outcomes(self, reference: str, ranks: int, *arguments: Any) -> list[tuple[bool, Any]]:
        """The same with (True, result) or (False, (exception, text, trace)) by rank."""
        self.start(reference, ranks, *arguments)
        return [self.answer(rank) for rank in range(ranks)]

    def start(
        self, reference: str, ranks: int, *arguments: Any, only: Sequence[int] | None = None, port: int | None = None
    ) -> None:
        """Give the task to all ranks, or to some of them; every one that got it has an ``answer``."""
        port = free_port() if port is None else port
        for rank in range(ranks) if only is None else only:
            self.members[rank][1].send((reference, (Address(rank, ranks, "127.0.0.1", port), *arguments)))

    def answer(self, rank: int) -> tuple[bool, Any]:
        """What a process of the pool made of its task."""
        process, connection = self.members[rank]
        if not connection.poll(PATIENCE):
            self._start_again()
            raise TimeoutError(f"rank {rank} did not answer within {PATIENCE} s (alive: {process.is_alive()})")
        fine, value, left = connection.recv()
        if left:
            process.join(timeout=5)
            process.kill()
            connection.close()
            self.members[rank] = start_member()
        return fine, value

    def _start_again(self) -> None:
        """New processes in place of those that hang, which say where they do: one test fails, not all after it."""
        for process, _ in self.members:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGUSR1)
        time.sleep(1)
        for place, (process, connection) in enumerate(self.members):
            process.kill()
            process.join()
            connection.close()
            self.members[place] = start_member()

    def signal(self, rank: int, number: int) -> None:
        """Send a signal to a process of the pool."""
        pid = self.members[rank][0].pid
        assert pid is not None
        os.kill(pid, number)

    def close(self) -> None:
        """End all processes."""
        for _, connection in self.members:
            connection.send(None)
            connection.close()
        for process, _ in self.members:
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
