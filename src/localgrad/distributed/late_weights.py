"""Weights of blocks that auxiliary networks on other stages follow, some steps late (``DistributedSpec.ema_delay``).

Exactly, a part that follows a block moves in step t towards the block as it was before the update of step t, and those
weights do not exist yet while earlier mini-batches are on the way. With a delay of n it takes version
max(first, t - n): version s is what the block is before the update of step s, ``first`` the step where the run began.

The owner of a block sends the first version before any work and version s + 1 at the end of step s; it never waits for
who follows, whose inbox holds the n + 2 messages by which an earlier stage can be behind. Nobody waits in a circle:
version t - n is there once the owner has made step t - n - 1, for which it needs nothing of step t.
"""

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from localgrad.distributed.wire import Inbox, Item, ItemKind, Message, Outbox
from localgrad.errors import LocalgradError
from localgrad.network import LocalNetwork
from localgrad.placement import Placement, followed

PREFIX = "follow"


def inbox_depth(delay: int) -> int:
    """Messages that an inbox for weights holds, so that their owner can always hand over the next."""
    return delay + 2


@final
class LateWeights:
    """Both ends of a stage: versions of its blocks for others, and of others' blocks for its auxiliary networks.

    ``out`` and ``into`` are the channels by the place of the unit that owns the blocks. ``delay`` is n above.
    """

    def __init__(
        self,
        net: LocalNetwork,
        placement: Placement,
        stage: int,
        delay: int,
        out: Mapping[int, Mapping[int, Outbox]],
        into: Mapping[int, Inbox],
    ) -> None:
        self.units, self.delay = net.unit_list(), delay
        self.out, self.into = out, into
        parameters = dict(net.named_parameters())
        names = followed(net, placement)
        self.sent = {
            (owner, target): [parameters[name] for name in names[owner, target]]
            for owner, boxes in out.items()
            for target in boxes
        }
        self.names = {owner: names[owner, stage] for owner in into}
        self.shapes = {name: (parameters[name].shape, parameters[name].dtype) for name in sum(self.names.values(), ())}
        owners = {name: owner for owner, own in self.names.items() for name in own}
        name_of = {id(parameter): name for name, parameter in parameters.items()}
        # For every unit here: by follow, which of its source's parameters come from whom.
        self.wanted: dict[int, dict[int, dict[int, tuple[int, str]]]] = {}
        for place in placement.units_of(stage):
            unit = self.units[place]
            self.wanted[place] = {
                index: {
                    position: (owners[name], name)
                    for position, weight in enumerate(unit.sources[index].parameters())
                    if (name := name_of[id(weight)]) in owners
                }
                for index, follow in enumerate(unit.spec.follows)
                if follow.rate is not None and follow.other is None
            }
        self.versions: dict[int, dict[int, dict[str, Tensor]]] = {owner: {} for owner in into}
        """Weights by the unit that owns them, version and name."""
        self.first: dict[int, int] = {}
        self.expected: dict[int, int] = {}

    def begin(self, step: int, saved: Mapping[str, Tensor] | None = None) -> list[str]:
        """Send the first version: this process starts with ``step``. ``saved`` is what ``state`` gave before.

        Returns the names of units whose older versions are not in ``saved`` although there were steps: those of
        ``step`` stand for them.
        """
        lacking = []
        for owner, names in self.names.items():
            older = _saved_versions(saved or {}, names, step)
            self.versions[owner] = {
                version: {name: (saved or {})[_key(version, name)].to(self.into[owner].device) for name in names}
                for version in older
            }
            self.first[owner] = min(older, default=step)
            self.expected[owner] = step
            if step and not older:
                lacking.append(self.units[owner].name)
        self.tell(step)
        return lacking

    def tell(self, version: int) -> None:
        """Send what the followed blocks here are before the update of step ``version``."""
        item = Item(ItemKind.TRAIN, step=version)
        for owner, boxes in self.out.items():
            for target, box in boxes.items():
                # One number format for all, exact for each.
                flat = torch.cat([weight.detach().reshape(-1) for weight in self.sent[owner, target]])
                box.put(Message(item, {"h": flat}))

    def give(self, place: int, step: int) -> None:
        """Let a unit follow the versions of this step; call it before the unit's update."""
        unit = self.units[place]
        for index, late in self.wanted[place].items():
            if not late:
                continue
            weights = list(unit.remembered.get(index) or unit.sources[index].parameters())
            for position, (owner, name) in late.items():
                weights[position] = self._version(owner, step)[name]
            unit.remembered[index] = weights

    def _version(self, owner: int, step: int) -> dict[str, Tensor]:
        wanted = max(self.first[owner], step - self.delay)
        kept = self.versions[owner]
        while wanted not in kept:
            self._hold(owner, self.into[owner].take())
        for old in [version for version in kept if version < wanted]:
            del kept[old]
        return kept[wanted]

    def _hold(self, owner: int, message: Message) -> None:
        item, expected = message.item, self.expected[owner]
        if item.kind is not ItemKind.TRAIN or item.step != expected:
            box = self.into[owner]
            raise LocalgradError(
                f"{box.world.name(box.source)} sent weights of unit {owner} for {item}, expected step {expected}: the "
                "processes are not at the same place of the run. Start all of them with the same command and data."
            )
        names = self.names[owner]
        sizes = [self.shapes[name][0].numel() for name in names]
        parts = zip(names, torch.split(message.tensors["h"], sizes), strict=True)
        self.versions[owner][expected] = {
            name: part.view(self.shapes[name][0]).to(self.shapes[name][1]) for name, part in parts
        }
        self.expected[owner] = expected + 1

    def state(self, step: int) -> dict[str, Tensor]:
        """What has to be saved to continue with ``step``: the versions before it that are still to be followed.

        Waits for those on their way: their owner sends the last of them when it has made step ``step`` - 2.
        """
        found: dict[str, Tensor] = {}
        for owner, kept in self.versions.items():
            while self.expected[owner] < step:
                self._hold(owner, self.into[owner].take())
            for version in range(max(self.first[owner], step - self.delay), step):
                found |= {_key(version, name): value for name, value in kept[version].items()}
        return found

    def close(self, item: Item) -> None:
        """Keep what is on its way up to ``item``, which ends the stream, for ``state``."""
        for owner, box in self.into.items():
            while (message := box.take()).item != item:
                self._hold(owner, message)


def _key(version: int, name: str) -> str:
    return f"{PREFIX}.{version}.{name}"


def _saved_versions(saved: Mapping[str, Tensor], names: tuple[str, ...], step: int) -> list[int]:
    """The versions, one after the other up to the one before ``step``, of which all ``names`` are there."""
    found: list[int] = []
    version = step - 1
    while version >= 0 and all(_key(version, name) in saved for name in names):
        found.append(version)
        version -= 1
    return found
