"""Accuracy of a network and of every unit's own head on one split."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from localgrad.data import Loader
from localgrad.network import LocalNetwork
from localgrad.update import Precision


@dataclass(frozen=True)
class Evaluation:
    """Figures in percent of ``samples``; ``loss`` is the mean cross-entropy in nats.

    ``units`` is the top-1 of every unit's own head; the last one's is the network's own. ``top5`` counts the five best
    classes, or all when there are fewer.
    """

    top1: float
    top5: float
    loss: float
    samples: int
    units: dict[int, float]

    def row(self) -> dict[str, object]:
        """As plain data for the metrics file."""
        return {
            "top1": self.top1,
            "top5": self.top5,
            "loss": self.loss,
            "samples": self.samples,
            "units": {str(unit): value for unit, value in self.units.items()},
        }


@torch.inference_mode()
def evaluate(
    net: LocalNetwork,
    loader: Loader,
    *,
    precision: Precision = Precision.FLOAT32,
    before_batch: Callable[[], None] = lambda: None,
) -> Evaluation:
    """One pass over ``loader`` in evaluation mode through all units and their heads; the mode found is restored.

    ``before_batch`` is called before every batch; what it raises ends the evaluation.
    """
    device = next(net.parameters()).device
    training = net.training
    net.eval()
    right = torch.zeros(len(net.units), dtype=torch.int64, device=device)
    right5 = torch.zeros((), dtype=torch.int64, device=device)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    judged: set[int] = set()
    samples = 0
    try:
        for batch in loader.epoch(0):
            before_batch()
            assert batch.y is not None
            h = batch.x
            with precision.autocast(device):
                for index, unit in enumerate(net.unit_list()):
                    h = unit(h)
                    found = [outputs["logits"] for outputs in unit.outputs(h).values() if "logits" in outputs]
                    if found:
                        # The own head comes first; objectives that share it give the same logits again.
                        logits_BK = found[0].float()
                        right[index] += (logits_BK.argmax(1) == batch.y).sum()
                        judged.add(index)
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
    )
