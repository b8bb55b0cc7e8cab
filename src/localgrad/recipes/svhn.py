"""The papers' experiments on SVHN."""

from localgrad.backbones import vgg8b, vgg19
from localgrad.data import SVHN, Augment
from localgrad.methods import AugLocal
from localgrad.recipes.making.baselines import backprop
from localgrad.recipes.making.greedy_heads import auglocal, dgl
from localgrad.recipes.making.networks import resnet_recipes, resnet_setting
from localgrad.recipes.making.predsim import Layerwise, backprop_layers, predsim, predsim_layers
from localgrad.recipes.making.protocols import LARGE_BATCH, PREDSIM_SHORT
from localgrad.recipes.making.setting import Setting

_RESNET32 = resnet_setting(__name__, SVHN, "SVHN", 32, LARGE_BATCH)
_RESNET110 = resnet_setting(__name__, SVHN, "SVHN", 110, LARGE_BATCH)
(
    backprop_resnet32,
    checkpointing_resnet32,
    dgl_resnet32,
    auglocal_resnet32,
    predsim_resnet32,
    infopro_resnet32,
    mlaan_resnet32,
) = resnet_recipes(_RESNET32, "svhn", "constant")
(
    backprop_resnet110,
    checkpointing_resnet110,
    dgl_resnet110,
    auglocal_resnet110,
    predsim_resnet110,
    infopro_resnet110,
    mlaan_resnet110,
) = resnet_recipes(_RESNET110, "svhn")

_VGG19 = Setting(__name__, SVHN, "SVHN", vgg19, "vgg19", "VGG19", 16, LARGE_BATCH)
backprop_vgg19 = backprop(_VGG19)
dgl_vgg19 = dgl(_VGG19)
auglocal_vgg19 = auglocal(_VGG19, AugLocal(depth=4))
predsim_vgg19 = predsim(_VGG19)

_VGG8B = Setting(__name__, SVHN, "SVHN with extra", vgg8b, "vgg8b", "VGG8b", 7, PREDSIM_SHORT)
# 2048 features on SVHN and STL-10 stand in the released script; methods.md 4 names CIFAR and MNIST only.
_LAYERS = Layerwise(
    Augment(),
    {1: 0.3},
    lr=3e-4,
    max_features=2048,
    cutout_dropout=0.15,
    data=(("extra", True), ("mean", (0.431, 0.430, 0.446)), ("std", (0.197, 0.198, 0.199))),
)
predsim_vgg8b = predsim_layers(_VGG8B, _LAYERS)
backprop_vgg8b = backprop_layers(_VGG8B, _LAYERS)
