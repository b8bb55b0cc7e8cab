"""Child processes forked from one that has imported torch: none of them spends seconds on imports."""

import multiprocessing
from multiprocessing.context import ForkServerContext


def forkserver() -> ForkServerContext:
    """The one server of this process. It starts with the first child, and has imported ``tests.preload``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "tests.preload"])
    return context
