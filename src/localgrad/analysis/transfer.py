"""A trained network tested on another data set without training: the network, every unit's own head, the ensembles.

Legend: B batch, K classes of the network, P those of them that compete.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from localgrad.data import Batches
from localgrad.data.class_maps import ClassMap
from localgrad.ensemble import EnsembleMode
from localgrad.errors import LocalgradError
from localgrad.network import LocalNetwork
from localgrad.unit import forward_units
from localgrad.update import Precision


@final
@dataclass(frozen=True)
class Way:
    """A way to judge logits on labels of another set.

    ``compete`` are the network's classes whose logits take part; ``answers[label]`` is the place, among them, of the
    right one. None: images of this label are left out.
    """

    compete: tuple[int, ...]
    answers: tuple[int | None, ...]


def all_logits(classes: ClassMap) -> Way:
    """All of the network's classes compete, as they do in its plain ``forward``: to name an unshared one is wrong."""
    return Way(tuple(range(len(classes.source))), classes.partners)


def mapped_logits(classes: ClassMap) -> Way:
    """Only classes that both sets have compete: the network is told which classes there are."""
    compete = sorted(partner for partner in classes.partners if partner is not None)
    answers = tuple(None if partner is None else compete.index(partner) for partner in classes.partners)
    return Way(tuple(compete), answers)


def raw_labels(classes: ClassMap) -> Way:
    """Labels are compared as numbers, whatever they mean. Raises LocalgradError for different numbers of classes."""
    count = len(classes.source)
    if len(classes.target) != count:
        raise LocalgradError(
            f"raw labels: expected as many classes in both sets, got {count} of the network and {len(classes.target)} "
            "of the other set."
        )
    return Way(tuple(range(count)), tuple(range(count)))


@final
@dataclass(frozen=True)
class Judged:
    """Figures in percent of ``samples`` images; ``loss`` is the mean cross-entropy in nats over what competes.

    ``units`` is the top-1 of every unit's own head, by its index; ``ensemble`` that of both ensembles of the heads,
    where more than one classifies. ``top5`` counts the five best classes, or all when fewer compete.
    """

    top1: float
    top5: float
    loss: float
    samples: int
    units: dict[int, float]
    ensemble: dict[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, object]:
        """As plain data."""
        more = {"ensemble": self.ensemble} if self.ensemble else {}
        units = {str(unit): value for unit, value in self.units.items()}
        return {"top1": self.top1, "top5": self.top5, "loss": self.loss, "n": self.samples, "units": units, **more}


@torch.inference_mode()
def judge(
    net: LocalNetwork, batches: Batches, ways: Mapping[str, Way], *, precision: Precision = Precision.FLOAT32
) -> dict[str, Judged]:
    """One pass over ``batches`` in evaluation mode, judged in every way; the mode found is restored.

    Raises LocalgradError for a network without a classifier, and where a way leaves no image.
    """
    if not net.classifies:
        raise LocalgradError(f"judge: {net.backbone.name} learnt without labels and ends in features: probe it.")
    device = next(net.parameters()).device
    counts = {name: _Counts(net, way, device) for name, way in ways.items()}
    training = net.training
    net.eval()
    try:
        for batch in batches.epoch(0):
            assert batch.y is not None  # every split has labels
            with precision.autocast(device):
                heads = [net.class_logits(*seen) for seen in forward_units(net.unit_list(), batch.x)]
            for own in counts.values():
                own.add(heads, batch.y)
    finally:
        net.train(training)
    return {name: own.judged(name) for name, own in counts.items()}


@final
class _Counts:
    """What is right, in one way, so far; on the device."""

    def __init__(self, net: LocalNetwork, way: Way, device: torch.device) -> None:
        self.net = net
        self.compete_P = torch.tensor(way.compete, device=device)
        # -1 for labels that are left out: compared only after these are gone.
        self.answers = torch.tensor([-1 if one is None else one for one in way.answers], device=device)
        self.zero = torch.zeros((), dtype=torch.int64, device=device)
        self.units: dict[int, Tensor] = {}
        self.voted: dict[EnsembleMode, Tensor] = dict.fromkeys(get_args(EnsembleMode), self.zero)
        self.top5, self.samples = self.zero, 0
        self.loss = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, heads: list[Tensor | None], labels_B: Tensor) -> None:
        answer_B = self.answers[labels_B]
        kept_B = answer_B >= 0
        answer_B = answer_B[kept_B]
        if not len(answer_B):
            return
        logits = [None if one is None else one[kept_B][:, self.compete_P].float() for one in heads]
        for index, logits_BP in enumerate(logits):
            if logits_BP is not None:
                self.units[index] = self.units.get(index, self.zero) + (logits_BP.argmax(1) == answer_B).sum()
        if len(self.units) > 1:
            for mode in self.voted:
                self.voted[mode] = self.voted[mode] + (self.net.vote(logits, mode).argmax(1) == answer_B).sum()
        last_BP = logits[-1]
        assert last_BP is not None  # the network classifies
        best_B5 = last_BP.topk(min(5, last_BP.shape[1]), dim=1).indices
        self.top5 = self.top5 + (best_B5 == answer_B[:, None]).any(1).sum()
        self.loss = self.loss + F.cross_entropy(last_BP, answer_B, reduction="sum")
        self.samples += len(answer_B)

    def judged(self, name: str) -> Judged:
        if not self.samples:
            raise LocalgradError(f"{name}: the test split has no image of a class that the network knows.")
        percent = {index: 100.0 * int(count) / self.samples for index, count in self.units.items()}
        several = len(self.units) > 1
        return Judged(
            top1=percent[max(percent)],
            top5=100.0 * int(self.top5) / self.samples,
            loss=float(self.loss) / self.samples,
            samples=self.samples,
            units=percent,
            ensemble={mode: 100.0 * int(count) / self.samples for mode, count in self.voted.items()} if several else {},
        )
