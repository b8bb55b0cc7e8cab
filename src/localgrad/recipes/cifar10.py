"""The papers' experiments on CIFAR-10."""

from dataclasses import replace

from localgrad.backbones import (
    cifar_efficientnet_b0,
    cifar_mobilenetv2,
    cifar_regnetx_400mf,
    cifar_resnet50,
    mlp,
    vgg6a,
    vgg8b,
    vgg11b,
    vgg16a,
    vgg19,
    vgg19a,
)
from localgrad.data import CIFAR10, Augment
from localgrad.methods import AugLocal
from localgrad.recipes.making.baselines import backprop
from localgrad.recipes.making.densenet import densenet_dgl, densenet_infopro, densenet_setting
from localgrad.recipes.making.dgssl import dgssl, dgssl_llm, simclr
from localgrad.recipes.making.gndgl import gndgl, gndgl_layers, single_thread
from localgrad.recipes.making.greedy_heads import auglocal, dgl
from localgrad.recipes.making.networks import resnet_recipes, resnet_setting
from localgrad.recipes.making.perceptron import ON_CIFAR, backprop_perceptron, predsim_perceptron
from localgrad.recipes.making.predsim import Layerwise, backprop_layers, predsim, predsim_layers
from localgrad.recipes.making.protocols import GNDGL, GNDGL_LAYERS, LARGE_BATCH, PREDSIM, SIMCLR
from localgrad.recipes.making.setting import Setting
from localgrad.recipes.making.study import (
    comparison,
    queued_setting,
    resnet110_setting,
    study_dgl,
    study_greedy,
    study_queued,
    study_setting,
)

_RESNET32 = resnet_setting(__name__, CIFAR10, "CIFAR-10", 32, LARGE_BATCH)
_RESNET110 = resnet_setting(__name__, CIFAR10, "CIFAR-10", 110, LARGE_BATCH)
(
    backprop_resnet32,
    checkpointing_resnet32,
    dgl_resnet32,
    auglocal_resnet32,
    predsim_resnet32,
    infopro_resnet32,
    mlaan_resnet32,
) = resnet_recipes(_RESNET32, "cifar10")
(
    backprop_resnet110,
    checkpointing_resnet110,
    dgl_resnet110,
    auglocal_resnet110,
    predsim_resnet110,
    infopro_resnet110,
    mlaan_resnet110,
) = resnet_recipes(_RESNET110, "cifar10")
gndgl_resnet32 = gndgl(_RESNET32.under(GNDGL))
single_thread_resnet32 = single_thread(_RESNET32.under(GNDGL))

_VGG19 = Setting(__name__, CIFAR10, "CIFAR-10", vgg19, "vgg19", "VGG19", 16, LARGE_BATCH)
backprop_vgg19 = backprop(_VGG19)
dgl_vgg19 = dgl(_VGG19)
auglocal_vgg19 = auglocal(_VGG19, AugLocal(depth=4))
predsim_vgg19 = predsim(_VGG19)

# The paper's depths are not known (methods.md 13).
_MOBILENET = Setting(__name__, CIFAR10, "CIFAR-10", cifar_mobilenetv2, "mobilenetv2", "MobileNetV2", 19, LARGE_BATCH)
backprop_mobilenetv2 = backprop(_MOBILENET)
auglocal_mobilenetv2 = auglocal(_MOBILENET, AugLocal(depth=4))
_EFFICIENTNET = Setting(
    __name__, CIFAR10, "CIFAR-10", cifar_efficientnet_b0, "efficientnet_b0", "EfficientNet-B0", 17, LARGE_BATCH
)
backprop_efficientnet_b0 = backprop(_EFFICIENTNET)
auglocal_efficientnet_b0 = auglocal(_EFFICIENTNET, AugLocal(depth=4))
_REGNET = Setting(__name__, CIFAR10, "CIFAR-10", cifar_regnetx_400mf, "regnetx_400mf", "RegNetX-400MF", 23, LARGE_BATCH)
backprop_regnetx_400mf = backprop(_REGNET)
auglocal_regnetx_400mf = auglocal(_REGNET, AugLocal(depth=4))

