"""Placement: the stage that hosts each unit, and how many replicas every stage has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from localgrad.unit import Unit


@final
@dataclass(frozen=True)
class Placement:
    """``hosts[i]`` is the stage, from 0, that hosts unit i; ``replicas`` processes share the batches of every stage.

    A stage is a place in the pipeline: one process, or with replicas as many as there are, each on its own part of
    every mini-batch. Process ("rank") of a stage and a replica: ``stage * replicas + replica``.
    """

    hosts: tuple[int, ...]
    replicas: int = 1

    @property
    def stages(self) -> int:
        """How many stages there are."""
        return max(self.hosts) + 1

    @property
    def ranks(self) -> int:
        """How many processes there are."""
        return self.stages * self.replicas

    def rank(self, stage: int, replica: int) -> int:
        """The process that is ``replica`` of ``stage``."""
        return stage * self.replicas + replica

    def stage_of(self, rank: int) -> int:
        """The stage of a process."""
        return rank // self.replicas

    def replica_of(self, rank: int) -> int:
        """Which part of every mini-batch a process works on."""
        return rank % self.replicas

    def units_of(self, stage: int) -> tuple[int, ...]:
        """Places, in the list of units, of those that a stage hosts."""
        return tuple(unit for unit, host in enumerate(self.hosts) if host == stage)

    def ranks_of(self, stage: int) -> tuple[int, ...]:
        """The replicas of a stage."""
        return tuple(self.rank(stage, replica) for replica in range(self.replicas))


def placement_problems(placement: Placement, units: Sequence[Unit]) -> Iterator[str]:
    """Why these units cannot be hosted so; each as a sentence or two."""
    hosts, count = placement.hosts, len(units)
    if placement.replicas < 1:
        yield f"replicas must be at least 1, got {placement.replicas}."
    if len(hosts) != count:
        yield f"hosts must name a stage for each of the {count} units, got {len(hosts)} numbers: {list(hosts)}."
        return
    wrong = [host for host in hosts if type(host) is not int or host < 0]
    if wrong:
        yield f"hosts must be stages counted from 0, got {wrong[0]!r}."
        return
    idle = sorted(set(range(placement.stages)) - set(hosts))
    if idle:
        yield f"stage {idle[0]} hosts no unit: hosts={list(hosts)} names {placement.stages} stages and leaves it out."
    if hosts and hosts[0] != 0:
        yield f"unit 0 ({units[0].name}) must be on stage 0, got stage {hosts[0]}. Number stages along the network."
        return
    # Nothing flows backward: what a stage hosts later in the network may not lie before what it waits for.
    for (place, unit), (after, later) in zip(enumerate(units[:-1]), enumerate(units[1:], 1), strict=True):
        if later.spec.index != unit.spec.index and hosts[after] < min(
            hosts[other] for other, one in enumerate(units) if one.spec.index == unit.spec.index
        ):
            yield (
                f"unit {after} ({later.name}) is on stage {hosts[after]}, before stage {hosts[place]} of unit {place} "
                f"({unit.name}), whose output it reads: traffic would flow backward. Number stages along the network."
            )
            return
