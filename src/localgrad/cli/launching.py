"""``--processes N``: the short form of torchrun on one machine."""

import os
import signal
import sys
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from localgrad.errors import LocalgradError, RunError
from localgrad.train import DistributedSpec, Run
from localgrad.train.folder import folder_problems
from localgrad.train.ranks.placing import check_processes

RESTARTS = 3
"""How often all processes start again after one was lost."""


def processes_of(words: Sequence[str]) -> tuple[int | None, list[str]]:
    """The number after ``--processes``, and the words without it, with ``--runtime distributed`` in its place.

    Raises LocalgradError when it is no number from 1 on.
    """
    rest: list[str] = []
    found: str | None = None
    given = iter(words)
    for word in given:
        name, equals, value = word.partition("=")
        if name == "--processes":
            found = value if equals else next(given, "")
        else:
            rest.append(word)
    if found is None:
        return None, rest
    if not found.isdigit() or int(found) < 1:
        raise LocalgradError(f"--processes: expected how many processes to start, from 1 on, got {found!r}.")
    if not any(word.partition("=")[0] == "--runtime" for word in rest):
        rest += ["--runtime", "distributed"]
    return int(found), rest


def launch(processes: int, run: Run, resume: bool, words: Sequence[str]) -> int:
    """Start ``localgrad train words`` in so many processes of this machine; the exit status of the first that failed.

    Raises RunError for everything that can be seen before they start.
    """
    spec = run.runtime
    assert isinstance(spec, DistributedSpec)
    problems = [*run.problems(resumed=resume), *folder_problems(run.out, resume)]
    if not problems:
        check_processes(run, spec, processes)
    if problems:
        raise RunError(problems)
    # As torchrun does: else every process takes all cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=f"localgrad-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=RESTARTS,
        monitor_interval=0.5,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "localgrad", "train", *words)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 1
    except SignalException as stopped:
        return 128 + signal.Signals(stopped.sigval).value
    return 0
