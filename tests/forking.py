"""Child processes forked from one that has imported torch: none of them spends seconds on imports."""

import multiprocessing.forkserver
import sys
from contextlib import chdir
from multiprocessing.context import ForkServerContext
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRELOADED = "tests.preload"


def forkserver() -> ForkServerContext:
    """The one server of this process. It starts with the first child, and has imported ``tests.preload``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", PRELOADED])
    # It finds ``tests`` from the folder where it starts, and is silent where it does not: a test may be in another one.
    with chdir(ROOT):
        multiprocessing.forkserver.ensure_running()
    return context


def check_preloaded() -> None:
    """In a child: whether it was forked from a server that has imported what takes seconds."""
    assert PRELOADED in sys.modules, f"the server of child processes could not import {PRELOADED}"
