"""A LightningModule that trains a LocalNetwork by localgrad's engine."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, final

import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim import Optimizer

from localgrad.adapters.lightning.checks import (
    ToBatch,
    check_single_device,
    engine_precision,
    engine_region,
    named_losses,
    pair,
    set_views,
)
from localgrad.adapters.lightning.optimizers import UnitOptimizers
from localgrad.errors import LocalgradError, nearest
from localgrad.network import LocalNetwork
from localgrad.runtime import Sequential
from localgrad.runtime.sequential import MakeOptimizer

OPTIONS = tuple(
    name
    for name in inspect.signature(Sequential.__init__).parameters
    if name not in ("self", "net", "optimizer", "precision")
)


@final
class LocalLightningModule(LightningModule):
    """Trains ``net`` unit by unit, as ``Sequential(net, optimizer, **options)`` does, bit for bit.

    ``optimizer(parameters)`` makes an optimiser per unit. ``scheduler(optimizer)`` is called once, with all of them as
    one optimiser (``UnitOptimizers``), and returns what ``configure_optimizers`` may return as ``lr_scheduler``: a
    scheduler, stepped per epoch, or Lightning's dict of scheduler, interval, frequency and monitor. ``to_batch`` makes
    a localgrad.Batch of what the loader gives, (x, y) pairs by default; ``options`` are Sequential's.

    Logged per step: ``train/<unit>/<term>`` for every loss term, ``train_loss`` for the last unit's. Validation and
    test run the plain network and log ``val_loss`` and ``val_acc`` (``test_...``), a share. ``global_step`` counts
    mini-batches. Checkpoints hold all weights and every unit's optimiser; ``load_from_checkpoint(path, net=...,
    optimizer=...)`` wants both again, as they are no plain data. Precision is the Trainer's: "32-true" or "bf16-mixed".

    Raises LocalgradError for options that Sequential does not have, and when fitting starts for several devices, for
    other precisions, and for ``gradient_clip_val`` and ``accumulate_grad_batches``: give ``clip`` and ``accumulate``.
    """

    def __init__(
        self,
        net: LocalNetwork,
        optimizer: MakeOptimizer,
        *,
        scheduler: Callable[[Optimizer], Any] | None = None,
        to_batch: ToBatch = pair,
        **options: Any,
    ) -> None:
        super().__init__()
        if not isinstance(net, LocalNetwork):
            raise LocalgradError(
                f"LocalLightningModule: net must be what localize(model, method) returns, got {type(net).__name__}."
            )
        for name, value in options.items():
            if name == "precision":
                raise LocalgradError(
                    f"LocalLightningModule: the precision is the Trainer's, got precision={value!r}. "
                    "Give Trainer(precision='bf16-mixed')."
                )
            if name not in OPTIONS:
                raise LocalgradError(
                    f"LocalLightningModule: {name!r} is no option of Sequential. {nearest(name, OPTIONS)}"
                )
        self.net = net
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.to_batch = to_batch
        self.options = options
        self.loop: Sequential

    def forward(self, x: Tensor) -> Tensor:
        """The plain network, x_BCHW to logits_BK."""
        logits: Tensor = self.net(x)
        return logits

    def configure_callbacks(self) -> list[Callback]:
        """No callback: the first place where the Trainer is known, before it makes processes talk to each other."""
        trainer = self.trainer
        if trainer.state.fn is TrainerFn.FITTING:
            check_single_device(trainer)
            engine_precision(trainer)
            if trainer.gradient_clip_val is not None:
                raise LocalgradError(
                    f"Lightning: gradient_clip_val={trainer.gradient_clip_val} bounds the norm over the whole network, "
                    "and units step on their own. Give LocalLightningModule(clip=...), per unit."
                )
            if trainer.accumulate_grad_batches != 1:
                raise LocalgradError(
                    f"Lightning: accumulate_grad_batches={trainer.accumulate_grad_batches} would keep all units' "
                    "gradients over several steps. Load larger batches and give LocalLightningModule(accumulate=...), "
                    "which splits each."
                )
        return []

    def configure_optimizers(self) -> Any:
        """The engine, and its optimisers as one. Called by Lightning when the network is on its device."""
        precision = engine_precision(self.trainer)
        self.loop = Sequential(self.net, self.make_optimizer, precision=precision, **self.options)
        made = UnitOptimizers(self.loop.optimizers)
        if self.make_scheduler is None:
            return made
        return {"optimizer": made, "lr_scheduler": self.make_scheduler(made)}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """All units' steps on one batch, optimisers included; the last unit's loss, detached."""
        # What a step draws is a function of its number: a resumed training goes on with the same numbers.
        made = replace(self.to_batch(batch), step=self.global_step, epoch=self.current_epoch)
        if self.net.units.training != self.net.training:
            set_views(self.net, self.net.training)
        with engine_region(self.device):
            step = self.loop.step(made)
        losses = named_losses(self.net, step.terms)
        loss = losses.pop("train_loss")
        self.log_dict(losses, batch_size=len(made.x))
        self.log("train_loss", loss, batch_size=len(made.x), prog_bar=True)
        return loss

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Nothing: every unit ran its own backward pass in ``training_step``."""

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Nothing: every unit frees its gradients when it has stepped."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Loss and accuracy of the plain network."""
        self._judge(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Loss and accuracy of the plain network."""
        self._judge(batch, "test")

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """logits_BK of the plain network; labels in the batch are ignored."""
        return self.forward(batch if isinstance(batch, Tensor) else self.to_batch(batch).x)

    def _judge(self, batch: Any, split: str) -> None:
        made = self.to_batch(batch)
        if made.y is None:
            raise LocalgradError(f"LocalLightningModule: {split} batches need labels, got Batch.y=None.")
        logits_BK = self.forward(made.x).float()
        accuracy = (logits_BK.argmax(1) == made.y).float().mean()
        figures = {f"{split}_loss": F.cross_entropy(logits_BK, made.y), f"{split}_acc": accuracy}
        self.log_dict(figures, batch_size=len(made.x), prog_bar=True)
