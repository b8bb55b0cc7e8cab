"""A unit: body of one span (and group), its objectives, its step. Borders are detached here and nowhere else."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import groupby
from typing import final

import torch
from torch import Tensor, nn

from localgrad.errors import located
from localgrad.losses import Outputs
from localgrad.objective import UnitSpec
from localgrad.recompute import Segment, forward_segments
from localgrad.rng import Stream, derive_seed
from localgrad.spec import Batch, Span
from localgrad.update import WHOLE, Part, Update

Terms = dict[str, Tensor]


def named_outputs(outputs: Tensor | Outputs) -> Outputs:
    """Outputs of an auxiliary network by name; a lone tensor stands for the logits."""
    return {"logits": outputs} if isinstance(outputs, Tensor) else outputs


@final
class Unit(nn.Module):
    """Body and objectives of one span, or of one neuron group of it.

    ``body`` maps h_BCHW of the unit before to its own; ``auxnets`` holds an auxiliary network per objective; ``aux`` is
    the auxiliary network, or all of them when there are several. ``sources`` are what parts of the auxiliary networks
    follow, in the order of ``spec.follows``: mostly blocks of another unit, which are read only.
    """

    def __init__(
        self,
        spec: UnitSpec,
        body: nn.Sequential,
        auxnets: Mapping[str, nn.Module],
        sources: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.spec = spec
        self.body = body
        self.auxnets = nn.ModuleDict(auxnets)
        # In a tuple, so that nn.Module does not take them for its own.
        self.sources = tuple(sources)
        self.remembered: dict[int, list[Tensor]] = {}
        # What is recomputed: of the body, and of every different auxiliary network. Set by ``recompute_in``.
        self.body_segments: tuple[Segment, ...] = ()
        self.aux_segments: dict[nn.Module, tuple[Segment, ...]] = {}

    @property
    def name(self) -> str:
        """Name of the unit: that of its last block, and its group."""
        return self.spec.name

    @property
    def span(self) -> Span:
        """The blocks of the backbone that this unit trains."""
        return self.spec.span

    @property
    def aux(self) -> nn.Module:
        """The auxiliary network; the ``nn.ModuleDict`` by objective when there are several."""
        different = self.different_auxnets()
        return different[0] if len(different) == 1 else self.auxnets

    def different_auxnets(self) -> list[nn.Module]:
        """The auxiliary networks in the order of their objectives; one that several objectives share is there once."""
        return list(dict.fromkeys(self.auxnets.values()))

    def plain_auxnets(self) -> list[nn.Module]:
        """The different auxiliary networks that read the features alone."""
        asking = {self.auxnets[objective.name] for objective in self.spec.objectives if objective.given}
        return [aux for aux in self.different_auxnets() if aux not in asking]

    def recompute_in(self, body: Sequence[Segment], auxnets: Sequence[Sequence[Segment]]) -> None:
        """Run the body and the ``plain_auxnets`` in these segments, which recompute where a gradient is wanted."""
        self.body_segments = tuple(body)
        self.aux_segments = {aux: tuple(own) for aux, own in zip(self.plain_auxnets(), auxnets, strict=True)}

    def forward(self, h_in: Tensor) -> Tensor:
        """Body of the unit, recomputed in the backward pass if the spec says so."""
        h: Tensor = forward_segments(self.body_segments, h_in) if self.body_segments else self.body(h_in)
        return h

    def seen(self, h: Tensor, features: Sequence[Tensor] = ()) -> Tensor:
        """What the auxiliary networks look at: the unit's own ``h``, or among the ``features`` of all its groups."""
        if not self.spec.shares_features:
            return h
        spec = self.spec
        parts = [feature.detach() for feature in features]
        if spec.windows:
            parts = [window(part, start, count) for part, (start, count) in zip(parts, spec.windows, strict=True)]
        parts[spec.group] = h
        return torch.cat(parts, 1)

    def outputs(
        self, h: Tensor, features: Sequence[Tensor] = (), given: Mapping[str, Tensor | None] | None = None
    ) -> dict[str, Outputs]:
        """Outputs of the auxiliary networks by objective; a shared network runs once.

        ``given`` holds what objectives may ask for by name in a training step (``Objective.given``).
        """
        by_module: dict[nn.Module, Outputs] = {}
        seen = self.seen(h, features)
        for objective, aux in zip(self.spec.objectives, self.auxnets.values(), strict=True):
            if aux not in by_module and objective.given and given is not None:
                by_module[aux] = named_outputs(aux(seen, **{name: given[name] for name in objective.given}))
            elif aux not in by_module:
                own = self.aux_segments.get(aux)
                by_module[aux] = named_outputs(aux(seen) if own is None else forward_segments(own, seen))
        return {name: by_module[aux] for name, aux in self.auxnets.items()}

    def losses(self, outputs: Mapping[str, Outputs], batch: Batch) -> tuple[dict[str, Tensor], Terms]:
        """The weighted sum of the loss terms of every objective, and the terms before weighting, detached.

        Terms go by their own name, with several objectives by ``objective.term``.
        """
        sums: dict[str, Tensor] = {}
        terms: Terms = {}
        alone = len(self.spec.objectives) == 1
        for objective in self.spec.objectives:
            with located(f"unit {self.name!r}"):
                found = objective.loss(outputs[objective.name], batch)
            for name, value in found.items():
                terms[name if alone else f"{objective.name}.{name}"] = value.detach()
                if name in objective.figures:
                    continue
                weighted = value if objective.weight == 1.0 else objective.weight * value
                before = sums.get(objective.name)
                sums[objective.name] = weighted if before is None else before + weighted
        return sums, terms

    @property
    def asks(self) -> bool:
        """Whether an auxiliary network gets more than the body's output in a training step."""
        return any(objective.given for objective in self.spec.objectives)

    @property
    def figures(self) -> frozenset[str]:
        """Names of the terms that are recorded and not learnt from."""
        alone = len(self.spec.objectives) == 1
        return frozenset(
            name if alone else f"{objective.name}.{name}"
            for objective in self.spec.objectives
            for name in objective.figures
        )

    def loss(self, h: Tensor, batch: Batch) -> tuple[Tensor, Terms]:
        """The sum of all objectives on the body's output ``h``, and their terms; for a unit that shares nothing."""
        sums, terms = self.losses(self.outputs(h), batch)
        return total(sums), terms

    def remember(self) -> None:
        """Keep the weights that ``follow`` reads of earlier units, which update before this one works."""
        self.remembered = {
            index: [theirs.detach().clone() for theirs in source.parameters()]
            for index, (follow, source) in enumerate(zip(self.spec.follows, self.sources, strict=True))
            if follow.rate is not None and follow.other is None
            if follow.block is not None and follow.block < self.span.start
        }

    def follow(self) -> None:
        """Move the parts of the auxiliary networks that follow something towards it, as remembered or as it is."""
        with torch.no_grad():
            for index, (follow, source) in enumerate(zip(self.spec.follows, self.sources, strict=True)):
                if follow.rate is None:
                    continue
                part = self.auxnets[follow.objective].get_submodule(follow.part)
                weights = self.remembered.get(index) or list(source.parameters())
                for mine, theirs in zip(part.parameters(), weights, strict=True):
                    mine.mul_(follow.rate).add_(theirs, alpha=1 - follow.rate)
        self.remembered = {}

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
        """One training step on one mini-batch (or a part of it) of a unit that shares nothing.

        Returns the output for the next unit, computed before the update and detached, and the loss terms. ``send`` gets
        that output as soon as it is there, so that the next unit can start before this one has learnt. Everything
        random inside is a function of (seed, unit, step, part); the random state found is restored. ``draws=False``
        leaves the random state alone: for a unit that is known to draw nothing, beside others in one process.
        """
        work = Work(self, batch, update, part, draws=draws)
        with work.at_once():
            h_out = work.forward(h_in)
            if send is not None:
                send(h_out)
            work.look()
            terms = work.learn()
        work.apply()
        return h_out, terms

    def trained_parameters(self) -> Sequence[nn.Parameter]:
        """Parameters that this unit's update changes, body first."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]


def window(feature: Tensor, start: int, count: int) -> Tensor:
    """``count`` channels of h_BCHW from ``start`` on, going on at the first one where they end."""
    stop, channels = start + count, feature.shape[1]
    if stop <= channels:
        return feature[:, start:stop]
    return torch.cat([feature[:, start:], feature[:, : stop - channels]], 1)


def spans(units: Sequence[Unit]) -> list[tuple[int, list[Unit]]]:
    """The units span by span, each with the place of its first one: more than one unit where a span has groups."""
    found, start = [], 0
    for _, group in groupby(units, key=lambda unit: unit.spec.index):
        members = list(group)
        found.append((start, members))
        start += len(members)
    return found


def forward_units(units: Sequence[Unit], x: Tensor) -> Iterator[tuple[Unit, Tensor, list[Tensor]]]:
    """Every unit with its body's output for the images ``x`` and those of all groups of its span."""
    h = x
    for _, members in spans(units):
        features = [unit(h) for unit in members]
        for unit, own in zip(members, features, strict=True):
            yield unit, own, features
        h = features[0] if len(features) == 1 else torch.cat(features, 1)


