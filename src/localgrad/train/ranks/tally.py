"""Counting right answers of a split while its batches come through the pipeline."""

from collections.abc import Mapping
from typing import final, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from localgrad.distributed import Replicas
from localgrad.ensemble import EnsembleMode
from localgrad.network import LocalNetwork
from localgrad.train.evaluate import Evaluation

MODES = get_args(EnsembleMode)
BEST5, LOSS, SAMPLES = "top5", "loss", "samples"


@final
class Tally:
    """Sums over the batches of one split, on the device: of hosted units, and of the network on the last stage."""

    def __init__(self, net: LocalNetwork, device: torch.device, *, tail: bool) -> None:
        self.net, self.device, self.tail = net, device, tail
        self.sums: dict[str, Tensor] = {}
        self.voters = 0

    def _add(self, name: str, value: Tensor | int) -> None:
        number = torch.as_tensor(value, dtype=torch.float64, device=self.device)
        before = self.sums.get(name)
        self.sums[name] = number if before is None else before + number

    def add(self, y_B: Tensor, mine: Mapping[int, Tensor], seen: Mapping[int, Tensor]) -> None:
        """One batch: logits_BK of the hosted units, and of all units where this is the last stage."""
        self._add(SAMPLES, len(y_B))
        for place, logits in mine.items():
            self._add(str(place), (logits.float().argmax(1) == y_B).sum())
        if not self.tail:
            return
        places = range(len(self.net.units))
        self.voters = len(seen)
        if len(seen) > 1:
            for mode in MODES:
                votes = self.net.vote([seen.get(place) for place in places], mode)
                self._add(mode, (votes.argmax(1) == y_B).sum())
        logits_BK = seen[places[-1]].float()
        best5_BK = logits_BK.topk(min(5, logits_BK.shape[1]), dim=1).indices
        self._add(BEST5, (best5_BK == y_B[:, None]).any(1).sum())
        self._add(LOSS, F.cross_entropy(logits_BK, y_B, reduction="sum"))

    def gathered(self, replicas: Replicas) -> dict[str, float]:
        """The sums over all replicas of the stage."""
        if not self.sums:
            return {}
        values = torch.stack(list(self.sums.values())).cpu()
        if replicas.count > 1:
            on_device = values.to(self.device)
            replicas.add_up(on_device)
            values = on_device.cpu()
        return dict(zip(self.sums, values.tolist(), strict=True))


def unit_accuracies(sums: Mapping[str, float]) -> dict[str, float]:
    """Top-1 in percent of the units whose right answers were counted."""
    return {name: 100.0 * value / sums[SAMPLES] for name, value in sums.items() if name.isdigit()}


def evaluation(sums: Mapping[str, float], units: Mapping[str, float]) -> Evaluation:
    """The split's figures from the last stage's sums and the accuracies of all units."""
    samples = sums[SAMPLES]
    by_unit = {int(place): value for place, value in units.items()}
    return Evaluation(
        top1=by_unit[max(by_unit)],
        top5=100.0 * sums[BEST5] / samples,
        loss=sums[LOSS] / samples,
        samples=int(samples),
        units=dict(sorted(by_unit.items())),
        ensemble={mode: 100.0 * sums[mode] / samples for mode in MODES if mode in sums},
    )
