"""Calls that may never return, made by threads, so that the training can ask meanwhile whether the others live."""

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar, final

from torch._C._distributed_c10d import Store

from localgrad.distributed.address import first_line
from localgrad.errors import LocalgradError

T = TypeVar("T")

PATIENCE = 0.2
"""Seconds between two questions whether the others live."""


def patiently(call: Callable[[], T], check: Callable[[], None], name: str) -> T:
    """What ``call`` returns; while it lasts, ``check`` raises when the run cannot go on.

    torch.distributed makes process groups in calls that wait for all others, dead ones included. The thread that hangs
    in one keeps no process from ending.
    """
    answers: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(1)

    def run() -> None:
        try:
            answers.put((call(), None))
        except BaseException as error:  # noqa: BLE001 -- raised by whoever waits
            answers.put((None, error))

    threading.Thread(target=run, name=name, daemon=True).start()
    while True:
        try:
            found, error = answers.get(timeout=PATIENCE)
        except queue.Empty:
            check()
            continue
        if error is not None:
            raise error
        value: T = found
        return value


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
