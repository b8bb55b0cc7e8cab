"""The C library's heap: whether memory that was freed stays with the process.

A training step on the CPU allocates and frees the same large tensors again and again. glibc gives large pieces back to
the system when they are freed, and the next step pays for every page again: a fifth of a step of cascades (MLAAN), a
tenth of others (``benchmarks/cascade_time.py``, with and without ``--keep-freed-memory``).
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Let the process keep freed memory for its next allocations, from now on; whether that could be arranged.

    Results do not change, and neither does the most memory that the process ever holds, only that it keeps it. glibc
    (Linux) alone can be told; elsewhere nothing happens and the answer is False. Tensors on a GPU are not concerned.

    Threads that start later share the heap of the first one (``Sequential(workers=N)``): heaps of their own are small
    and give pages back whatever the thresholds are. A thread that has ended before may have left such a heap to the
    next one, so call it early.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # Both thresholds, or neither has the effect: pieces above the one go back when freed, above the other the end.
    wanted = {_MMAP_THRESHOLD: _BYTES, _TRIM_THRESHOLD: _BYTES, _ARENA_MAX: 1}
    return all(mallopt(ctypes.c_int(which), ctypes.c_int(value)) == 1 for which, value in wanted.items())
