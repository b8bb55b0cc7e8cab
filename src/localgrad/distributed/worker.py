"""A stage at work: its units on one item of the stream after the other. Follow one mini-batch through ``train``.

The units' steps are those of every runtime (``Unit.step``, or the phases of ``Work`` where groups share); this file
moves data: from the loader or an inbox into a span, from one span to the next, and on to the stages that read it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor

from localgrad.distributed.address import first_line
from localgrad.distributed.codec import Codec, decode
from localgrad.distributed.late_weights import LateWeights, inbox_depth
from localgrad.distributed.replicas import Replicas, ReplicatedUpdate
from localgrad.distributed.wire import DEPTH, Inbox, Item, Message, Outbox
from localgrad.distributed.world import World
from localgrad.errors import LocalgradError
from localgrad.network import LocalNetwork
from localgrad.placement import Kind, Placement, Transfer, Wire, transfers
from localgrad.spec import Batch
from localgrad.unit import Terms, Unit, Work, network_input
from localgrad.update import OptimizerUpdate, Part

Gathered = dict[str, Any]
"""Plain nested data that JSON knows."""

Logits = dict[int, Tensor]
"""Class logits_BK of units by their place."""


@final
@dataclass(frozen=True)
class HostedSpan:
    """A span of which this stage hosts units: places of all its units, and of the hosted ones."""

    members: tuple[int, ...]
    mine: tuple[int, ...]
    before: tuple[int, ...]
    """Places of all units of the span before; none for the first span."""
    shares_features: bool
    shares_outputs: bool


@final
class Worker:
    """The units that this process trains, and its channels.

    ``net`` has weights for these units only (``only=``); ``updates`` are theirs, by place. ``labels`` False: this stage
    has a loader of its own for labels and images. ``ema_delay``: by how many steps auxiliary networks follow blocks of
    other stages late; call ``late.begin`` before the first step then. Raises LocalgradError where that is needed and
    not given.
    """

    def __init__(
        self,
        world: World,
        net: LocalNetwork,
        placement: Placement,
        updates: Mapping[int, OptimizerUpdate],
        replicas: Replicas,
        *,
        device: torch.device,
        wire: Wire = Wire.FLOAT32,
        labels: bool = True,
        ema_delay: int | None = None,
    ) -> None:
        self.world, self.net, self.placement, self.replicas = world, net, placement, replicas
        self.device = device
        self.stage = placement.stage_of(world.rank)
        self.replica = placement.replica_of(world.rank)
        self.units = net.unit_list()
        self.hosted = tuple(hosted_spans(self.units, placement.units_of(self.stage)))
        self.inner = dict(updates)
        self.updates = {
            place: update if replicas.count == 1 else ReplicatedUpdate(update, replicas)
            for place, update in updates.items()
        }
        self.codec = Codec(wire)
        self.channels = transfers(net, placement, labels=labels)
        self.out: dict[tuple[Kind, int], list[tuple[Transfer, Outbox]]] = {}
        self.into: dict[tuple[Kind, int], Inbox] = {}
        if ema_delay is None and any(channel.kind is Kind.WEIGHTS for channel in self.channels):
            raise LocalgradError(
                "auxiliary networks follow blocks of other stages: give ema_delay, or put these units on one stage."
            )
        groups = world.patiently(lambda: channel_groups(self.channels, device), "channels")
        for tag, (channel, group) in enumerate(zip(self.channels, groups, strict=True)):
            key = channel.kind, channel.unit
            if channel.source == self.stage:
                target = placement.rank(channel.target, self.replica)
                self.out.setdefault(key, []).append((channel, Outbox(world, target, tag, group)))
            if channel.target == self.stage:
                depth = inbox_depth(ema_delay or 0) if channel.kind is Kind.WEIGHTS else DEPTH
                source = placement.rank(channel.source, self.replica)
                self.into[key] = Inbox(world, source, tag, device, group, depth=depth)
        follow_out = {
            place: {channel.target: box for channel, box in boxes}
            for (kind, place), boxes in self.out.items()
            if kind is Kind.WEIGHTS
        }
        follow_into = {place: box for (kind, place), box in self.into.items() if kind is Kind.WEIGHTS}
        self.late = LateWeights(net, placement, self.stage, ema_delay or 0, follow_out, follow_into)

    @property
    def is_source(self) -> bool:
        """Whether this stage reads the data set: it hosts units of the first span."""
        return self.hosted[0].members[0] == 0

    @property
    def is_tail(self) -> bool:
        """Whether this stage hosts the last unit, which ends in the network's own head."""
        return len(self.units) - 1 in self.hosted[-1].mine

    def next_item(self) -> Item:
        """What comes next, as the stage before says; a source knows by itself."""
        return self._first_inbox().peek().item

    def _first_inbox(self) -> Inbox:
        return next(self.into[key] for place in self.hosted[0].before if (key := (Kind.OUTPUT, place)) in self.into)

    def part(self, rows: int) -> Part:
        """This replica's part of a mini-batch of so many rows."""
        if self.replicas.count == 1:
            return Part()
        sizes = [len(chunk) for chunk in torch.arange(rows).tensor_split(self.replicas.count)]
        return Part(self.replica, sizes[self.replica] / rows)

    def own_rows(self, batch: Batch) -> Batch:
        """The rows of a loader's batch that this replica works on."""
        if self.replicas.count == 1:
            return batch
        fields = {
            name: value.tensor_split(self.replicas.count)[self.replica]
            for name in ("x", "y", "image")
            if (value := getattr(batch, name)) is not None
        }
        if batch.views is not None:
            # The two views of an image stay together.
            images = torch.arange(len(batch.x)).tensor_split(self.replicas.count)[self.replica]
            own = slice(2 * int(images[0]), 2 * int(images[-1]) + 2)
            fields["views"] = batch.views[own]
            if batch.pair_similarity is not None:
                fields["pair_similarity"] = batch.pair_similarity[own, own]
        return replace(batch, **fields)

    def train(self, item: Item, own: Batch | None) -> dict[int, Terms]:
        """One training step of all hosted units; ``own`` is the loader's batch where this stage has a loader.

        Returns the loss terms of every hosted unit. Raises LocalgradError when another process is gone.
        """
        part, outputs, terms = self.part(item.rows), dict[int, Tensor](), dict[int, Terms]()
        batch = own
        for place in self.inner:
            self.units[place].remember()
        for span in self.hosted:
            h, batch = self.input(span, item, outputs, batch)
            if span.shares_features or span.shares_outputs:
                works = {place: Work(self.units[place], batch, self.updates[place], part) for place in span.mine}
                outputs, learnt = self._together(span, item, batch, works, h)
                terms |= learnt
                continue
            outputs = {}
            for place in span.mine:
                with self.named(place):
                    update, send = self.updates[place], partial(self._hand_on, place, item, batch)
                    outputs[place], terms[place] = self.units[place].step(h, batch, update, part, send=send)
        self.late.tell(item.step + 1)
        return terms

    def _hand_on(self, place: int, item: Item, batch: Batch, h: Tensor) -> None:
        """Send a unit's output; then, while the next stage has work, wait for the weights that this unit follows."""
        self.send(place, item, batch, h)
        self.late.give(place, item.step)

    def _together(
        self, span: HostedSpan, item: Item, batch: Batch, works: Mapping[int, Work], h: Tensor
    ) -> tuple[dict[int, Tensor], dict[int, Terms]]:
        """One step of groups that share features or logits, some of them on other stages."""
        outputs, terms = dict[int, Tensor](), dict[int, Terms]()
        for place, work in works.items():
            with self.named(place):
                outputs[place] = work.forward(h)
            self.send(place, item, batch, outputs[place])
        features = self._exchanged(Kind.FEATURES, span, item, outputs) if span.shares_features else []
        logits: Logits = {}
        for place, work in works.items():
            with self.named(place):
                sent = work.look(features)
            if sent is not None:
                logits[place] = sent
        others = self._exchanged(Kind.LOGITS, span, item, logits) if span.shares_outputs else []
        for place, work in works.items():
            with self.named(place):
                terms[place] = work.learn(others)
                self.late.give(place, item.step)
                work.apply()
        return outputs, terms

    def _exchanged(self, kind: Kind, span: HostedSpan, item: Item, own: Mapping[int, Tensor]) -> list[Tensor]:
        """What all groups of the span made, in their order: this stage's, and those of others."""
        for place in span.mine:
            if (kind, place) in self.out:
                self.send_to(kind, place, Message(item, self.codec.encode(own[place])))
        found = []
        for place in span.members:
            if place in own:
                found.append(own[place])
            else:
                found.append(decode(self.take(kind, place, item).tensors))
        return found

    def send_to(self, kind: Kind, place: int, message: Message) -> None:
        """Send a message about a unit on all channels of a kind."""
        for _, box in self.out.get((kind, place), []):
            box.put(message)

    def take(self, kind: Kind, place: int, item: Item) -> Message:
        """The next message about a unit. Raises LocalgradError when it is not about ``item``."""
        message = self.into[kind, place].take()
        if message.item != item:
            source = self.world.name(self.into[kind, place].source)
            raise LocalgradError(
                f"{source} sent {kind} of unit {place} for {message.item}, expected {item}: the processes are not at "
                "the same place of the run. Start all of them with the same command and data."
            )
        return message

    def input(
        self, span: HostedSpan, item: Item, outputs: Mapping[int, Tensor], batch: Batch | None
    ) -> tuple[Tensor, Batch]:
        """What the units of a span read, and the batch that their losses read."""
        if not span.before:
            assert batch is not None
            return network_input(self.units, batch), batch
        arrived = {place: self.take(Kind.OUTPUT, place, item) for place in span.before if place not in outputs}
        parts = [outputs[p] if p in outputs else decode(arrived[p].tensors) for p in span.before]
        h = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        if batch is None:
            fields = next(message.tensors for message in arrived.values() if "y" in message.tensors)
            batch = Batch(h, fields["y"], fields.get("image"), step=item.step, epoch=item.epoch)
        return h, batch

    def send(self, place: int, item: Item, batch: Batch, h: Tensor, logits: Logits | None = None) -> None:
        """Hand a unit's output on to the stages that read it, labels and images with it."""
        for channel, box in self.out.get((Kind.OUTPUT, place), []):
            tensors = self.codec.encode(h)
            for name in channel.extras:
                value = getattr(batch, name)
                if value is not None:
                    tensors[name] = value
            if logits:
                tensors["ids"] = torch.tensor(sorted(logits))
                tensors["logits"] = torch.stack([logits[unit] for unit in sorted(logits)])
            box.put(Message(item, tensors))

    @torch.inference_mode()
    def evaluate(self, item: Item, own: Batch | None) -> tuple[Batch, Logits, Logits]:
        """Class logits of the hosted units on an evaluation batch, and of all units so far along the pipeline."""
        outputs, seen, mine = dict[int, Tensor](), Logits(), Logits()
        batch = own
        for span in self.hosted:
            h, batch = self._evaluation_input(span, item, outputs, batch, seen)
            with self._autocast():
                outputs = {place: self.units[place](h) for place in span.mine}
                features = self._exchanged(Kind.FEATURES, span, item, outputs) if span.shares_features else []
                found = {p: self.net.class_logits(self.units[p], outputs[p], features) for p in span.mine}
            made = {place: logits for place, logits in found.items() if logits is not None}
            mine |= made
            seen |= made
            for place in span.mine:
                self.send(place, item, batch, outputs[place], seen)
        assert batch is not None
        return batch, mine, seen

    @torch.no_grad()
    def look(self, item: Item, own: Batch | None) -> tuple[Batch, dict[int, Tensor]]:
        """Outputs of the hosted units on images as they are, by place; no auxiliary network runs."""
        outputs, found, batch = dict[int, Tensor](), dict[int, Tensor](), own
        for span in self.hosted:
            if span.before:
                h, batch = self.input(span, item, outputs, batch)
            else:
                assert batch is not None
                h = batch.x  # of methods that learn from views, too
            with self._autocast():
                outputs = {place: self.units[place](h) for place in span.mine}
            found |= outputs
            for place in span.mine:
                self.send(place, item, batch, outputs[place])
        assert batch is not None
        return batch, found

    def _evaluation_input(
        self, span: HostedSpan, item: Item, outputs: Mapping[int, Tensor], batch: Batch | None, seen: Logits
    ) -> tuple[Tensor, Batch]:
        for place in span.before:
            if place not in outputs:
                tensors = self.into[Kind.OUTPUT, place].peek().tensors
                if "ids" in tensors:
                    seen |= dict(zip(tensors["ids"].tolist(), tensors["logits"], strict=True))
        return self.input(span, item, outputs, batch)

    def _autocast(self) -> AbstractContextManager[object]:
        return next(iter(self.updates.values())).autocast(self.device)

    def pass_on(self, item: Item, gathered: Gathered) -> Gathered:
        """Send plain data down the pipeline; every stage adds to what those before it told. Returns it all so far.

        An item that ends the stream ends the channels, too.
        """
        for span in self.hosted:
            for place in span.before:
                if (Kind.OUTPUT, place) in self.into:
                    told = self.take(Kind.OUTPUT, place, item).tensors["text"]
                    gathered = merged(json.loads(bytes(told.tolist())), gathered)
            text = json.dumps(gathered).encode()
            for place in span.mine:
                self.send_to(Kind.OUTPUT, place, Message(item, {"text": torch.tensor(list(text), dtype=torch.uint8)}))
        if item.ends:
            self._close(item)
        return gathered

    def _close(self, item: Item) -> None:
        sideways = [key for key in (*self.out, *self.into) if key[0] is not Kind.OUTPUT]
        for key in sideways:
            self.send_to(*key, Message(item))
        for key in sideways:
            if key in self.into and key[0] is not Kind.WEIGHTS:
                self.into[key].take_end(item)
        self.late.close(item)
        for boxes in self.out.values():
            for _, box in boxes:
                box.close()

    @contextmanager
    def named(self, place: int) -> Iterator[None]:
        """Errors inside are those of a unit: memory that ran out is said with its name."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or "t allocate memory" in str(error)):
                raise
            raise LocalgradError(
                f"out of memory in unit {place} ({self.units[place].name}) on {self.device}: {first_line(error)}. "
                "Give this process fewer units (--hosts, or more processes), cut the network into smaller modules, "
                "or take a smaller --batch-size."
            ) from error


def channel_groups(channels: Sequence[Transfer], device: torch.device) -> list[dist.ProcessGroup | None]:
    """The process group of every channel; None is that of everything. Every process has to call it.

    What a method sends against the arrows has a group of its own. nccl knows no tags, so there every channel has one.
    """
    if device.type == "cuda":
        return [new_group() for _ in channels]
    backward = new_group() if any(channel.backward for channel in channels) else None
    return [backward if channel.backward else None for channel in channels]


def new_group() -> dist.ProcessGroup:
    """A process group of all processes; every process has to call it."""
    made = dist.new_group()
    assert isinstance(made, dist.ProcessGroup)
    return made


def merged(first: Gathered, second: Gathered) -> Gathered:
    """Two nested dictionaries in one; where both say something, ``second`` counts."""
    found = dict(first)
    for name, value in second.items():
        before = found.get(name)
        found[name] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return found


def hosted_spans(units: Sequence[Unit], mine: Sequence[int]) -> Iterator[HostedSpan]:
    """The spans of which a stage hosts units, in the order of the network."""
    by_span: dict[int, list[int]] = {}
    for place, unit in enumerate(units):
        by_span.setdefault(unit.spec.index, []).append(place)
    for index, members in by_span.items():
        here = tuple(place for place in members if place in mine)
        if here:
            specs = [units[place].spec for place in members]
            yield HostedSpan(
                tuple(members),
                here,
                tuple(by_span.get(index - 1, ())),
                any(spec.shares_features for spec in specs),
                any(spec.shares_outputs for spec in specs),
            )
