"""Freed memory stays with the process, shown by the pages that later allocations ask the system for."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, statistics, threading
import torch
from localgrad import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(1 << 24)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def work(found):
    found.extend(faults() for _ in range(8))

before, after, threaded = [], [], []
work(before)
assert keep_freed_memory()
work(after)
thread = threading.Thread(target=work, args=(threaded,))
thread.start()
thread.join()
# The median: now and then something small comes to lie in a piece that was freed, and one allocation needs new pages.
print(*(int(statistics.median(found)) for found in (before, after, threaded)))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone can be told")
def test_later_allocations_find_their_pages() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    before, after, threaded = map(int, done.stdout.split())
    assert max(after, threaded) < 100 and before > 10_000
