"""Which process hosts which unit, and what travels between them: pure data, before anything runs."""

from localgrad.placement.hosts import Placement as Placement
from localgrad.placement.hosts import placement_problems as placement_problems
from localgrad.placement.traffic import Kind as Kind
from localgrad.placement.traffic import Transfer as Transfer
from localgrad.placement.traffic import Wire as Wire
from localgrad.placement.traffic import followed as followed
from localgrad.placement.traffic import follows_blocks as follows_blocks
from localgrad.placement.traffic import transfers as transfers
from localgrad.placement.traffic import unit_shapes as unit_shapes

__all__ = [
    "Kind",
    "Placement",
    "Transfer",
    "Wire",
    "followed",
    "follows_blocks",
    "placement_problems",
    "transfers",
    "unit_shapes",
]
