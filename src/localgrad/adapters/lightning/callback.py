"""A callback that trains the network of somebody's own LightningModule by local learning."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from localgrad.adapters.lightning.checks import (
    ToBatch,
    check_single_device,
    engine_precision,
    engine_region,
    named_losses,
    pair,
    set_views,
)
from localgrad.backbones.module import relink
from localgrad.errors import LocalgradError
from localgrad.method import Method
from localgrad.network import LocalNetwork, localize
from localgrad.partition import Cut
from localgrad.runtime.checks import check_batch, check_single_row
from localgrad.runtime.units import step_units
from localgrad.spec import Batch, Partition
from localgrad.update import OptimizerUpdate, Part

AUX = "local_aux"
"""Name of the auxiliary networks among the modules of the user's LightningModule."""

_log = logging.getLogger("localgrad")


@final
class LocalLearning(Callback):
    """While fitting, ``module.<attribute>`` is trained unit by unit by ``method`` in place of ``training_step``.

    The network is cut in place (``localize(network, method, modules, example=...)``): validation, test, prediction and
    ``state_dict`` keys stay the user's own, as do ``configure_optimizers``, its schedulers, gradient clipping and
    accumulation: Lightning's one optimiser steps after the last unit, so all gradients live until then
    (``LocalLightningModule`` frees these, too); activations go unit by unit. The user's ``training_step`` is **not**
    called: its loss is one for the whole network; the units' are the method's. ``to_batch`` makes a localgrad.Batch of
    what the loader gives, (x, y) by default. Logged: ``train/<unit>/<term>`` and ``train_loss``, the last unit's.

    The auxiliary networks become ``module.local_aux``: optimise ``self.parameters()``, or they are refused as not
    optimised. They are part of checkpoints; to load one without this callback, pass ``strict=False``.

    Raises LocalgradError when fitting starts for a module without such a network, more than one optimiser, several
    devices, and precisions other than "32-true" and "bf16-mixed".
    """

    def __init__(
        self,
        method: Method,
        modules: int | None = None,
        *,
        example: Tensor,
        partition: Partition | Cut | None = None,
        attribute: str = "model",
        to_batch: ToBatch = pair,
        seed: int = 0,
    ) -> None:
        self.method = method
        self.modules = modules
        self.example = example
        self.partition = partition
        self.attribute = attribute
        self.to_batch = to_batch
        self.seed = seed
        self.net: LocalNetwork | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Cut the network; called before optimisers are made and checkpoints are read."""
        network = getattr(pl_module, self.attribute, None)
        if not isinstance(network, nn.Module) or isinstance(network, LocalNetwork):
            raise LocalgradError(
                f"LocalLearning: {type(pl_module).__name__}.{self.attribute} must be the network as a plain nn.Module, "
                f"got {type(network).__name__}. Give LocalLearning(..., attribute=NAME); a LocalNetwork is trained by "
                "LocalLightningModule."
            )
        if stage == "fit":
            check_single_device(trainer)
            engine_precision(trainer)
        if self.net is None or self.net.model is not network:
            self.net = localize(
                network, self.method, self.modules, partition=self.partition, example=self.example, seed=self.seed
            )
        pl_module.add_module(AUX, self.net.aux)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over ``training_step``, now that network and optimiser are on their device."""
        assert self.net is not None  # made by setup
        if len(trainer.optimizers) != 1 or not pl_module.automatic_optimization:
            raise LocalgradError(
                f"LocalLearning: {type(pl_module).__name__} must have one optimiser that Lightning steps, got "
                f"{len(trainer.optimizers)}, automatic_optimization={pl_module.automatic_optimization}."
            )
        (optimizer,) = trainer.optimizers
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        trained = [(name, p) for name, p in self.net.named_parameters() if p.requires_grad]
        missing = [name for name, parameter in trained if id(parameter) not in held]
        if missing:
            raise LocalgradError(
                f"LocalLearning: the optimiser of {type(pl_module).__name__} lacks {len(missing)} of {len(trained)} "
                f"parameters, such as {missing[0]!r}. Make it of self.parameters() in configure_optimizers: these hold "
                f"the auxiliary networks, too (self.{AUX})."
            )
        relink(self.net.backbone)
        self.net.training = True
        set_views(self.net, True)
        update = OptimizerUpdate(
            optimizer,
            seed=self.seed,
            precision=engine_precision(trainer),
            device=pl_module.device,
            deferred=True,
        )
        steps = _Steps(trainer, pl_module, self.net, update, self.to_batch)
        # On the instance, past nn.Module: Lightning asks the object, and deleting them gives the class's back.
        vars(pl_module).update(training_step=steps.step, backward=nothing, optimizer_zero_grad=nothing)
        name = type(pl_module).__name__
        _log.info("LocalLearning trains %s.%s; %s.training_step is not called", name, self.attribute, name)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give ``training_step`` back."""
        for name in ("training_step", "backward", "optimizer_zero_grad"):
            vars(pl_module).pop(name, None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give ``training_step`` back."""
        self.on_fit_end(trainer, pl_module)


def nothing(*_: object, **__: object) -> None:
    """Stands for ``backward`` and ``optimizer_zero_grad``: ``_Steps`` has done both."""


@final
class _Steps:
    """Stands for ``training_step``: gradients of all units for one batch; Lightning steps the optimiser."""

    def __init__(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        net: LocalNetwork,
        update: OptimizerUpdate,
        to_batch: ToBatch,
    ) -> None:
        self.trainer = trainer
        self.pl_module = pl_module
        self.net = net
        self.updates: Sequence[OptimizerUpdate] = [update] * len(net.unit_list())
        self.to_batch = to_batch

    def step(self, batch: Any, batch_idx: int) -> Tensor:
        """The last unit's loss, detached. Gradients add up over the batches that Lightning accumulates."""
        parts = self.trainer.accumulate_grad_batches
        index = batch_idx % parts
        if index == 0:
            self.updates[0].optimizer.zero_grad(set_to_none=True)
        last = index == parts - 1 or self.trainer.is_last_batch
        made: Batch = self.to_batch(batch)
        made = replace(made, step=self.trainer.global_step, epoch=self.trainer.current_epoch)
        check_batch(self.net, made, self.updates[0].precision)
        if len(made.x) == 1:
            check_single_row(self.net, tuple(made.x.shape[1:]))
        with engine_region(self.pl_module.device):
            terms = step_units(self.net.unit_list(), self.updates, made, Part(index, 1 / parts, last))
        losses = named_losses(self.net, terms)
        self.pl_module.log_dict(losses, batch_size=len(made.x))
        return losses["train_loss"]
