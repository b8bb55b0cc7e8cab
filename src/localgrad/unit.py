"""A unit: body of one span (and group), its objectives, its step. Borders are detached here and nowhere else."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn

from localgrad.blocks import he_fan_out
from localgrad.losses import Loss, Outputs
from localgrad.recompute import forward_recomputed
from localgrad.rng import derive_seed, seeded
from localgrad.spec import AuxSpec, Batch, Initialiser, Span
from localgrad.update import WHOLE, Part, Update

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """One loss of a unit, and the auxiliary network that it looks through.

    Objectives that hold the same AuxSpec object share one module; one that holds the backbone's own head uses the head
    of the network itself. ``needs`` are the fields of a Batch that the loss reads, ``reach`` is how many units it
    updates.
    """

    name: str
    aux: AuxSpec
    loss: Loss
    weight: float = 1.0
    reach: int = 1
    needs: frozenset[str] = frozenset({"y"})


@dataclass(frozen=True)
class UnitSpec:
    """A unit as data: what ``Method.units`` returns.

    ``recompute`` is the number of segments whose activations are recomputed in the backward pass; 0: none.
    """

    index: int
    name: str
    span: Span
    objectives: tuple[Objective, ...]
    group: int = 0
    recompute: int = 0
    initialise: Initialiser = field(default=he_fan_out)

    @property
    def needs(self) -> frozenset[str]:
        """Fields of a Batch that any of the losses reads."""
        return frozenset().union(*(objective.needs for objective in self.objectives))


def named_outputs(outputs: Tensor | Outputs) -> Outputs:
    """Outputs of an auxiliary network by name; a lone tensor stands for the logits."""
    return {"logits": outputs} if isinstance(outputs, Tensor) else outputs


@final
class Unit(nn.Module):
    """Body and objectives of one span.

    ``body`` maps h_BCHW of the unit before to its own; ``auxnets`` holds an auxiliary network per objective; ``aux`` is
    the auxiliary network, or all of them when there are several.
    """

    def __init__(self, spec: UnitSpec, body: nn.Sequential, auxnets: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.spec = spec
        self.body = body
        self.auxnets = nn.ModuleDict(auxnets)

    @property
    def name(self) -> str:
        """Name of the unit: that of its last block."""
        return self.spec.name

    @property
    def span(self) -> Span:
        """The blocks of the backbone that this unit trains."""
        return self.spec.span

    @property
    def aux(self) -> nn.Module:
        """The auxiliary network; the ``nn.ModuleDict`` by objective when there are several."""
        different = list(dict.fromkeys(self.auxnets.values()))
        return different[0] if len(different) == 1 else self.auxnets

    def forward(self, h_in: Tensor) -> Tensor:
        """Body of the unit, recomputed in the backward pass if the spec says so."""
        if self.spec.recompute and torch.is_grad_enabled():
            return forward_recomputed(list(self.body), h_in, self.spec.recompute)
        h: Tensor = self.body(h_in)
        return h

    def outputs(self, h: Tensor) -> dict[str, Outputs]:
        """Outputs of the auxiliary networks by objective; a shared network runs once."""
        by_module: dict[nn.Module, Outputs] = {}
        for aux in self.auxnets.values():
            if aux not in by_module:
                by_module[aux] = named_outputs(aux(h))
        return {name: by_module[aux] for name, aux in self.auxnets.items()}

    def loss(self, h: Tensor, batch: Batch) -> tuple[Tensor, Terms]:
        """The weighted sum of all loss terms, and the terms before weighting, detached.

        Terms go by their own name, with several objectives by ``objective.term``.
        """
        outputs = self.outputs(h)
        total: Tensor | None = None
        terms: Terms = {}
        alone = len(self.spec.objectives) == 1
        for objective in self.spec.objectives:
            for name, value in objective.loss(outputs[objective.name], batch).items():
                weighted = value if objective.weight == 1.0 else objective.weight * value
                total = weighted if total is None else total + weighted
                terms[name if alone else f"{objective.name}.{name}"] = value.detach()
        assert total is not None  # a UnitSpec has at least one objective
        return total, terms

    def step(
        self,
        h_in: Tensor,
        batch: Batch,
        update: Update,
        part: Part = WHOLE,
        *,
        send: Callable[[Tensor], None] | None = None,
        draws: bool = True,
    ) -> tuple[Tensor, Terms]:
        """One training step on one mini-batch (or a part of it): the function that every runtime calls.

        Returns the output for the next unit, computed before the update and detached, and the loss terms. ``send`` gets
        that output as soon as it is there, so that the next unit can start before this one has learnt. Everything
        random inside is a function of (seed, unit, step, part); the random state found is restored. ``draws=False``
        leaves the random state alone: for a unit that is known to draw nothing, beside others in one process.
        """
        device = h_in.device
        seed = derive_seed(update.seed, "step", self.name, batch.step or 0, part.index)
        with seeded(seed, device) if draws else nullcontext():
            with update.autocast(device):
                h = self(h_in.detach())
                h_out = h.detach()
                if send is not None:
                    send(h_out)
                loss, terms = self.loss(h, batch)
            update.backward(loss if part.weight == 1.0 else loss * part.weight)
        if part.last:
            update.apply()
        return h_out, terms

    def trained_parameters(self) -> Sequence[nn.Parameter]:
        """Parameters that this unit's update changes, body first."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]
