"""GN-DGL's experiments on ImageNet32, with the baselines of its figures."""

from localgrad.data import ImageNet32
from localgrad.recipes.making.baselines import backprop
from localgrad.recipes.making.gndgl import gndgl, single_thread
from localgrad.recipes.making.greedy_heads import dgl
from localgrad.recipes.making.infopro import infopro
from localgrad.recipes.making.networks import resnet_setting
from localgrad.recipes.making.protocols import GNDGL

_RESNET32 = resnet_setting(__name__, ImageNet32, "ImageNet32", 32, GNDGL, downloads=False)
backprop_resnet32 = backprop(_RESNET32)
dgl_resnet32 = dgl(_RESNET32)
infopro_resnet32 = infopro(_RESNET32, modules=16, dataset="imagenet32", source="constant")
gndgl_resnet32 = gndgl(_RESNET32)
single_thread_resnet32 = single_thread(_RESNET32)
