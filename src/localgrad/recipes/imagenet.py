"""The papers' experiments on ImageNet. Depths that a paper does not give are AugLocal's released script's (5)."""

from dataclasses import replace
from functools import partial

from localgrad.backbones import imagenet_resnext101_32x8d
from localgrad.methods import AugLocal, InfoPro
from localgrad.methods.infopro_lambdas import Lambdas
from localgrad.partition import papers
from localgrad.recipes.making.greedy_heads import auglocal
from localgrad.recipes.making.imagenet import backprop, dgl, imagenet_setting, published
from localgrad.recipes.making.mlaan import mlaan
from localgrad.recipes.making.protocols import DGL_IMAGENET, imagenet

# The released script passes no pyramid here, joins no tail and has no BatchNorm before the classifier, unlike the CIFAR
# code (methods.md 12, rows 1, 4 and 5).
_AUGLOCAL = AugLocal(depth=5, tau=0, tail="strict", head_bn=False)
_INFOPRO = imagenet(0.4, 1024, 90)
# The paper's batch of 128; the released code runs it without averaging gradients over its processes (row 31).
_MLAAN = imagenet(0.05, 128, 150)

_VGG13_TRAINING = imagenet(0.1, 256, 90)
_VGG13 = imagenet_setting(__name__, "vgg13", "VGG13", 13, 10, _VGG13_TRAINING)
backprop_vgg13 = backprop(_VGG13, {"auglocal": _VGG13_TRAINING})
dgl_vgg13 = dgl(_VGG13, {"auglocal": _VGG13_TRAINING, "dgl": DGL_IMAGENET})
auglocal_vgg13 = auglocal(_VGG13, AugLocal(depth=5, tau=0, tail="strict", head_bn=False, classifier="flat-mlp"))

_RESNET34_TRAINING = imagenet(0.4, 1024, 200)
_RESNET34 = imagenet_setting(__name__, "resnet34", "ResNet-34", 34, 17, _RESNET34_TRAINING)
backprop_resnet34 = backprop(_RESNET34, {"auglocal": _RESNET34_TRAINING, "mlaan": _MLAAN})
auglocal_resnet34 = auglocal(_RESNET34, _AUGLOCAL)
# MLAAN's code starts residual branches of this network at zero (methods.md 0), not those of the deeper ones.
_MLAAN34 = replace(_RESNET34.under(_MLAAN), build=partial(_RESNET34.build, zero_residual=True))
mlaan_resnet34 = mlaan(_MLAAN34)

_RESNET101_TRAINING = imagenet(0.2, 512, 200)
_RESNET101 = imagenet_setting(__name__, "resnet101", "ResNet-101", 101, 34, _RESNET101_TRAINING)
backprop_resnet101 = backprop(_RESNET101, {"auglocal": _RESNET101_TRAINING, "infopro": _INFOPRO, "mlaan": _MLAAN})
auglocal_resnet101 = auglocal(_RESNET101, _AUGLOCAL)
mlaan_resnet101 = mlaan(_RESNET101.under(_MLAAN))

_RESNET152 = imagenet_setting(__name__, "resnet152", "ResNet-152", 152, 51, _INFOPRO)
backprop_resnet152 = backprop(_RESNET152, {"infopro": _INFOPRO, "mlaan": _MLAAN})
mlaan_resnet152 = mlaan(_RESNET152.under(_MLAAN))


# The paper's table has batches of 512, its released command 1024 and this learning rate (methods.md 12, row 37).
_RESNEXT101_TRAINING = imagenet(0.4, 512, 90)
_RESNEXT101 = replace(
    imagenet_setting(__name__, "resnext101", "ResNeXt-101-32x8d", 101, 34, _RESNEXT101_TRAINING),
    build=imagenet_resnext101_32x8d,
)
backprop_resnext101 = backprop(_RESNEXT101, {"infopro": _RESNEXT101_TRAINING})


def _infopro(task_weight: float) -> InfoPro:
    weights = (5, task_weight)
    return InfoPro(
        "softmax", Lambdas(weights, weights), "imagenet", split="balanced", head="imagenet", decoder="imagenet"
    )


_TITLE = "InfoPro* in two modules of equal memory."
_BALANCED = papers(2, "infopro_balanced_imagenet")
infopro_resnet101 = published(_RESNET101.under(_INFOPRO), "infopro", _TITLE, _infopro(0.75), _BALANCED)
infopro_resnet152 = published(_RESNET152, "infopro", _TITLE, _infopro(1), _BALANCED)
infopro_resnext101 = published(_RESNEXT101, "infopro", _TITLE, _infopro(0.75), _BALANCED)

# DGL's own experiments.
dgl_vgg19 = dgl(imagenet_setting(__name__, "vgg19", "VGG19", 19, 4, DGL_IMAGENET), {"dgl": DGL_IMAGENET})
dgl_resnet152 = dgl(imagenet_setting(__name__, "resnet152", "ResNet-152", 152, 2, DGL_IMAGENET), {"dgl": DGL_IMAGENET})
