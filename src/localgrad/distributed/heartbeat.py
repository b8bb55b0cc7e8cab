"""How processes notice that one of them has failed, is gone or hangs."""

import json
import threading
import time
from collections.abc import Collection
from typing import Protocol, final

from torch._C._distributed_c10d import Store

from localgrad.distributed.address import first_line


class Told(Protocol):
    """Who has words for what happened to a process."""

    def name(self, rank: int) -> str:
        """The process."""
        ...

    def gone(self, rank: int, how: str) -> str:
        """That it ended or hangs, and what can be done."""
        ...


@final
class Heartbeat:
    """A thread that says in the store that this process lives, and hears whether the others do.

    ``trouble`` is why the run cannot go on; ``stop_asked``: a signal reached one of the processes; ``alone``: nobody
    answers at the meeting point.
    """

    def __init__(self, store: Store, rank: int, peers: Collection[int], timeout: float, told: Told) -> None:
        self.store = store
        self.rank, self.peers, self.timeout = rank, peers, timeout
        self.told = told
        self.interval = min(0.25, timeout / 10)
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
                self.store.set(f"beat/{self.rank}", str(count))
                self._listen()
                self._answered = time.monotonic()
            self.store.set(f"beat/{self.rank}", "ended")
        except Exception as error:  # noqa: BLE001 -- the store's client raises several kinds
            if not self._ended.is_set():
                self.alone = True
                self.trouble = self.told.gone(0, f"nobody answers at the meeting point ({first_line(error)})")

    def listen_for_silence(self) -> None:
        """Whether the meeting point itself hangs: called by the training, since this thread then hangs, too."""
        if self.trouble is None and time.monotonic() - self._answered > self.timeout + self.interval:
            self.alone = True
            how = f"nobody has answered at the meeting point for {self.timeout:g} s"
            self.trouble = self.told.gone(0, how)

    def _listen(self) -> None:
        if self.trouble is not None:
            return
        if self.store.check(["failed"]):
            rank, text = json.loads(self.store.get("failed"))
            if rank != self.rank:
                self.trouble = f"{self.told.name(rank)} stopped: {text}"
                return
        if self.store.check(["stop"]):
            self.stop_asked.set()
        now = time.monotonic()
        for rank in self.peers:
            key = f"beat/{rank}"
            beat = self.store.get(key).decode() if self.store.check([key]) else ""
            before, since = self._heard.get(rank, (None, now))
            self._heard[rank] = (beat, since if beat == before else now)
            if beat != "ended" and now - self._heard[rank][1] > self.timeout:
                self.trouble = self.told.gone(rank, f"no sign of life for {self.timeout:g} s")
