"""The optimisers of all units as the single one that Lightning knows."""

from collections.abc import Callable, Sequence
from typing import Any, final

from torch.optim import Optimizer

from localgrad.errors import LocalgradError


@final
class UnitOptimizers(Optimizer):
    """What Lightning counts, schedules and saves in place of one optimiser per unit.

    ``param_groups`` are the units' own dicts, so a learning rate set here is set there; a scheduler of this optimiser
    schedules all units. ``step`` runs the closure, in which the engine steps every unit, and counts as one step: with
    an optimiser per unit, Lightning's ``global_step`` would grow by the number of units.
    """

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        super().__init__(groups, optimizers[0].defaults)
        self.optimizers = tuple(optimizers)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Run the closure, which trains the units. Raises LocalgradError without one."""
        if closure is None:
            raise LocalgradError("UnitOptimizers.step: the units step inside of training_step, got no closure to run.")
        return closure()

    def state_dict(self) -> dict[str, Any]:
        """The units' own states, in order."""
        return {"units": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What ``state_dict`` gave. Raises LocalgradError for the state of something else."""
        states = state_dict.get("units")
        if states is None or len(states) != len(self.optimizers):
            got = "that of an ordinary optimiser" if states is None else f"that of {len(states)}"
            raise LocalgradError(
                f"checkpoint: expected the state of {len(self.optimizers)} optimisers of units, got {got}. Continue "
                "with the method, modules and update that the checkpoint was made with."
            )
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)
        # Loading makes new dicts.
        self.param_groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
