"""The Greedy runtime: one unit after the other, each trained to its end while those before it are frozen."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, final

from torch import Tensor
from torch.optim import Optimizer

from localgrad.errors import LocalgradError
from localgrad.network import LocalNetwork
from localgrad.runtime.apart import check_input, forward_frozen, make_updates, set_mode
from localgrad.runtime.sequential import MakeOptimizer, Step
from localgrad.spec import Batch, Shape
from localgrad.unit import network_input
from localgrad.update import Precision, free_gradients


@final
class Greedy:
    """Sequential greedy training (Belilovsky et al. 2019; the baseline of DGL, arXiv 1901.08164, section 5.1).

    ``step`` trains the unit ``active``, from 0; the units before it only run forward, in evaluation mode (BatchNorm
    statistics frozen, as in the released code), those after it not at all. ``advance`` freezes the active unit and goes
    on to the next one. A network of one unit trains as in ``Sequential``, bit for bit. ``optimizer``, ``precision``,
    ``clip`` and ``seed`` are those of ``Sequential``.

    Raises LocalgradError for units that cannot train apart from each other (cascades, neuron groups).
    """

    def __init__(
        self,
        net: LocalNetwork,
        optimizer: MakeOptimizer,
        *,
        precision: Precision | str = Precision.FLOAT32,
        clip: float | None = None,
        seed: int | None = None,
    ) -> None:
        self.updates = make_updates(net, optimizer, precision=precision, clip=clip, seed=seed, who="Greedy")
        self.net = net
        self.precision = Precision(precision)
        self.active = 0
        self.steps = 0
        self.fitting: set[Shape] = set()

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimisers in the order of the units."""
        return [update.optimizer for update in self.updates]

    def step(self, batch: Batch) -> Step:
        """Train the active unit on one mini-batch; the loss terms are those of this unit.

        ``batch.step`` names the random draws; None takes the number of steps made so far, by all units.
        Raises LocalgradError when the batch does not fit the network.
        """
        check_input(self.net, batch, self.precision, self.fitting, "Greedy.step")
        if batch.step is None:
            batch = replace(batch, step=self.steps)
        units = self.net.unit_list()
        h = network_input(units, batch)
        for unit, update in zip(units[: self.active], self.updates, strict=False):
            h = forward_frozen(unit, h, update)
        update = self.updates[self.active]
        # Gradients that somebody else left, or a step that was interrupted, are no part of this step.
        free_gradients(update.optimizer)
        set_mode(units[self.active], True)
        _, terms = units[self.active].step(h, batch, update)
        self.steps += 1
        return Step({self.active: terms})

    def advance(self) -> None:
        """Freeze the active unit, free its optimiser's state, and go on to the next unit."""
        if self.active == len(self.updates) - 1:
            raise LocalgradError(f"Greedy: unit {self.active} is the last one, there is none to advance to.")
        self.updates[self.active].optimizer.state.clear()
        self.active += 1

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of the active unit."""
        for group in self.updates[self.active].optimizer.param_groups:
            group["lr"] = lr

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What a checkpoint keeps besides weights and optimisers: plain data and tensors."""
        return {"active": self.active, "steps": self.steps}, {}

    def load_state(self, plain: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """What ``state`` gave, back."""
        self.active, self.steps = plain["active"], plain["steps"]
