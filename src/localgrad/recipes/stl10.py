"""The papers' experiments on the labelled part of STL-10."""

from localgrad.backbones import vgg8b
from localgrad.data import STL10, Augment
from localgrad.recipes.making.networks import resnet_recipes, resnet_setting
from localgrad.recipes.making.predsim import Layerwise, backprop_layers, predsim_layers
from localgrad.recipes.making.protocols import PREDSIM, SMALL_BATCH
from localgrad.recipes.making.setting import Setting

_RESNET32 = resnet_setting(__name__, STL10, "STL-10", 32, SMALL_BATCH)
_RESNET110 = resnet_setting(__name__, STL10, "STL-10", 110, SMALL_BATCH)
(
    backprop_resnet32,
    checkpointing_resnet32,
    dgl_resnet32,
    auglocal_resnet32,
    predsim_resnet32,
    infopro_resnet32,
    mlaan_resnet32,
) = resnet_recipes(_RESNET32, "stl10", "constant")
(
    backprop_resnet110,
    checkpointing_resnet110,
    dgl_resnet110,
    auglocal_resnet110,
    predsim_resnet110,
    infopro_resnet110,
    mlaan_resnet110,
) = resnet_recipes(_RESNET110, "stl10")

_STATISTICS = (("mean", (0.447, 0.440, 0.407)), ("std", (0.260, 0.257, 0.271)))
_VGG8B = Setting(__name__, STL10, "STL-10", vgg8b, "vgg8b", "VGG8b", 7, PREDSIM)
# 2048 features: as on SVHN, from the released script.
_LAYERS = Layerwise(Augment(), {1: 0.1}, max_features=2048, cutout=48, data=_STATISTICS)
predsim_vgg8b = predsim_layers(_VGG8B, _LAYERS)
backprop_vgg8b = backprop_layers(_VGG8B, _LAYERS)
