"""Local learning methods and the baselines: one file per paper."""

from localgrad.methods.auglocal import AugLocal as AugLocal
from localgrad.methods.backprop import Backprop as Backprop
from localgrad.methods.backprop import Checkpointing as Checkpointing
from localgrad.methods.calibration import Calibration as Calibration
from localgrad.methods.calibration import read_calibration as read_calibration
from localgrad.methods.dgl import DGL as DGL
from localgrad.methods.dgssl import DGSSL as DGSSL
from localgrad.methods.dgssl_selection import Calibrated as Calibrated
from localgrad.methods.dgssl_selection import Given as Given
from localgrad.methods.dgssl_selection import PairSelection as PairSelection
from localgrad.methods.dgssl_selection import Running as Running
from localgrad.methods.gndgl import GNDGL as GNDGL
from localgrad.methods.infopro import InfoPro as InfoPro
from localgrad.methods.infopro_lambdas import Lambdas as Lambdas
from localgrad.methods.mlaan import MLAAN as MLAAN
from localgrad.methods.predsim import PredSim as PredSim
from localgrad.methods.reconstruction import Reconstruction as Reconstruction

__all__ = ["DGL", "DGSSL", "GNDGL", "MLAAN", "AugLocal", "Backprop", "Checkpointing", "InfoPro", "PredSim"]
