"""Frozen features of the units that a process hosts, while the batches of a split come through the pipeline."""

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from localgrad.analysis.features import BlockFeatures, pooled, unit_axis
from localgrad.distributed import Replicas
from localgrad.network import LocalNetwork


@final
class Looked:
    """The features of all rows of one split, on every replica: each puts its own rows of a batch where they belong."""

    def __init__(self, net: LocalNetwork, replicas: Replicas) -> None:
        self.net, self.replicas = net, replicas
        self.features_of: dict[str, list[Tensor]] = {}
        self.labels: list[Tensor] = []

    def add(self, rows: int, y_B: Tensor, outputs: Mapping[int, Tensor]) -> None:
        """One batch of so many rows over all replicas: this one's labels, and the outputs of its units by place."""
        units = self.net.unit_list()
        self.labels.append(self._placed(y_B, rows))
        for place, h in outputs.items():
            features = pooled(h, unit_axis(self.net, units[place])).float()
            self.features_of.setdefault(str(place), []).append(self._placed(features, rows))

    def _placed(self, own: Tensor, rows: int) -> Tensor:
        """All rows of a batch, those of other replicas 0."""
        if self.replicas.count == 1:
            return own
        chunks = torch.arange(rows).tensor_split(self.replicas.count)
        whole = own.new_zeros(rows, *own.shape[1:])
        whole[chunks[self.replicas.ranks.index(self.replicas.world.rank)].to(own.device)] = own
        return whole

    def features(self) -> BlockFeatures:
        """Features and labels of the split. Every replica has to call it."""
        return BlockFeatures(
            {name: self._whole(parts) for name, parts in self.features_of.items()}, self._whole(self.labels)
        )

    def _whole(self, parts: list[Tensor]) -> Tensor:
        found = torch.cat(parts)
        self.replicas.add_up(found)
        return found
