"""SIGINT and SIGTERM as a question that the training loop asks between batches."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import final


@final
class Interrupted(Exception):
    """A signal arrived; everything is saved."""


@final
class Interrupt:
    """``signal`` is the number of the signal received, or None."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def name(self) -> str | None:
        """The signal's name, such as SIGINT; None when there was none."""
        return None if self.signal is None else signal.Signals(self.signal).name


@contextmanager
def watch() -> Iterator[Interrupt]:
    """Catch SIGINT and SIGTERM inside the block; the handlers found are put back. A second signal acts as usual.

    A signal that is ignored, as under nohup, stays ignored. Outside the main thread, where Python allows no handlers,
    nothing is caught.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    found = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}

    def restore() -> None:
        for number, handler in found.items():
            signal.signal(number, handler)

    def note(number: int, _frame: FrameType | None) -> None:
        interrupt.signal = number
        restore()

    for number in found:
        signal.signal(number, note)
    try:
        yield interrupt
    finally:
        restore()
