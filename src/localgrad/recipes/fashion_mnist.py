"""PredSim's experiments on Fashion-MNIST."""

from dataclasses import replace

from localgrad.backbones import mlp, vgg8b
from localgrad.data import FashionMNIST
from localgrad.recipes.making.perceptron import ON_GREY, backprop_perceptron, predsim_perceptron
from localgrad.recipes.making.predsim import Layerwise, backprop_layers, predsim_layers
from localgrad.recipes.making.protocols import PREDSIM
from localgrad.recipes.making.setting import Setting

_PROTOCOL = replace(PREDSIM, epochs=200)
_VGG8B = Setting(__name__, FashionMNIST, "Fashion-MNIST", vgg8b, "vgg8b", "VGG8b", 7, _PROTOCOL)
_LAYERS = Layerwise(FashionMNIST().augment, {1: 0.1, 2: 0.2}, max_features=1024, cutout=14)
predsim_vgg8b = predsim_layers(_VGG8B, _LAYERS)
backprop_vgg8b = backprop_layers(_VGG8B, _LAYERS)

_MLP = Setting(__name__, FashionMNIST, "Fashion-MNIST", mlp, "mlp", "MLP", 3, _PROTOCOL)
_MLP_LAYERS = Layerwise(FashionMNIST().augment, {1: 0.025})
predsim_mlp = predsim_perceptron(_MLP, _MLP_LAYERS, ON_GREY)
backprop_mlp = backprop_perceptron(_MLP, _MLP_LAYERS, ON_GREY)
