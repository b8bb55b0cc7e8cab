"""Auxiliary networks as data: one file per family."""

from localgrad.auxnets.conv_fc import ConvFC as ConvFC
from localgrad.auxnets.decoder import Decoder as Decoder
from localgrad.auxnets.decoder import ImageNetDecoder as ImageNetDecoder
from localgrad.auxnets.features import Features as Features
from localgrad.auxnets.imagenet import FlatMLP as FlatMLP
from localgrad.auxnets.imagenet import infopro_imagenet_head as infopro_imagenet_head
from localgrad.auxnets.leap import Leap as Leap
from localgrad.auxnets.leap import default_leaps as default_leaps
from localgrad.auxnets.leap import leap_shape as leap_shape
from localgrad.auxnets.matched import closest as closest
from localgrad.auxnets.matched import conv_linear_macs as conv_linear_macs
from localgrad.auxnets.matched import conv_stack as conv_stack
from localgrad.auxnets.matched import widened as widened
from localgrad.auxnets.mlp_sr import CnnHead as CnnHead
from localgrad.auxnets.mlp_sr import MlpSR as MlpSR
from localgrad.auxnets.pooled import PooledDecoder as PooledDecoder
from localgrad.auxnets.pooled import Pooling as Pooling
from localgrad.auxnets.pooled import pool_to as pool_to
from localgrad.auxnets.selection import closest_width as closest_width
from localgrad.auxnets.selection import pyramid_depths as pyramid_depths
from localgrad.auxnets.selection import sequential as sequential
from localgrad.auxnets.selection import uniform as uniform
from localgrad.auxnets.similarity import SimilarityNet as SimilarityNet
from localgrad.auxnets.truncated import Truncated as Truncated
from localgrad.auxnets.truncated import halvings as halvings
from localgrad.auxnets.truncated import resample as resample
