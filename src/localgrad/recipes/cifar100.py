"""The papers' experiments on CIFAR-100."""

from localgrad.backbones import mlp, vgg8b, vgg11b
from localgrad.data import CIFAR100, Augment
from localgrad.recipes.making.gndgl import gndgl, single_thread
from localgrad.recipes.making.networks import resnet_recipes, resnet_setting
from localgrad.recipes.making.perceptron import ON_CIFAR, backprop_perceptron, predsim_perceptron
from localgrad.recipes.making.predsim import Layerwise, backprop_layers, predsim_layers
from localgrad.recipes.making.protocols import GNDGL, LARGE_BATCH, PREDSIM
from localgrad.recipes.making.setting import Setting

_RESNET32 = resnet_setting(__name__, CIFAR100, "CIFAR-100", 32, LARGE_BATCH)
_RESNET110 = resnet_setting(__name__, CIFAR100, "CIFAR-100", 110, LARGE_BATCH)
(
    backprop_resnet32,
    checkpointing_resnet32,
    dgl_resnet32,
    auglocal_resnet32,
    predsim_resnet32,
    infopro_resnet32,
    mlaan_resnet32,
) = resnet_recipes(_RESNET32, "cifar100", "constant")
(
    backprop_resnet110,
    checkpointing_resnet110,
    dgl_resnet110,
    auglocal_resnet110,
    predsim_resnet110,
    infopro_resnet110,
    mlaan_resnet110,
) = resnet_recipes(_RESNET110, "cifar100", "constant")
gndgl_resnet32 = gndgl(_RESNET32.under(GNDGL))
single_thread_resnet32 = single_thread(_RESNET32.under(GNDGL))

_STATISTICS = (("mean", (0.438, 0.418, 0.377)), ("std", (0.300, 0.287, 0.294)))
_VGG8B = Setting(__name__, CIFAR100, "CIFAR-100", vgg8b, "vgg8b", "VGG8b", 7, PREDSIM)
_VGG11B = Setting(__name__, CIFAR100, "CIFAR-100", vgg11b, "vgg11b", "VGG11b", 10, PREDSIM)
_AUGMENT = Augment(4, "zero", flip=True)
# 2048 features as methods.md 4 has it for CIFAR; the released script names no bound for CIFAR-100 (4096).
_LAYERS = Layerwise(_AUGMENT, {1: 0.05, 2: 0.1, 3: 0.15}, max_features=2048, few_classes=20, data=_STATISTICS)
predsim_vgg8b = predsim_layers(_VGG8B, _LAYERS)
backprop_vgg8b = backprop_layers(_VGG8B, _LAYERS)
predsim_vgg11b = predsim_layers(_VGG11B, _LAYERS)
backprop_vgg11b = backprop_layers(_VGG11B, _LAYERS)
_MLP = Setting(__name__, CIFAR100, "CIFAR-100", mlp, "mlp", "MLP", 3, PREDSIM)
_MLP_LAYERS = Layerwise(_AUGMENT, {1: 0.025}, few_classes=20, data=_STATISTICS)
predsim_mlp = predsim_perceptron(_MLP, _MLP_LAYERS, ON_CIFAR)
backprop_mlp = backprop_perceptron(_MLP, _MLP_LAYERS, ON_CIFAR)
