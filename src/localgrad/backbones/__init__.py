"""Networks as data: functions that return a Backbone."""

from localgrad.backbones.resnet import cifar_resnet as cifar_resnet
from localgrad.backbones.resnet import resnet20 as resnet20
from localgrad.backbones.resnet import resnet32 as resnet32
from localgrad.backbones.resnet import resnet44 as resnet44
from localgrad.backbones.resnet import resnet56 as resnet56
from localgrad.backbones.resnet import resnet110 as resnet110

__all__ = ["cifar_resnet", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110"]
