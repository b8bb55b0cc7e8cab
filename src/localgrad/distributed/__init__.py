"""Many processes train one network: exactly what one process computes, with traffic in one direction."""

from localgrad.distributed.address import Address as Address
from localgrad.distributed.cascades import train_cascades as train_cascades
from localgrad.distributed.replicas import Replicas as Replicas
from localgrad.distributed.wire import Item as Item
from localgrad.distributed.wire import ItemKind as ItemKind
from localgrad.distributed.worker import Worker as Worker
from localgrad.distributed.world import World as World

__all__ = ["Address", "Item", "ItemKind", "Replicas", "Worker", "World", "train_cascades"]
