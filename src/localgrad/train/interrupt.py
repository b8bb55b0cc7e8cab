"""SIGINT and SIGTERM as a question that the training loop asks between steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import final


@final
class Interrupt:
    """``signal`` is the number of the signal received, or None."""

    def __init__(self) -> None:
        self.signal: int | None = None


@contextmanager
def watch() -> Iterator[Interrupt]:
    """Catch SIGINT and SIGTERM inside the block; the handlers found are put back. A second signal acts as usual.

    Outside the main thread, where Python allows no handlers, nothing is caught.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    found = {number: signal.getsignal(number) for number in signals}

    def restore() -> None:
        for number, handler in found.items():
            signal.signal(number, handler)

    def note(number: int, _frame: FrameType | None) -> None:
        interrupt.signal = number
        restore()

    for number in signals:
        signal.signal(number, note)
    try:
        yield interrupt
    finally:
        restore()
