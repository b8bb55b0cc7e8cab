"""Local learning methods and the baselines: one file per paper."""

from localgrad.methods.auglocal import AugLocal as AugLocal
from localgrad.methods.backprop import Backprop as Backprop
from localgrad.methods.backprop import Checkpointing as Checkpointing
from localgrad.methods.dgl import DGL as DGL
from localgrad.methods.gndgl import GNDGL as GNDGL
from localgrad.methods.infopro import InfoPro as InfoPro
from localgrad.methods.infopro_lambdas import Lambdas as Lambdas
from localgrad.methods.mlaan import MLAAN as MLAAN
from localgrad.methods.predsim import PredSim as PredSim
from localgrad.methods.reconstruction import Reconstruction as Reconstruction

__all__ = ["DGL", "GNDGL", "MLAAN", "AugLocal", "Backprop", "Checkpointing", "InfoPro", "PredSim"]
