"""Calibration: how similar a pretrained network finds the pairs of views, as numbers that thresholds are read from."""

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from localgrad.errors import LocalgradError
from localgrad.facts import Plain, differences, plain
from localgrad.spec import Backbone

FORMAT = "localgrad calibration 1"
POINTS = 201
"""Quantiles that are kept, at 0, 0.5, ..., 100 %; between them thresholds are interpolated."""


@final
@dataclass(frozen=True)
class Calibration:
    """Quantiles of the cosines of positive and of negative pairs under a network that was trained as a whole (SimCLR).

    ``positives`` and ``negatives`` are POINTS numbers each, rising, at equal shares of the pairs. ``network``,
    ``views`` and ``data`` say as JSON text which network, augmentation and data set they were found with; ``run`` is
    the folder it came from and ``pairs`` how many positive and negative pairs were looked at. ``localgrad calibrate``
    writes one. Raises LocalgradError for anything that cannot be quantiles.
    """

    positives: tuple[float, ...]
    negatives: tuple[float, ...]
    network: str
    views: str
    data: str
    run: str = ""
    pairs: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        for name in ("positives", "negatives"):
            values = getattr(self, name)
            if len(values) != POINTS or sorted(values) != list(values) or not all(-1 <= v <= 1 for v in values):
                raise LocalgradError(
                    f"calibration: {name} must be {POINTS} rising cosines in [-1, 1], got {len(values)} numbers. Make "
                    "the file again with localgrad calibrate."
                )

    def alpha(self, share: float) -> float:
        """The similarity above which this share of the positive pairs lies."""
        return quantile(self.positives, 1 - share)

    def beta(self, share: float) -> float:
        """The similarity below which this share of the negative pairs lies."""
        return quantile(self.negatives, share)

    def share_above(self, similarity: float) -> float:
        """The share of the positive pairs above a similarity, to the nearest point."""
        return 1 - bisect_left(self.positives, similarity) / (POINTS - 1)

    def check_network(self, backbone: Backbone) -> None:
        """Raise LocalgradError when this was found with another network: says both."""
        found = json.loads(self.network)
        if found != plain(backbone):
            raise LocalgradError(
                f"calibration of another network: {self.run or 'it'} was made with {named(found)}, this network is "
                f"{named(plain(backbone))}. Train a SimCLR of this network, and calibrate that run."
            )

    def view_problems(self, views: Plain, data: str) -> Iterator[str]:
        """Whether views or data differ from those that this was found with: says both."""
        for name, told, own in (("augmentation", self.views, views), ("data set", self.data, data)):
            if lines := list(differences(json.loads(told), own)):
                yield (
                    f"calibration of another {name}: {self.run or 'it'} was made with {told}, this run has "
                    f"{json.dumps(own)} ({'; '.join(lines)}). Calibrate a run with the same {name}."
                )

    def to_json(self) -> str:
        """The content of a calibration's file."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)


def quantile(points: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of the pairs lies, linear between the points."""
    place = share * (len(points) - 1)
    low = min(int(place), len(points) - 2)
    return points[low] + (place - low) * (points[low + 1] - points[low])


def named(facts: Mapping[str, Any] | Plain) -> str:
    """A network's facts as a person reads them: ``cifar_resnet(layers=14, image=[1, 8, 8])``."""
    assert isinstance(facts, Mapping)
    rest = {key: value for key, value in facts.items() if key not in ("kind", "name", "constructor")}
    return f"{facts.get('constructor') or facts.get('name')}({', '.join(f'{k}={v}' for k, v in rest.items())})"


def read_calibration(path: str | Path) -> Calibration:
    """What ``localgrad calibrate`` wrote. Raises LocalgradError for a file that is missing, damaged or another one."""
    path = Path(path)
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise LocalgradError(
            f"calibration {path} cannot be read: {error.strerror or error}. Make it with localgrad calibrate RUN -o "
            f"{path}."
        ) from error
    except ValueError as error:
        raise LocalgradError(f"calibration {path} is damaged: it is no whole JSON document. Make it again.") from error
    if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
        raise LocalgradError(f"{path} is no calibration: expected the format {FORMAT!r}.")
    try:
        numbers = {name: tuple(map(float, document.pop(name))) for name in ("positives", "negatives")}
        pairs = tuple(map(int, document.pop("pairs")))
        texts = {name: str(document.pop(name)) for name in ("network", "views", "data", "run")}
        for name in ("network", "views", "data"):
            json.loads(texts[name])
    except (KeyError, TypeError, ValueError) as error:
        raise LocalgradError(f"calibration {path} is incomplete ({type(error).__name__}: {error}).") from error
    return Calibration(**numbers, **texts, pairs=pairs)  # type: ignore[arg-type]
