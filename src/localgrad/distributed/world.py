"""The processes of a run: how they find each other, how they notice that one is gone, what they tell each other.

What is said here is control, a few bytes in torch.distributed's TCPStore: who is there, who has failed and why, whether
a signal asks to stop. Nothing of the training goes through it.
"""

import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar, final

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store

from localgrad.distributed.address import Address, connect, first_line
from localgrad.distributed.heartbeat import Heartbeat
from localgrad.distributed.patient import Patient, patiently
from localgrad.errors import LocalgradError

T = TypeVar("T")

NEVER_SENT = 1_000_000
"""Tag of a message that does not come."""
LOST_AFTER = 3.0
"""Seconds that a broken connection waits for the reason: the other end says it before it leaves."""


@final
class World:
    """This process among the others. ``names[r]`` says what process r trains, for messages.

    Use as a context: leaving it ends the heartbeat and the process group.
    """

    def __init__(self, address: Address, *, timeout: float, device: torch.device) -> None:
        self.rank, self.size = address.rank, address.size
        self.keeps_store = address.rank == 0 and not address.served
        self.timeout = timeout
        self.device = device
        self.names: Sequence[str] = [""] * self.size
        self.peers: frozenset[int] = frozenset(range(self.size)) - {self.rank}
        self.over = threading.Event()
        """Set when this process leaves after an error: threads that wait for work end."""
        self._channels: list[tuple[int, dist.ProcessGroup | None, threading.Thread | None]] = []
        client = connect(address, timeout)
        prefix = f"localgrad/{address.attempt}"
        self.store = PrefixStore(prefix, client)
        self._meet(address)
        # Connections of their own: a store answers one question at a time.
        self.beat = Heartbeat(PrefixStore(prefix, client.clone()), self.rank, self.peers, timeout, self)
        self.ask = Patient(self.store, self.check)
        self.beat.start()
        group = PrefixStore(f"{prefix}/group", client.clone())
        try:
            self.patiently(lambda: self._join(group), "process group")
        except BaseException as error:
            # Nobody leaves this context, which has not been entered: the others hear here that this process goes.
            if isinstance(error, LocalgradError) or not isinstance(error, Exception):
                self._give_up(error)
                raise
            reason = self._unreachable(address, error)
            self._give_up(reason)
            raise reason from error

    def _unreachable(self, address: Address, error: BaseException) -> LocalgradError:
        return LocalgradError(
            f"runtime distributed: rank {self.rank} and the others meet at {address.host}:{address.port}, but cannot "
            f"connect to each other: {first_line(error)}. Each machine must be reachable under its own host name; else "
            "name the network interface that is (GLOO_SOCKET_IFNAME, NCCL_SOCKET_IFNAME)."
        )

    def _join(self, store: Store) -> None:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if self.device.type == "cuda" else "gloo",
            store=store,
            rank=self.rank,
            world_size=self.size,
            # Who is gone is found by the heartbeat; a peer that lives may take as long as it needs.
            timeout=timedelta(days=7),
        )

    def patiently(self, call: Callable[[], T], name: str) -> T:
        """What a call returns that waits for all processes. Raises LocalgradError when one is gone meanwhile."""
        return patiently(call, self.check, name)

    def __enter__(self) -> "World":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if error is None:
            self._part()
        else:
            self._say(error)
            self._break()
        self.beat.stop()
        self.ask.end()
        if error is None:
            dist.destroy_process_group()
        elif not any(thread and thread.is_alive() for _, _, thread in self._channels):
            # In a thread: nothing may keep this process, which has said why it stops, from ending.
            ending = threading.Thread(target=dist.destroy_process_group, name="end", daemon=True)
            ending.start()
            ending.join(timeout=LOST_AFTER)

    def _say(self, error: BaseException) -> None:
        """Tell the others why this process stops, where somebody listens."""
        if not self.beat.alone:
            self.fail(str(error) or type(error).__name__)
            if self.keeps_store:
                time.sleep(4 * self.beat.interval)  # until the others have heard it

    def _give_up(self, error: BaseException) -> None:
        self._say(error)
        self.beat.stop()
        self.ask.end()

    def uses(self, peer: int, group: dist.ProcessGroup | None, thread: threading.Thread | None = None) -> None:
        """Remember a connection, and the thread that waits on it: an error here has to end both."""
        self._channels.append((peer, group, thread))

    def _break(self) -> None:
        """End the threads that wait on a connection: one that still waits while Python ends would crash it.

        gloo lets nobody cancel a receive, but one that times out closes all connections of its process group.
        """
        self.over.set()
        for peer, group in dict.fromkeys((peer, group) for peer, group, _ in self._channels):
            ending = threading.Thread(target=_close, args=(peer, group), name="close", daemon=True)
            ending.start()
            ending.join(timeout=LOST_AFTER)
            whole = group or dist.group.WORLD
            if self.device.type == "cuda" and whole is not None:
                with suppress(RuntimeError):
                    whole.abort()
        for _, _, thread in self._channels:
            if thread is not None:
                thread.join(timeout=LOST_AFTER)

    def _part(self) -> None:
        """Wait, where this process keeps the store, until the others need it no more."""
        self.ask.set(f"done/{self.rank}", "1")
        while self.keeps_store and self.beat.trouble is None:
            if all(self.ask.check([f"done/{rank}"]) for rank in range(self.size)):
                return
            time.sleep(0.01)

    def name(self, rank: int) -> str:
        """The process, and what it trains."""
        return f"rank {rank}" + (f" ({self.names[rank]})" if self.names[rank] else "")

    def _meet(self, address: Address) -> None:
        """Wait until all processes are there. Raises LocalgradError that names those that are not."""
        self.store.set(f"here/{self.rank}", "1")
        start = time.monotonic()
        while True:
            missing = [rank for rank in range(self.size) if not self.store.check([f"here/{rank}"])]
            if not missing:
                return
            if time.monotonic() - start > self.timeout:
                names = ", ".join(f"rank {rank}" for rank in missing)
                raise LocalgradError(
                    f"runtime distributed: {names} of {self.size} did not come to {address.host}:{address.port} within "
                    f"{self.timeout:g} s. Start {'it' if len(missing) == 1 else 'them'} with the same command, or give "
                    "a longer --timeout."
                )
            time.sleep(0.02)

    def agree(self, what: str, mine: object) -> list[Any]:
        """Tell all others plain data; returns what every process told, by rank. Everybody has to call it."""
        self.ask.set(f"{what}/{self.rank}", json.dumps(mine))
        told = []
        for rank in range(self.size):
            while not self.ask.check([f"{what}/{rank}"]):
                self.check()
                time.sleep(0.005)
            told.append(json.loads(self.ask.get(f"{what}/{rank}")))
        return told

    def tell(self, what: str, value: str) -> None:
        """Leave a word for all others."""
        self.ask.set(what, value)

    def told_number(self, what: str) -> int | None:
        """The number that a process has left there; None when there is none yet."""
        return int(self.ask.get(what)) if self.ask.check([what]) else None

    def reached(self, what: str, step: int, ranks: Sequence[int]) -> int | None:
        """Say that this process has done something for ``step``; the step that all ``ranks`` have done it for."""
        self.tell(f"{what}/{self.rank}", str(step))
        steps = [self.told_number(f"{what}/{rank}") for rank in ranks]
        known = [found for found in steps if found is not None]
        return min(known) if len(known) == len(steps) else None

    def fail(self, text: str) -> None:
        """Tell the others why this process stops; the first reason counts."""
        with suppress(Exception):
            self.ask.compare_set("failed", "", json.dumps([self.rank, text]))

    def check(self) -> None:
        """Raise LocalgradError when another process has failed or is gone."""
        self.beat.listen_for_silence()
        if self.beat.trouble is not None:
            raise LocalgradError(self.beat.trouble)

    def lost(self, rank: int, error: BaseException) -> LocalgradError:
        """What to say when the connection with ``rank`` broke: its own reason, if it left one."""
        start = time.monotonic()
        while time.monotonic() - start < LOST_AFTER:
            if self.beat.trouble is not None:
                return LocalgradError(self.beat.trouble)
            time.sleep(0.05)
        return LocalgradError(self.gone(rank, f"the connection broke: {first_line(error)}"))

    def gone(self, rank: int, how: str) -> str:
        """That a process ended or hangs, and what can be done."""
        return (
            f"{self.name(rank)} is gone: {how}. This run stops; its checkpoints are whole. torchrun --max-restarts 3 "
            "starts it again by itself; by hand, start all processes with `train --resume RUN`."
        )


def _close(peer: int, group: dist.ProcessGroup | None) -> None:
    with suppress(RuntimeError):  # the timeout, or a connection that is closed already
        never = dist.irecv(torch.empty(1), peer, group, NEVER_SENT)
        if never is not None:
            never.wait(timedelta(milliseconds=1))
