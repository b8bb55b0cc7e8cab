"""Pair selection of DGSSL-LLM as data: where the thresholds come from, and the similarity that they apply to.

The thesis reads its thresholds from a pretrained SimCLR. Running quantiles and the teacher need none, which it names as
future work.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal, final, get_args

from localgrad.errors import LocalgradError, nearest
from localgrad.facts import Plain
from localgrad.losses import PairSimilarity
from localgrad.methods.calibration import Calibration
from localgrad.spec import Backbone

Difficulty = Literal["increasing", "decreasing"]
"""Whether the last module trains on all pairs and earlier ones on easier ones, or the other way round (table 4.3)."""


@final
@dataclass(frozen=True)
class Calibrated:
    """Thresholds that keep the sample ratios under a pretrained network: ``read_calibration(FILE)`` (the thesis)."""

    calibration: Calibration


@final
@dataclass(frozen=True)
class Running:
    """Thresholds that keep the sample ratios of every unit's own similarities: moving averages of batch quantiles.

    ``momentum`` is the share of itself that a threshold keeps in every step. Part of the unit's state.
    """

    momentum: float = 0.9

    def __post_init__(self) -> None:
        if type(self.momentum) not in (int, float) or not 0 <= self.momentum < 1:
            raise LocalgradError(f"Running: momentum must be a number in [0, 1), got {self.momentum!r}.")


@final
@dataclass(frozen=True)
class Given:
    """One threshold per module: positive pairs of at least ``alphas[j]``, negative pairs of at most ``betas[j]``."""

    alphas: tuple[float, ...]
    betas: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("alphas", "betas"):
            values = getattr(self, name)
            numbers = isinstance(values, tuple) and all(type(v) in (int, float) and isfinite(v) for v in values)
            if not numbers or not values:
                raise LocalgradError(f"Given: {name} must be numbers, one per module, got {values!r}.")
        if len(self.alphas) != len(self.betas):
            raise LocalgradError(
                f"Given: expected as many alphas as betas, one per module, got {len(self.alphas)} and "
                f"{len(self.betas)}."
            )


Thresholds = Calibrated | Running | Given


@final
@dataclass(frozen=True)
class PairSelection:
    """Which pairs a module learns from: easy ones, by similarity.

    ``thresholds`` says where a module's two thresholds come from, ``similarity`` what is compared with them: the
    unit's "own" features (algorithm 5), those of a "teacher", a moving average of the unit that keeps ``teacher_rate``
    of itself in every step, or those of a "pretrained" network on the same views, which is the run in the folder
    ``pretrained``. ``positive_ratio`` and ``negative_ratio`` are the sample ratios: of K modules the j-th, from 1,
    keeps a share ratio ** (K - j) of its pairs, with ``difficulty`` "decreasing" ratio ** (j - 1); at a share of 1
    there is no selection. They say nothing with thresholds that are Given. ``negatives`` False: positive pairs alone
    are selected (table 4.4). ``keep_positive`` False takes the positive out of the denominator as algorithm 7 is
    printed. Raises LocalgradError for a ratio outside (0, 1] and for settings that do not go together.
    """

    thresholds: Thresholds = Running()
    positive_ratio: float = 0.95
    negative_ratio: float = 0.95
    difficulty: Difficulty = "increasing"
    similarity: PairSimilarity = "own"
    teacher_rate: float = 0.99
    pretrained: Path | None = None
    negatives: bool = True
    keep_positive: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.thresholds, Calibrated | Running | Given):
            raise LocalgradError(
                f"PairSelection: thresholds must be Calibrated(...), Running() or Given(...), got {self.thresholds!r}."
            )
        for name in ("positive_ratio", "negative_ratio"):
            check_ratio(name, getattr(self, name))
        for name, words in (("difficulty", get_args(Difficulty)), ("similarity", get_args(PairSimilarity))):
            word = getattr(self, name)
            if word not in words:
                raise LocalgradError(f"PairSelection: {name} {word!r} is unknown. {nearest(str(word), words)}")
        if type(self.teacher_rate) not in (int, float) or not 0 <= self.teacher_rate < 1:
            raise LocalgradError(f"PairSelection: teacher_rate must be a number in [0, 1), got {self.teacher_rate!r}.")
        for name in ("negatives", "keep_positive"):
            if type(getattr(self, name)) is not bool:
                raise LocalgradError(f"PairSelection: {name} must be True or False, got {getattr(self, name)!r}.")
        if (self.similarity == "pretrained") != (self.pretrained is not None):
            raise LocalgradError(
                f"PairSelection: similarity={self.similarity!r} with pretrained={self.pretrained}: the similarity of "
                "a pretrained network is that of the run in the folder `pretrained`. Give both or neither."
            )

    def ratios(self, unit: int, units: int) -> tuple[float, float]:
        """The shares of positive and negative pairs that a unit, from 0, keeps."""
        return (
            sample_ratio(self.positive_ratio, unit, units, self.difficulty),
            sample_ratio(self.negative_ratio, unit, units, self.difficulty) if self.negatives else 1.0,
        )

    def selects(self, unit: int, units: int) -> bool:
        """Whether a unit leaves any pair out."""
        return isinstance(self.thresholds, Given) or self.ratios(unit, units) != (1.0, 1.0)

    def fixed(self, unit: int, units: int) -> tuple[float, float] | None:
        """A unit's (alpha, beta); None where they follow its similarities.

        A share of 1 has a threshold that no cosine misses: all pairs, also those with a negative cosine (methods.md
        12, row 34). Raises LocalgradError for Given thresholds of another number of units.
        """
        match self.thresholds:
            case Running():
                return None
            case Given(alphas, betas):
                if len(alphas) != units:
                    raise LocalgradError(
                        f"Given: there are thresholds for {len(alphas)} modules, the network is cut into {units}. Give "
                        "one alpha and one beta per module."
                    )
                return alphas[unit], betas[unit]
            case Calibrated(calibration):
                positive, negative = self.ratios(unit, units)
                alpha = ALL_ABOVE if positive == 1 else calibration.alpha(positive)
                return alpha, ALL_BELOW if negative == 1 else calibration.beta(negative)

    def check_network(self, backbone: Backbone) -> None:
        """Raise LocalgradError when the thresholds are those of another network."""
        if isinstance(self.thresholds, Calibrated):
            self.thresholds.calibration.check_network(backbone)

    def view_problems(self, views: Plain, data: str) -> Iterator[str]:
        """Whether the thresholds are those of another augmentation or data set."""
        if isinstance(self.thresholds, Calibrated):
            yield from self.thresholds.calibration.view_problems(views, data)


ALL_ABOVE, ALL_BELOW = -2.0, 2.0
"""Thresholds beyond every cosine, and what rounding makes of it."""


def check_ratio(name: str, ratio: object) -> None:
    """Raise LocalgradError unless this is a share of pairs."""
    if type(ratio) not in (int, float) or not 0 < ratio <= 1:  # type: ignore[operator]
        raise LocalgradError(
            f"PairSelection: {name} is the share of pairs that a module keeps, a number above 0 and up to 1, got "
            f"{ratio!r}. The thesis has 0.81 to 0.97."
        )


def sample_ratio(ratio: float, unit: int, units: int, difficulty: Difficulty) -> float:
    """The share of pairs that ``unit``, from 0, of ``units`` keeps (thesis, section 4.3.3; it counts from 1)."""
    exponent: int = units - 1 - unit if difficulty == "increasing" else unit
    return float(ratio**exponent)