def network_input(units: Sequence[Unit], batch: Batch) -> Tensor:
    """What the first unit reads of a batch: its images, or the views where losses compare these."""
    if any("views" in unit.spec.needs for unit in units):
        assert batch.views is not None  # checked where the batch enters
        return batch.views
    return batch.x


def total(sums: Mapping[str, Tensor]) -> Tensor:
    """The sum over objectives; a UnitSpec has at least one."""
    first, *rest = sums.values()
    for value in rest:
        first = first + value
    return first


@final
class Work:
    """One unit's step on one mini-batch, in phases: what is sent sideways or backward goes between them.

    ``forward``, ``look``, then ``learn`` (a unit whose losses end at its own border) or ``cotangents`` and ``pull``
    (cascades), then ``apply``. Every runtime makes a step of these. Each phase runs under the random state of
    (seed, unit, step, part).
    """

    def __init__(self, unit: Unit, batch: Batch, update: Update, part: Part = WHOLE, *, draws: bool = True) -> None:
        self.unit = unit
        self.batch = batch
        self.update = update
        self.part = part
        self.device = batch.x.device
        seed = derive_seed(update.seed, "step", unit.name, batch.step or 0, part.index)
        self.stream = Stream(seed, self.device) if draws else None
        self.entered = False
        self.h_in: Tensor
        self.h: Tensor
        self.top: Tensor
        self.outputs: dict[str, Outputs]

    def drawing(self) -> AbstractContextManager[object]:
        """The random state of this step, as far as it has been drawn from."""
        return nullcontext() if self.stream is None or self.entered else self.stream.entered()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Phases with nothing of others between them: the random state is exchanged once, not in each."""
        with self.drawing():
            self.entered = True
            try:
                yield
            finally:
                self.entered = False

    def forward(self, h_in: Tensor, *, passes_on: bool = False) -> Tensor:
        """Run the body on the detached input; return its detached output.

        ``passes_on``: a cascade of a later unit will ask for the gradient of the input.
        """
        self.h_in = h_in.detach()
        if passes_on:
            self.h_in.requires_grad_()
        with self.drawing(), self.update.autocast(self.device):
            self.h = self.unit(self.h_in)
        self.top = self.h
        return self.h.detach()

    def take(self, h_in: Tensor, h: Tensor) -> None:
        """Take the output of a body that ran together with others; ``learn_top`` gives the gradient at it."""
        self.h_in, self.h = h_in, h
        self.cut_top()

    def look(self, features: Sequence[Tensor] = ()) -> Tensor | None:
        """Run the auxiliary networks; return the logits, detached, where the groups of the span share them."""
        with self.drawing(), self.update.autocast(self.device):
            if self.unit.asks:
                given = {"h_in": self.h_in.detach(), **vars(self.batch)}
                self.outputs = self.unit.outputs(self.top, features, given)
            else:
                self.outputs = self.unit.outputs(self.top, features)
        if not self.unit.spec.shares_outputs:
            return None
        return next(outputs["logits"] for outputs in self.outputs.values() if "logits" in outputs).detach()

    def _losses(self) -> tuple[dict[str, Tensor], Terms]:
        sums, terms = self.unit.losses(self.outputs, self.batch)
        if self.part.weight != 1.0:
            sums = {name: value * self.part.weight for name, value in sums.items()}
        return sums, terms

    def learn(self, logits: Sequence[Tensor] = ()) -> Terms:
        """Losses and backward pass; ``logits`` are those of all groups of the span, where they are shared."""
        _, terms = self._learn(logits, None)
        return terms

    def learn_top(self, logits: Sequence[Tensor] = ()) -> tuple[Tensor, Terms]:
        """The same down to the body's output only: the gradient there, and the terms."""
        cotangent, terms = self._learn(logits, self.top)
        assert cotangent is not None  # every auxiliary network reads its unit's output
        return cotangent, terms

    def _learn(self, logits: Sequence[Tensor], wanted: Tensor | None) -> tuple[Tensor | None, Terms]:
        if self.unit.spec.shares_outputs:
            others = torch.stack([one for group, one in enumerate(logits) if group != self.unit.spec.group])
            self.outputs = {name: {**outputs, "others": others} for name, outputs in self.outputs.items()}
        with self.drawing():
            with self.update.autocast(self.device):
                sums, terms = self._losses()
            return self.update.backward(total(sums), wanted), terms

    def cut_top(self) -> None:
        """Let the auxiliary networks look at a copy of the output, whose gradients ``cotangents`` hands out."""
        self.top = self.h.detach().requires_grad_()

    def cotangents(self) -> tuple[dict[int, Tensor], Terms]:
        """Backward pass through the auxiliary networks alone: gradients at the body's output by reach.

        Losses that go down equally far go together. The graphs of the auxiliary networks are freed.
        """
        found: dict[int, Tensor] = {}
        with self.drawing():
            with self.update.autocast(self.device):
                sums, terms = self._losses()
            by_reach: dict[int, list[str]] = {}
            for objective in self.unit.spec.objectives:
                by_reach.setdefault(objective.reach, []).append(objective.name)
            for reach, names in by_reach.items():
                value = total({name: sums.pop(name) for name in names})
                waiting = {self.unit.auxnets[name] for name in sums}
                again = not waiting.isdisjoint(self.unit.auxnets[name] for name in names)
                cotangent = self.update.backward(value, self.top, retain_graph=again)
                if cotangent is not None:
                    found[reach] = cotangent
        del self.outputs, self.top
        return found, terms

    def below(self, cotangent: Tensor) -> Tensor:
        """The gradient at the body's input for one at its output; parameters get nothing, the graph is kept."""
        (gradient,) = torch.autograd.grad(self.h, self.h_in, cotangent, retain_graph=True)
        return gradient

    def pull(self, cotangent: Tensor) -> None:
        """Add the gradients of the body's parameters for the sum of all cotangents, and free the graph."""
        if parameters := [parameter for parameter in self.unit.body.parameters() if parameter.requires_grad]:
            self.update.pull(self.h, cotangent, parameters)
        del self.h, self.h_in

    def apply(self) -> None:
        """Update the weights, after the last part of a mini-batch; what follows blocks of the network moves first."""
        if self.part.last:
            self.unit.follow()
            self.update.apply()
