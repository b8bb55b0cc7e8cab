"""Proof by machine that learning is local: which loss reaches which parameters, as the engine really runs."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor, nn

from localgrad.analysis.audit_text import matrix_text
from localgrad.analysis.breaches import breaches, declared_reach, label_breaches, shared_parameters, step_problems
from localgrad.analysis.trace import equal, trace, trained
from localgrad.network import LocalNetwork
from localgrad.runtime.checks import check_batch
from localgrad.spec import Batch
from localgrad.unit import Unit, spans


@final
@dataclass(frozen=True)
class Audit:
    """What the losses of the units of a LocalNetwork reach.

    ``reach[i][j]``: the loss of unit i has a gradient for a parameter that unit j holds. ``declared[i]``: how many
    consecutive units, itself the last, the loss of unit i says it updates. ``local``: every loss reaches only these,
    and no parameter is held by two units. ``labels[i]``: the loss of unit i changes with the labels. ``dead``:
    parameters that require a gradient and that no loss reaches; no breach of locality, but they never learn.
    ``sideways``: what groups of one span send each other. ``problems``: every breach in words.
    """

    names: tuple[str, ...]
    reach: tuple[tuple[bool, ...], ...]
    declared: tuple[int, ...]
    local: bool
    labels: tuple[bool, ...]
    dead: tuple[str, ...]
    sideways: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is reached, shared or read beyond what is declared, and every loss trains something."""
        return not self.problems

    def __str__(self) -> str:
        """The matrix with a legend, dead parameters, problems."""
        lines = [f"audit of {len(self.names)} units: {'ok' if self.ok else f'{len(self.problems)} problems'}"]
        lines += matrix_text(self.names, self.reach, self.declared, self.labels)
        lines.append("sent between groups: " + (", ".join(self.sideways) or "nothing"))
        lines.append("parameters that no loss reaches: " + (", ".join(self.dead) or "none"))
        return "\n".join([*lines, *(f"- {problem}" for problem in self.problems)])


def audit(net: LocalNetwork, batch: Batch) -> Audit:
    """Run ``Unit.step`` of every unit on a copy of ``net`` in training mode and record what every loss reaches.

    The matrix is what autograd answers, not what a method declares. A second pass with other labels shows which losses
    read them. ``net``, its gradients and buffers and the random states stay as they are; ``batch`` is on its device.
    Neuron groups step on their own here, also those that a runtime may fuse: one graph of all reaches all.

    Raises LocalgradError when the batch does not fit the network.
    """
    check_batch(net, batch)
    copied = copy.deepcopy(net).train()
    found = trace(copied, batch)
    units, names = copied.unit_list(), parameter_names(copied)
    held = [frozenset(trained(unit)) for unit in units]
    breached = shared_parameters(units, held, names) + breaches(units, found.reached, held, names)
    labels, output_labels = _label_use(net, batch, found.losses, found.outputs)
    reached = frozenset[nn.Parameter]().union(*found.reached)
    return Audit(
        names=tuple(unit.name for unit in units),
        reach=tuple(tuple(not parameters.isdisjoint(own) for own in held) for parameters in found.reached),
        declared=tuple(declared_reach(unit) for unit in units),
        local=not breached,
        labels=labels,
        dead=tuple(name for parameter, name in names.items() if parameter not in reached),
        sideways=sent_sideways(units),
        problems=(*breached, *step_problems(units, found), *label_breaches(units, labels, output_labels)),
    )


def sent_sideways(units: Sequence[Unit]) -> tuple[str, ...]:
    """What the groups of every span send each other, detached: features of their bodies, logits of their heads."""
    found = []
    for _, members in spans(units):
        sent = [
            word
            for word, does in (
                ("features", any(unit.spec.shares_features for unit in members)),
                ("logits", any(unit.spec.shares_outputs for unit in members)),
            )
            if does
        ]
        if sent and len(members) > 1:
            found.append(f"{' and '.join(sent)} between {members[0].name}..{members[-1].name.rpartition('.')[2]}")
    return tuple(found)


def _label_use(
    net: LocalNetwork, batch: Batch, losses: tuple[tuple[Tensor, ...], ...], outputs: tuple[Tensor, ...]
) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """For every unit, whether its loss and whether its output change with the labels."""
    if batch.y is None:
        return (False,) * len(losses), (False,) * len(losses)
    again = trace(copy.deepcopy(net).train(), replace(batch, y=other_labels(batch.y, net.backbone.num_classes)))
    return (
        tuple(not equal(a, b) for a, b in zip(losses, again.losses, strict=True)),
        tuple(not torch.equal(a, b) for a, b in zip(outputs, again.outputs, strict=True)),
    )


def other_labels(y: Tensor, num_classes: int) -> Tensor:
    """Labels (int64, B) that differ from ``y`` also in which samples share a class: some losses read no more."""
    next_class = (y + 1) % num_classes
    if bool((y == y[0]).all()):
        next_class[1::2] = y[1::2]
        return next_class
    return next_class[0].expand_as(y)


def parameter_names(net: LocalNetwork) -> dict[nn.Parameter, str]:
    """Names of all parameters that require a gradient, as in ``state_dict``; ``units.`` for what only a unit holds."""
    named = {p: name for name, p in net.named_parameters() if p.requires_grad}
    hidden = {p: f"units.{name}" for name, p in net.units.named_parameters() if p.requires_grad and p not in named}
    return named | hidden
