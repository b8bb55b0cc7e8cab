"""The plan of a short budget: a few steps of every training are timed, then data, networks and epochs are chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, final

from localgrad.data import DataError
from localgrad.errors import LocalgradError, RunError
from localgrad.reproduction.figures import Figure, small_table
from localgrad.reproduction.measuring import measure
from localgrad.reproduction.planning import (
    CIFAR,
    DIGITS,
    SHARE,
    Candidate,
    Walk,
    choose,
    table_seconds,
)
from localgrad.reproduction.request import Request
from localgrad.reproduction.small import SmallData, SmallSetting, found_data, small_data
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

    @property
    def words(self) -> tuple[str, ...]:
        """The data in a few words."""
        return (f"small network on {self.setting.data}",)

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


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
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LocalgradError(
            f"reproduction.json: the plan cannot be read ({type(error).__name__}: {error}). Start in another folder."
        ) from error


def check_data(request: Request) -> None:
    """Raise RunError for data that is not there or cannot be read."""
    try:
        problems = list(small_data(SmallSetting(found_data(request.data_root), 0, 0, 1), request.data_root).problems())
    except DataError as error:
        problems = [str(error)]
    if problems:
        raise RunError(problems)


def make_plan(figures: Sequence[Figure], request: Request, start: float, reporter: Reporter) -> Plan:
    """Measure and choose. ``start`` is when the time began to run; ``check_data`` was asked before."""
    kind = found_data(request.data_root)
    candidates = DIGITS if kind == "digits" else CIFAR
    measured = candidates[0]
    walks, refused = _measured(figures, kind, measured, request, reporter)
    chosen, epochs = choose(walks, measured, candidates, left(request, start))
    if chosen.level != measured.level:
        # What another level takes was a guess; now it is measured.
        measured = chosen
        walks, refused = _measured(figures, kind, measured, request, reporter)
        rest = candidates[candidates.index(chosen) :]
        chosen, epochs = choose(walks, measured, rest, left(request, start))
    walks = {name: walk.at(chosen, measured) for name, walk in walks.items()}
    epochs = max(1, epochs)
    setting = SmallSetting(kind, chosen.level, chosen.images, epochs)
    total = table_seconds(walks, epochs)
    plan = Plan(
        setting,
        {name: walk.seconds(epochs) / walk.seeds for name, walk in walks.items()},
        {name: walk.pace.step for name, walk in walks.items()},
        total,
        refused,
    )
    if not walks:
        return plan
    reporter.line(
        f"plan: {len(walks)} trainings of {counted(epochs, 'epoch')} for {counted(len(request.seeds), 'seed')}, "
        f"{told(chosen)}: about {total / 60:.1f} of {request.minutes:g} minutes"
    )
    return plan


def counted(count: int, what: str) -> str:
    """``1 epoch``, ``3 epochs``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def told(candidate: Candidate) -> str:
    """A candidate in words."""
    images = "all training images" if not candidate.images else f"{candidate.images} training images"
    return f"networks of level {candidate.level}, {images}"


def left(request: Request, start: float) -> float:
    """Seconds that may be planned with."""
    return SHARE * 60 * request.minutes - (perf_counter() - start)


def _measured(
    figures: Sequence[Figure], kind: SmallData, at: Candidate, request: Request, reporter: Reporter
) -> tuple[dict[str, Walk], dict[str, str]]:
    walks: dict[str, Walk] = {}
    table = small_table(figures, SmallSetting(kind, at.level, at.images, 1), request.seeds, request.data_root)
    refused: dict[str, str] = {}
    if table.trainings:
        reporter.line(f"measuring a few steps of {len(table.trainings)} trainings ({told(at)})")
    for training in table.trainings:
        try:
            walks |= measure({training.name: training.runs[0]}, len(request.seeds), reporter.line)
        except LocalgradError as error:
            refused[training.name] = f"not in the short budget: {error}"
    return walks, refused