_STATISTICS = (("mean", (0.424, 0.415, 0.384)), ("std", (0.283, 0.278, 0.284)))
_VGG8B = Setting(__name__, CIFAR10, "CIFAR-10", vgg8b, "vgg8b", "VGG8b", 7, PREDSIM)
_VGG11B = Setting(__name__, CIFAR10, "CIFAR-10", vgg11b, "vgg11b", "VGG11b", 10, PREDSIM)
_AUGMENT = Augment(4, "zero", flip=True)
_LAYERS = Layerwise(_AUGMENT, {1: 0.2, 2: 0.25, 3: 0.3}, max_features=2048, data=_STATISTICS)
predsim_vgg8b = predsim_layers(_VGG8B, _LAYERS)
backprop_vgg8b = backprop_layers(_VGG8B, _LAYERS)
predsim_vgg11b = predsim_layers(_VGG11B, _LAYERS)
backprop_vgg11b = backprop_layers(_VGG11B, _LAYERS)
_MLP = Setting(__name__, CIFAR10, "CIFAR-10", mlp, "mlp", "MLP", 3, PREDSIM)
_MLP_LAYERS = Layerwise(_AUGMENT, {1: 0.1}, data=_STATISTICS)
predsim_mlp = predsim_perceptron(_MLP, _MLP_LAYERS, ON_CIFAR)
backprop_mlp = backprop_perceptron(_MLP, _MLP_LAYERS, ON_CIFAR)

# How GN-DGL prepares the images for its layer-wise network is not known: as PredSim, whose losses it takes.
_VGG6A = Setting(__name__, CIFAR10, "CIFAR-10", vgg6a, "vgg6a", "VGG6a", 5, GNDGL_LAYERS)
gndgl_vgg6a = gndgl_layers(_VGG6A, {"augment": _AUGMENT, **dict(_STATISTICS)})

_DENSENET = densenet_setting(__name__)
backprop_densenet100 = backprop(_DENSENET)
dgl_densenet100 = densenet_dgl(_DENSENET)
infopro_densenet100 = densenet_infopro(_DENSENET)

# DGL's own networks: they pool where the channels grow.
_CONV6 = study_setting(__name__, "conv6", (128, 256, 512), (1, 2, 3))
dgl_conv6 = study_dgl(_CONV6)
greedy_dgl_conv6 = study_greedy(_CONV6)
# The asynchronous experiments have 6 layers too, two of each width (methods.md 3).
_CONV6_PAIRS = queued_setting(__name__, "conv6", (128, 256, 512), (2, 2, 2))
queued_dgl_conv6 = study_queued(_CONV6_PAIRS)
_CONV4 = study_setting(__name__, "conv4", (64, 128, 256), (1, 2, 1))
dgl_conv4 = study_dgl(_CONV4)
greedy_dgl_conv4 = study_greedy(_CONV4)
dgl_resnet110_option_a = comparison(resnet110_setting(__name__))

# Contrastive learning: multi-layer modules of ResNets, single layers of VGGs, whose heads have no convolution.
_SSL_RESNET50 = Setting(__name__, CIFAR10, "CIFAR-10", cifar_resnet50, "resnet50", "ResNet-50", 16, SIMCLR)
_SSL_RESNET110 = replace(_RESNET110.under(SIMCLR), modules=16)
_SSL_VGG6A = _VGG6A.under(SIMCLR)
_SSL_VGG16A = Setting(__name__, CIFAR10, "CIFAR-10", vgg16a, "vgg16a", "VGG16a", 14, SIMCLR)
_SSL_VGG19A = Setting(__name__, CIFAR10, "CIFAR-10", vgg19a, "vgg19a", "VGG19a", 17, SIMCLR)
simclr_resnet50 = simclr(_SSL_RESNET50)
dgssl_resnet50 = dgssl(_SSL_RESNET50)
dgssl_llm_resnet50 = dgssl_llm(_SSL_RESNET50)
simclr_resnet110 = simclr(_SSL_RESNET110)
dgssl_resnet110 = dgssl(_SSL_RESNET110)
dgssl_llm_resnet110 = dgssl_llm(_SSL_RESNET110)
simclr_vgg6a = simclr(_SSL_VGG6A)
dgssl_vgg6a = dgssl(_SSL_VGG6A, "0c2f")
simclr_vgg16a = simclr(_SSL_VGG16A)
dgssl_vgg16a = dgssl(_SSL_VGG16A, "0c2f")
simclr_vgg19a = simclr(_SSL_VGG19A)
dgssl_vgg19a = dgssl(_SSL_VGG19A, "0c2f")
