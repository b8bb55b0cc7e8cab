"""localgrad: train PyTorch networks with local learning."""

from localgrad import backbones as backbones
from localgrad import cost as cost
from localgrad import data as data
from localgrad import methods as methods
from localgrad import partition as partition
from localgrad import train as train
from localgrad.analysis import Audit as Audit
from localgrad.analysis import audit as audit
from localgrad.errors import LocalgradError as LocalgradError
from localgrad.errors import RunError as RunError
from localgrad.exported import load as load
from localgrad.fitting import localize as localize
from localgrad.heap import keep_freed_memory as keep_freed_memory
from localgrad.network import LocalNetwork as LocalNetwork
from localgrad.partition import equal_blocks as equal_blocks
from localgrad.partition import equal_macs as equal_macs
from localgrad.partition import equal_memory as equal_memory
from localgrad.runtime import Greedy as Greedy
from localgrad.runtime import Queued as Queued
from localgrad.runtime import Sequential as Sequential
from localgrad.runtime import Step as Step
from localgrad.runtime import Tick as Tick
from localgrad.spec import Backbone as Backbone
from localgrad.spec import Batch as Batch
from localgrad.spec import Partition as Partition
from localgrad.spec import Span as Span
from localgrad.train import SGD as SGD
from localgrad.train import Adam as Adam
from localgrad.train import Run as Run
from localgrad.update import Precision as Precision
from localgrad.version import VERSION as __version__

__all__ = [
    "SGD", "Adam", "Audit", "Backbone", "Batch", "Greedy", "LocalNetwork", "LocalgradError", "Partition", "Precision",
    "Queued", "Run", "RunError", "Sequential", "Span", "Step", "Tick", "__version__", "audit", "backbones", "cost",
    "data", "equal_blocks", "equal_macs", "equal_memory", "keep_freed_memory", "load", "localize", "methods",
    "partition", "train",
]  # fmt: skip
