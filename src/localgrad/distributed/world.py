"""The processes of a run: how they find each other, how they notice that one is gone, what they tell each other.

What is said here is control, a few bytes in torch.distributed's TCPStore: who is there, who has failed and why, whether
a signal asks to stop. Nothing of the training goes through it.
"""

import json
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, final

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

from localgrad.errors import LocalgradError

WORDS = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
NEVER_SENT = 1_000_000
"""Tag of a message that does not come."""
PATIENCE = 0.2
"""Seconds between two questions whether the others live."""
LOST_AFTER = 3.0
"""Seconds that a broken connection waits for the reason: the other end says it before it leaves."""


@final
@dataclass(frozen=True)
class Address:
    """Where this process stands among the others, as torchrun tells it in the environment."""

    rank: int
    size: int
    host: str
    port: int
    served: bool = False
    """Whether somebody else, torchrun's agent, keeps the store; else rank 0 does."""
    attempt: str = "0"
    """Which start of the processes this is: torchrun starts them again after a failure."""
    local_rank: int = 0

    @staticmethod
    def from_environment(words: Mapping[str, str]) -> "Address":
        """Raises LocalgradError when this process was not started by torchrun."""
        missing = [name for name in WORDS if name not in words]
        if missing:
            raise LocalgradError(
                f"runtime distributed: {', '.join(missing)} not found in the environment, so this process does not "
                "know the others. Start it with `torchrun --nproc-per-node N -m localgrad train ...`, give --processes "
                "N without torchrun, or train in this one process with --runtime sequential."
            )
        rank, size, port = (int(words[name]) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
        return Address(
            rank,
            size,
            words["MASTER_ADDR"],
            port,
            words.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            words.get("TORCHELASTIC_RESTART_COUNT", "0"),
            int(words.get("LOCAL_RANK", rank)),
        )


def restarted() -> bool:
    """Whether torchrun started this process again after a failure."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


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
        client = _connect(address, timeout)
        self.store = PrefixStore(f"localgrad/{address.attempt}", client)
        self._meet(address)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(
            backend,
            store=PrefixStore("group", self.store),
            rank=self.rank,
            world_size=self.size,
            # Who is gone is found by the heartbeat; a peer that lives may take as long as it needs.
            timeout=timedelta(days=7),
        )
        self.ask = Patient(self.store, self.check)
        # A connection of its own: a store answers one question at a time.
        self.beat = Heartbeat(PrefixStore(f"localgrad/{address.attempt}", client.clone()), self)
        self.beat.start()

    def __enter__(self) -> "World":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if error is None:
            self._part()
        else:
            if not self.beat.alone:
                self.fail(str(error) or type(error).__name__)
                if self.keeps_store:
                    time.sleep(4 * self.beat.interval)  # until the others have heard it
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


@final
class Patient:
    """Questions to a store, asked by a thread of its own: one that nobody answers would hold the training up forever.

    While it waits it calls ``check``, which raises when the run cannot go on.
    """

    def __init__(self, store: Store, check: Callable[[], None]) -> None:
        self.store, self.check_others = store, check
        self._questions: queue.Queue[tuple[Callable[[], Any], queue.Queue[tuple[bool, Any]]] | None] = queue.Queue()
        threading.Thread(target=self._run, name="questions", daemon=True).start()

    def set(self, key: str, value: str) -> None:
        """Leave a value."""
        self._ask(lambda: self.store.set(key, value))

    def get(self, key: str) -> bytes:
        """A value that is there."""
        found: bytes = self._ask(lambda: self.store.get(key))
        return found

    def check(self, keys: list[str]) -> bool:
        """Whether all are there."""
        return bool(self._ask(lambda: self.store.check(keys)))

    def compare_set(self, key: str, expected: str, value: str) -> None:
        """Leave a value where another, or none, is expected."""
        self._ask(lambda: self.store.compare_set(key, expected, value))

    def end(self) -> None:
        """Let the thread end."""
        self._questions.put(None)

    def _ask(self, question: Callable[[], Any]) -> Any:
        answers: queue.Queue[tuple[bool, Any]] = queue.Queue(1)
        self._questions.put((question, answers))
        while True:
            try:
                fine, value = answers.get(timeout=PATIENCE)
            except queue.Empty:
                self.check_others()
                continue
            if not fine:
                raise LocalgradError(f"nobody answers at the meeting point: {first_line(value)}") from value
            return value

    def _run(self) -> None:
        while (asked := self._questions.get()) is not None:
            question, answers = asked
            try:
                answers.put((True, question()))
            except BaseException as error:  # noqa: BLE001 -- raised by whoever asked
                answers.put((False, error))


@final
class Heartbeat:
    """A thread that says in the store that this process lives, and hears whether the others do.

    ``trouble`` is why the run cannot go on; ``stop_asked``: a signal reached one of the processes; ``alone``: nobody
    answers at the meeting point.
    """

    def __init__(self, store: Store, world: World) -> None:
        self.store = store
        self.world = world
        self.interval = min(0.25, world.timeout / 10)
        self.trouble: str | None = None
        self.alone = False
        self.stop_asked = threading.Event()
        self._ended = threading.Event()
        self._answered = time.monotonic()
        self._heard: dict[int, tuple[str, float]] = {}
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; others take it for a process that has finished."""
        self._ended.set()
        # It hangs where nobody answers.
        self._thread.join(timeout=0 if self.alone else 5)

    def _run(self) -> None:
        count = 0
        try:
            while not self._ended.wait(self.interval):
                count += 1
                self.store.set(f"beat/{self.world.rank}", str(count))
                self._listen()
                self._answered = time.monotonic()
            self.store.set(f"beat/{self.world.rank}", "ended")
        except Exception as error:  # noqa: BLE001 -- the store's client raises several kinds
            if not self._ended.is_set():
                self.alone = True
                self.trouble = self.world.gone(0, f"nobody answers at the meeting point ({first_line(error)})")

    def listen_for_silence(self) -> None:
        """Whether the meeting point itself hangs: called by the training, since this thread then hangs, too."""
        if self.trouble is None and time.monotonic() - self._answered > self.world.timeout + self.interval:
            self.alone = True
            how = f"nobody has answered at the meeting point for {self.world.timeout:g} s"
            self.trouble = self.world.gone(0, how)

    def _listen(self) -> None:
        if self.trouble is not None:
            return
        if self.store.check(["failed"]):
            rank, text = json.loads(self.store.get("failed"))
            if rank != self.world.rank:
                self.trouble = f"{self.world.name(rank)} stopped: {text}"
                return
        if self.store.check(["stop"]):
            self.stop_asked.set()
        now = time.monotonic()
        for rank in self.world.peers:
            key = f"beat/{rank}"
            beat = self.store.get(key).decode() if self.store.check([key]) else ""
            before, since = self._heard.get(rank, (None, now))
            self._heard[rank] = (beat, since if beat == before else now)
            if beat != "ended" and now - self._heard[rank][1] > self.world.timeout:
                self.trouble = self.world.gone(rank, f"no sign of life for {self.world.timeout:g} s")


def _close(peer: int, group: dist.ProcessGroup | None) -> None:
    with suppress(RuntimeError):  # the timeout, or a connection that is closed already
        never = dist.irecv(torch.empty(1), peer, group, NEVER_SENT)
        if never is not None:
            never.wait(timedelta(milliseconds=1))


def _connect(address: Address, timeout: float) -> TCPStore:
    keeps = address.rank == 0 and not address.served
    try:
        return TCPStore(
            address.host,
            address.port,
            is_master=keeps,
            timeout=timedelta(seconds=timeout),
            wait_for_workers=False,
        )
    except (RuntimeError, dist.DistError) as error:
        if keeps:
            why = "the port is in use" if "EADDRINUSE" in str(error) or "in use" in str(error) else first_line(error)
            raise LocalgradError(
                f"runtime distributed: rank 0 cannot listen at {address.host}:{address.port}: {why}. Give another "
                "port (torchrun --master-port N, or --standalone on one machine)."
            ) from error
        raise LocalgradError(
            f"runtime distributed: rank {address.rank} found nobody at {address.host}:{address.port} within "
            f"{timeout:g} s: rank 0 did not come ({first_line(error)}). Check address and port, or start rank 0."
        ) from error


def first_line(error: BaseException) -> str:
    """The beginning of an error's text, without addresses of C++ code."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
