"""Calls that wait for other processes: they return, raise, or are left to hang when a process is gone."""

import threading
import time

import pytest

from localgrad.distributed.patient import PATIENCE, patiently
from localgrad.errors import LocalgradError


def nothing_wrong() -> None:
    """All live."""


def test_returns_what_the_call_returns() -> None:
    assert patiently(lambda: threading.current_thread().name, nothing_wrong, "group") == "group"
    assert patiently(lambda: None, nothing_wrong, "group") is None


def test_raises_what_the_call_raises() -> None:
    def call() -> None:
        raise RuntimeError("connection refused")

    with pytest.raises(RuntimeError, match=r"^connection refused$"):
        patiently(call, nothing_wrong, "group")


def test_asks_about_the_others_while_it_waits() -> None:
    never, asked = threading.Event(), list[float]()

    def check() -> None:
        asked.append(time.monotonic())
        if len(asked) == 2:
            raise LocalgradError("rank 1 is gone")

    try:
        start = time.monotonic()
        with pytest.raises(LocalgradError, match=r"^rank 1 is gone$"):
            patiently(never.wait, check, "group")
        assert time.monotonic() - start >= 2 * PATIENCE
        assert asked[1] - asked[0] >= 0.9 * PATIENCE
    finally:
        never.set()
