"""Freed memory stays with the process, shown by the pages that later allocations ask the system for."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, threading
import torch
from localgrad import keep_freed_memory

if "keep" in sys.argv:
    assert keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(1 << 24)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

found = []

def work():
    found.extend(faults() for _ in range(8))

if "thread" in sys.argv:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
else:
    work()
print(sum(found[4:]))
"""


def pages(*words: str) -> int:
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone can be told")
def test_later_allocations_find_their_pages() -> None:
    assert pages("keep") < 1000
    assert pages("keep", "thread") < 1000
    assert pages() > 1000
