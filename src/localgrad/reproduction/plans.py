"""The plan of a short budget: a few steps of every training are timed, then data, networks and epochs are chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, final

from localgrad.data import DataError
from localgrad.errors import LocalgradError, RunError
from localgrad.reproduction.figures import Figure, Training, small_table
from localgrad.reproduction.measuring import measure
from localgrad.reproduction.planning import (
    CIFAR,
    DIGITS,
    LEAST_EPOCHS,
    SHARE,
    Candidate,
    Walk,
    fitting_epochs,
    table_seconds,
)
from localgrad.reproduction.request import Request
from localgrad.reproduction.small import SmallSetting, found_data, small_data
from localgrad.train.progress import Reporter


@final
@dataclass(frozen=True)
class Plan:
    """What a table is scaled down to, and the estimate: ``seconds`` of one run of every training, their ``total``.

    ``steps`` are the measured seconds of a step. ``refused`` are trainings that could not be measured, with the reason.
    """

    setting: SmallSetting
    seconds: Mapping[str, float]
    steps: Mapping[str, float]
    total: float
    refused: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The data in a few words."""
        return (f"small network on {self.setting.data}",)

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self) | {"notes": list(self.notes)}


def plan_from(data: Mapping[str, Any] | None) -> Plan | None:
    """A plan as ``plain`` gave it; None when there is none yet. Raises LocalgradError for anything else."""
    if not data:
        return None
    try:
        return Plan(
            SmallSetting(**data["setting"]),
            dict(data["seconds"]),
            dict(data["steps"]),
            float(data["total"]),
            dict(data["refused"]),
            tuple(data["notes"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LocalgradError(
            f"reproduction.json: the plan cannot be read ({type(error).__name__}: {error}). Start in another folder."
        ) from error


def make_plan(figures: Sequence[Figure], request: Request, start: float, reporter: Reporter) -> Plan:
    """Measure and choose. ``start`` is when the time began to run.

    Raises RunError for data that cannot be read: nothing was trained.
    """
    kind, notes = found_data(request.data_root), list[str]()
    if request.data_root is not None and kind == "digits":
        notes.append(f"no CIFAR-10 under {request.data_root}: the digits instead")
    candidates = DIGITS if kind == "digits" else CIFAR
    try:
        problems = list(small_data(SmallSetting(kind, 0, 0, 1), request.data_root).problems())
    except DataError as error:
        problems = [str(error)]
    if problems:
        raise RunError(problems)
    walks: dict[str, Walk] = {}
    refused: dict[str, str] = {}
    epochs, chosen, measured = 0, candidates[-1], None
    for candidate in candidates:
        setting = SmallSetting(kind, candidate.level, candidate.images, 1)
        table = small_table(figures, setting, request.seeds, request.data_root)
        if measured is None or measured.level != candidate.level or measured.images != candidate.images:
            reporter.line(f"measuring a few steps of {len(table.trainings)} trainings ({told(candidate)})")
            walks, refused = _measured(table.trainings, len(request.seeds), reporter)
            measured = candidate
        seconds = SHARE * 60 * request.minutes - (perf_counter() - start)
        epochs, chosen = fitting_epochs(walks, seconds), candidate
        if epochs >= LEAST_EPOCHS or not walks or seconds <= 0:
            break
    epochs = max(1, epochs)
    setting = SmallSetting(kind, chosen.level, chosen.images, epochs)
    total = table_seconds(walks, epochs)
    plan = Plan(
        setting,
        {name: walk.seconds(epochs) / walk.seeds for name, walk in walks.items()},
        {name: walk.pace.step for name, walk in walks.items()},
        total,
        refused,
        tuple(notes),
    )
    for note in notes:
        reporter.line(note)
    reporter.line(
        f"plan: {len(walks)} trainings of {epochs} epochs, {len(request.seeds)} seed(s), {told(chosen)}: about "
        f"{total / 60:.1f} of {request.minutes:g} minutes"
    )
    return plan


def told(candidate: Candidate) -> str:
    """A candidate in words."""
    images = "all training images" if not candidate.images else f"{candidate.images} training images"
    return f"networks of level {candidate.level}, {images}"


def _measured(trainings: Sequence[Training], seeds: int, reporter: Reporter) -> tuple[dict[str, Walk], dict[str, str]]:
    walks: dict[str, Walk] = {}
    refused: dict[str, str] = {}
    for training in trainings:
        try:
            walks |= measure({training.name: training.runs[0]}, seeds, reporter.line)
        except LocalgradError as error:
            refused[training.name] = f"not in the short budget: {error}"
    return walks, refused
