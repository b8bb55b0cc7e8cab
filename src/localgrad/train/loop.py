"""``train(run)``: check, load, build, then walk the epochs (``epochs.py``) in the run's folder."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from localgrad.errors import LocalgradError, RunError
from localgrad.facts import plain
from localgrad.rng import derive_seed, seeded
from localgrad.train.checkpoint import Progress, restore
from localgrad.train.epochs import Training
from localgrad.train.folder import claimed, folder_problems
from localgrad.train.frozen import frozen_conditions
from localgrad.train.interrupt import Interrupted, watch
from localgrad.train.newest import forget_newer, has_checkpoint, newest
from localgrad.train.progress import Reporter, Silent
from localgrad.train.ranks import train_ranks
from localgrad.train.record import write_run
from localgrad.train.run import Run
from localgrad.train.runtimes import DistributedSpec
from localgrad.train.setup import check_smallest_part, deterministic_kernels, load_images, make_loaders, make_runtime


@final
@dataclass(frozen=True)
class Result:
    """Outcome of ``train``: summaries of the last and the best epoch.

    ``interrupted`` names the signal that arrived while it ran, if one did; ``finished`` tells whether all epochs are
    done (a signal may arrive too late to stop anything). With many processes only the one that hosts the last unit
    knows ``last`` and ``best``; the others have None.
    """

    folder: Path
    last: dict[str, Any] | None
    best: dict[str, Any] | None
    finished: bool
    interrupted: str | None = None


def train(run: Run, *, resume: bool = False, reporter: Reporter | None = None) -> Result:
    """Train ``run`` in its folder ``run.out``, evaluating and saving after every epoch.

    ``resume`` continues from the folder's checkpoint, bit for bit; a finished run is returned as it is. SIGINT and
    SIGTERM save, also in the middle of an epoch, and return with ``interrupted`` set.

    Raises RunError with all problems found before any work, DataError for unreadable data, LocalgradError for a folder
    that another process trains in, an unfit checkpoint, or a full disk.
    """
    reporter = reporter or Silent()
    if isinstance(run.runtime, DistributedSpec):
        progress, signal = train_ranks(run, run.runtime, resume=resume, reporter=reporter)
        assert run.out is not None
        return Result(run.out, progress.last, progress.best, progress.finished, signal)
    saved = resume and run.out is not None and has_checkpoint(run.out)
    problems = [*run.problems(resumed=saved), *folder_problems(run.out, resume)]
    if problems:
        raise RunError(problems)
    assert run.out is not None
    folder, device = run.out, run.torch_device()
    loaders = make_loaders(run, load_images(run), device)
    samples = len(loaders.train.split)
    loop = make_runtime(run, device, len(loaders.train), initial=not saved)
    check_smallest_part(run, loop.net, samples)
    # Seeded: whatever a method draws outside a step is a function of the run, too.
    with claimed(folder, resume), deterministic_kernels(), seeded(derive_seed(run.seed, "train"), device):
        found = newest(folder) if resume else None  # asked again: nobody else can write one now
        forget_newer(folder, None if found is None else found.step)
        if found is not None:
            for line in found.passed_over:
                reporter.line(line)
            progress = restore(*found.read(), loop, plain(run.facts()), found.path)
            if progress.samples != samples:
                raise LocalgradError(
                    f"the training split has {samples} samples, it had {progress.samples} when {folder} was saved. "
                    "Resume with the same data, or start a new run with init_from (--init-from) to take the weights."
                )
        else:
            progress = Progress(samples=samples)
            write_run(folder, run, device, frozen_conditions(run, samples))
        with watch() as interrupt:
            training = Training(run, folder, loaders, loop, progress, reporter, interrupt)
            training.log.truncate(progress.metrics_bytes)
            try:
                training.run_epochs()
            except Interrupted:
                reporter.line(
                    f"{interrupt.name}: saved after {training.pace.position(progress.epoch, progress.batch)}. "
                    "Continue with:"
                )
                reporter.line("  " + resume_words(run, folder))
    return Result(folder, progress.last, progress.best, progress.finished, interrupt.name)


def resume_words(run: Run, folder: Path) -> str:
    """What to type to continue a run."""
    if run.origin is None:
        return "train(run, resume=True)"
    return shlex.join(["localgrad", "train", "--resume", str(folder)])
