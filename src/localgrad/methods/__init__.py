"""Local learning methods and the baselines: one file per paper."""

from localgrad.methods.auglocal import AugLocal as AugLocal
from localgrad.methods.backprop import Backprop as Backprop
from localgrad.methods.backprop import Checkpointing as Checkpointing
from localgrad.methods.dgl import DGL as DGL

__all__ = ["DGL", "AugLocal", "Backprop", "Checkpointing"]
