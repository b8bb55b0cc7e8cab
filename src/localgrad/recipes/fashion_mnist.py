"""PredSim's experiments on Fashion-MNIST."""

from dataclasses import replace

from localgrad.backbones import vgg8b
from localgrad.data import FashionMNIST
from localgrad.recipes.making.predsim import Layerwise, backprop_layers, predsim_layers
from localgrad.recipes.making.protocols import PREDSIM
from localgrad.recipes.making.setting import Setting

_VGG8B = Setting(__name__, FashionMNIST, "Fashion-MNIST", vgg8b, "vgg8b", "VGG8b", 7, replace(PREDSIM, epochs=200))
_LAYERS = Layerwise(FashionMNIST().augment, {1: 0.2}, max_features=1024, cutout=14)
predsim_vgg8b = predsim_layers(_VGG8B, _LAYERS)
backprop_vgg8b = backprop_layers(_VGG8B, _LAYERS)
