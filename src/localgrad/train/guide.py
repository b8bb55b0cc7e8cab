"""Similarities of pairs of views under a pretrained network: ``Batch.pair_similarity``, made where batches are made.

The pretrained network is another run of the same backbone with the same views, trained as a whole. It is frozen, so
what it says of a batch is a function of the batch, and a checkpoint needs to know nothing of it.
"""

import json
from collections.abc import Generator, Iterator, Sized
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import final

import torch

from localgrad.analysis.pair_quantiles import view_features
from localgrad.data import Batches
from localgrad.errors import LocalgradError
from localgrad.facts import differences, plain
from localgrad.losses import cosines
from localgrad.method import GuidedMethod
from localgrad.network import LocalNetwork
from localgrad.spec import Batch
from localgrad.train.checkpoint import load_weights, weights_in
from localgrad.train.newest import read_newest
from localgrad.train.record import read_run
from localgrad.train.run import Run


def guide_problems(run: Run) -> Iterator[str]:
    """What is wrong with the pretrained network that a run's pairs are judged by; says both where they differ."""
    folder = guide_folder(run)
    if folder is None:
        return
    try:
        facts = read_run(folder)["facts"]
    except LocalgradError as error:
        yield f"pretrained: {error}"
        return
    for name, what in (("backbone", "network"), ("views", "augmentation")):
        own, theirs = plain(getattr(run, name)), facts.get(name)
        if lines := list(differences(theirs, own)):
            yield (
                f"pretrained: {folder} has another {what}: {json.dumps(theirs)}, this run {json.dumps(own)} "
                f"({'; '.join(lines)}). Pretrain with the same {what}."
            )


def guide_folder(run: Run) -> Path | None:
    """Where the pretrained network of a run lies; None where it needs none."""
    method = run.method
    if "pair_similarity" not in method.needs or not isinstance(method, GuidedMethod):
        return None
    return method.pretrained


def load_guide(run: Run, device: torch.device) -> LocalNetwork | None:
    """The pretrained network in evaluation mode, on the device. Raises LocalgradError when it does not fit."""
    folder, method = guide_folder(run), run.method
    if folder is None:
        return None
    assert isinstance(method, GuidedMethod)
    net = LocalNetwork(run.backbone, method.guide(run.backbone), seed=run.seed)
    _, tensors, path = read_newest(folder)
    load_weights(net, weights_in(tensors), str(path))
    net.to(device)
    if run.channels_last:
        net.to(memory_format=torch.channels_last)
    return net.requires_grad_(False).eval()


@final
class Guided:
    """The batches of ``inner`` with the cosines of all their views under ``guide`` as ``pair_similarity``, (V, V)."""

    def __init__(self, inner: Batches, guide: LocalNetwork) -> None:
        self.inner = inner
        self.guide = guide

    @property
    def split(self) -> Sized:
        """What it loads from."""
        return self.inner.split

    @property
    def device(self) -> torch.device:
        """Where the batches lie."""
        return self.inner.device

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self.inner)

    def epoch(self, epoch: int, start: int = 0) -> Generator[Batch]:
        """Batches ``start`` to the last of one epoch."""
        with closing(self.inner.epoch(epoch, start)) as batches:
            for batch in batches:
                yield self._judged(batch)

    def batch(self, epoch: int, index: int) -> Batch:
        """Batch ``index`` of ``epoch``, both counted from 0."""
        return self._judged(self.inner.batch(epoch, index))

    def _judged(self, batch: Batch) -> Batch:
        assert batch.views is not None  # a method that reads pair_similarity reads views
        return replace(batch, pair_similarity=cosines(view_features(self.guide, batch.views)))
