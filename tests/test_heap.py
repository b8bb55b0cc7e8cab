"""Freed memory stays with the process, shown by the pages that later allocations ask the system for."""

import subprocess
import sys

import pytest

from localgrad import heap

SCRIPT = """
import resource, runpy, statistics, sys, threading

found = []

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * (1 << 26)  # 64 MiB
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

def work():
    for _ in range(8):
        faults()

if "keep" in sys.argv:
    assert runpy.run_path(sys.argv[1])["keep_freed_memory"]()
if "thread" in sys.argv:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
else:
    work()
# Now and then something small comes to lie in a piece that was freed, and one allocation needs new pages.
print(int(statistics.median(found)))
"""


def pages(*words: str) -> int:
    """What the median of allocations asks for, in a process that has no threads yet."""
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(heap.__file__), *words], capture_output=True, text=True, check=True
    )
    return int(told.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone can be told")
@pytest.mark.parametrize("where", [(), ("thread",)], ids=["main", "thread"])
def test_later_allocations_find_their_pages(where: tuple[str, ...]) -> None:
    assert pages(*where) > 10_000 and pages("keep", *where) < 100
