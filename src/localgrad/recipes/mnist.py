"""PredSim's experiments on MNIST."""

from localgrad.backbones import mlp, vgg8b
from localgrad.data import MNIST
from localgrad.recipes.making.perceptron import ON_GREY, backprop_perceptron, predsim_perceptron
from localgrad.recipes.making.predsim import Layerwise, backprop_layers, predsim_layers
from localgrad.recipes.making.protocols import PREDSIM_SHORT
from localgrad.recipes.making.setting import Setting

_VGG8B = Setting(__name__, MNIST, "MNIST", vgg8b, "vgg8b", "VGG8b", 7, PREDSIM_SHORT)
_LAYERS = Layerwise(MNIST().augment, {1: 0.2}, max_features=1024, cutout=14)
predsim_vgg8b = predsim_layers(_VGG8B, _LAYERS)
backprop_vgg8b = backprop_layers(_VGG8B, _LAYERS)

_MLP = Setting(__name__, MNIST, "MNIST", mlp, "mlp", "MLP", 3, PREDSIM_SHORT)
_MLP_LAYERS = Layerwise(MNIST().augment, {1: 0.1})
predsim_mlp = predsim_perceptron(_MLP, _MLP_LAYERS, ON_GREY)
backprop_mlp = backprop_perceptron(_MLP, _MLP_LAYERS, ON_GREY)
