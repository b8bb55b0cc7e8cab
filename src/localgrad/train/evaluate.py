"""Accuracy of a network and of every unit's own head on one split."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from localgrad.data import Batches
from localgrad.ensemble import EnsembleMode
from localgrad.errors import LocalgradError
from localgrad.network import LocalNetwork
from localgrad.unit import forward_units
from localgrad.update import Precision


@dataclass(frozen=True)
class Evaluation:
    """Figures in percent of ``samples``; ``loss`` is the mean cross-entropy in nats.

    ``units`` is the top-1 of every unit's own head; the last one's is the network's own. ``top5`` counts the five best
    classes, or all when there are fewer. ``ensemble`` is the top-1 of both ensembles of the units' heads
    (``LocalNetwork.ensemble``), where more than one classifies.
    """

    top1: float
    top5: float
    loss: float
    samples: int
    units: dict[int, float]
    ensemble: dict[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, object]:
        """As plain data for the metrics file."""
        more = {"ensemble": self.ensemble} if self.ensemble else {}
        return {
            "top1": self.top1,
            "top5": self.top5,
            "loss": self.loss,
            "samples": self.samples,
            "units": {str(unit): value for unit, value in self.units.items()},
            **more,
        }


@torch.inference_mode()
def evaluate(
    net: LocalNetwork,
    loader: Batches,
    *,
    precision: Precision = Precision.FLOAT32,
    units: int | None = None,
    before_batch: Callable[[], None] = lambda: None,
) -> Evaluation:
    """One pass over ``loader`` in evaluation mode through all units and their heads; the mode found is restored.

    Raises LocalgradError for a network that was made without labels: it has no classifier.

    ``units`` is how many of them, from the first (None: all); the figures are then those of the last one's head.
    ``before_batch`` is called before every batch; what it raises ends the evaluation.
    """
    if not net.classifies:
        raise LocalgradError(
            f"evaluate: {net.backbone.name} learnt without labels and ends in features, so it has no accuracy. Train a "
            "classifier on its features: `localgrad probe RUN`, or analysis.block_features."
        )
    device = next(net.parameters()).device
    training = net.training
    net.eval()
    judging = net.unit_list()[:units]
    right = torch.zeros(len(judging), dtype=torch.int64, device=device)
    right5 = torch.zeros((), dtype=torch.int64, device=device)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    judged: set[int] = set()
    voted: dict[EnsembleMode, Tensor] = {mode: torch.zeros_like(right5) for mode in get_args(EnsembleMode)}
    samples = 0
    try:
        for batch in loader.epoch(0):
            before_batch()
            assert batch.y is not None
            heads: list[Tensor | None] = []
            with precision.autocast(device):
                for index, (unit, h, features) in enumerate(forward_units(judging, batch.x)):
                    found = net.class_logits(unit, h, features)
                    heads.append(found)
                    if found is not None:
                        logits_BK = found.float()
                        right[index] += (logits_BK.argmax(1) == batch.y).sum()
                        judged.add(index)
            if units is None and len(judged) > 1:
                for mode in voted:
                    voted[mode] += (net.vote(heads, mode).argmax(1) == batch.y).sum()
            best5_BK = logits_BK.topk(min(5, logits_BK.shape[1]), dim=1).indices
            right5 += (best5_BK == batch.y[:, None]).any(1).sum()
            loss += F.cross_entropy(logits_BK, batch.y, reduction="sum")
            samples += len(batch.y)
    finally:
        net.train(training)
    percent = [100.0 * int(count) / samples for count in right]
    return Evaluation(
        top1=percent[-1],
        top5=100.0 * int(right5) / samples,
        loss=float(loss) / samples,
        samples=samples,
        units={index: percent[index] for index in sorted(judged)},
        ensemble={m: 100.0 * int(n) / samples for m, n in voted.items()} if units is None and len(judged) > 1 else {},
    )
