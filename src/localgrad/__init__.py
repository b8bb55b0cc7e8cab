"""localgrad: train PyTorch networks with local learning."""

from localgrad import backbones as backbones
from localgrad import methods as methods
from localgrad import partition as partition
from localgrad.errors import LocalgradError as LocalgradError
from localgrad.errors import RunError as RunError
from localgrad.network import LocalNetwork as LocalNetwork
from localgrad.network import localize as localize
from localgrad.partition import equal_blocks as equal_blocks
from localgrad.partition import equal_macs as equal_macs
from localgrad.runtime import Sequential as Sequential
from localgrad.runtime import Step as Step
from localgrad.spec import Backbone as Backbone
from localgrad.spec import Batch as Batch
from localgrad.spec import Partition as Partition
from localgrad.spec import Span as Span
from localgrad.update import Precision as Precision
