"""``--processes N``: the short form of torchrun on one machine."""

import logging
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
from localgrad.train.ranks.placing import asks_more, check_count, check_processes
from localgrad.train.record import RUN_FILE

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
    if not problems and asks_more(spec, check_count(run, spec, processes)):
        check_processes(run, spec, processes)
    if problems:
        raise RunError(problems)
    # As torchrun does: else every process takes all cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    _quiet()
    again = list(words)
    for left in reversed(range(RESTARTS + 1)):
        status, lost = _started(processes, again)
        if lost is None:
            return status
        if not left:
            break
        print(f"{lost}: all processes start again from the newest checkpoint ({left} more times).", file=sys.stderr)
        if not resume and run.out is not None and (run.out / RUN_FILE).exists():
            again = ["--resume", str(run.out)]
    raise LocalgradError(
        f"--processes: {lost}, as after each of {RESTARTS} new starts; not started again. The checkpoints in {run.out} "
        "are whole."
    )


def _started(processes: int, words: Sequence[str]) -> tuple[int, str | None]:
    """Exit status of the processes, and in words what was lost when the system or a person killed one of them."""
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=f"localgrad-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        # Started again here, and only after a loss: an error of the user would come again.
        max_restarts=0,
        monitor_interval=0.5,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "localgrad", "train", *words)
    except ChildFailedError as error:
        for rank, failure in sorted(error.failures.items()):
            # Those of the launcher, which ends the others, are none.
            if failure.exitcode < 0 and -failure.exitcode not in (signal.SIGTERM, signal.SIGINT):
                return 1, f"rank {rank} was ended by {signal.Signals(-failure.exitcode).name}"
        _, failure = error.get_first_failure()
        return (failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode), None
    except SignalException as stopped:
        return 128 + signal.Signals(stopped.sigval).value, None
    return 0, None


def _quiet() -> None:
    """Keep the launcher's own log to itself: the processes say what went wrong."""
    for name in tuple(logging.root.manager.loggerDict):
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
