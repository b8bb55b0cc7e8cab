"""Networks as data: functions that return a Backbone."""

from localgrad.backbones.densenet import cifar_densenet as cifar_densenet
from localgrad.backbones.densenet import densenet_bc_100_12 as densenet_bc_100_12
from localgrad.backbones.efficientnet import cifar_efficientnet_b0 as cifar_efficientnet_b0
from localgrad.backbones.four_stage import cifar_resnet50 as cifar_resnet50
from localgrad.backbones.four_stage import four_stage_resnet as four_stage_resnet
from localgrad.backbones.four_stage import imagenet_resnet34 as imagenet_resnet34
from localgrad.backbones.four_stage import imagenet_resnet50 as imagenet_resnet50
from localgrad.backbones.four_stage import imagenet_resnet101 as imagenet_resnet101
from localgrad.backbones.four_stage import imagenet_resnet152 as imagenet_resnet152
from localgrad.backbones.mlp import mlp as mlp
from localgrad.backbones.mobilenet import cifar_mobilenetv2 as cifar_mobilenetv2
from localgrad.backbones.predsim_vgg import predsim_vgg as predsim_vgg
from localgrad.backbones.predsim_vgg import vgg6a as vgg6a
from localgrad.backbones.predsim_vgg import vgg6b as vgg6b
from localgrad.backbones.predsim_vgg import vgg8b as vgg8b
from localgrad.backbones.predsim_vgg import vgg11b as vgg11b
from localgrad.backbones.predsim_vgg import vgg16a as vgg16a
from localgrad.backbones.predsim_vgg import vgg19a as vgg19a
from localgrad.backbones.regnet import cifar_regnetx_400mf as cifar_regnetx_400mf
from localgrad.backbones.resnet import cifar_resnet as cifar_resnet
from localgrad.backbones.resnet import resnet20 as resnet20
from localgrad.backbones.resnet import resnet32 as resnet32
from localgrad.backbones.resnet import resnet44 as resnet44
from localgrad.backbones.resnet import resnet56 as resnet56
from localgrad.backbones.resnet import resnet110 as resnet110
from localgrad.backbones.resnext import imagenet_resnext as imagenet_resnext
from localgrad.backbones.resnext import imagenet_resnext101_32x8d as imagenet_resnext101_32x8d
from localgrad.backbones.vgg import conv_vgg as conv_vgg
from localgrad.backbones.vgg import imagenet_vgg as imagenet_vgg
from localgrad.backbones.vgg import imagenet_vgg13 as imagenet_vgg13
from localgrad.backbones.vgg import imagenet_vgg19 as imagenet_vgg19
from localgrad.backbones.vgg import vgg13 as vgg13
from localgrad.backbones.vgg import vgg16 as vgg16
from localgrad.backbones.vgg import vgg19 as vgg19

__all__ = [
    "cifar_densenet",
    "cifar_efficientnet_b0",
    "cifar_mobilenetv2",
    "cifar_regnetx_400mf",
    "cifar_resnet",
    "cifar_resnet50",
    "conv_vgg",
    "densenet_bc_100_12",
    "four_stage_resnet",
    "imagenet_resnet34",
    "imagenet_resnet50",
    "imagenet_resnet101",
    "imagenet_resnet152",
    "imagenet_resnext",
    "imagenet_resnext101_32x8d",
    "imagenet_vgg",
    "imagenet_vgg13",
    "imagenet_vgg19",
    "mlp",
    "predsim_vgg",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "vgg6a",
    "vgg6b",
    "vgg8b",
    "vgg11b",
    "vgg13",
    "vgg16",
    "vgg16a",
    "vgg19",
    "vgg19a",
]
