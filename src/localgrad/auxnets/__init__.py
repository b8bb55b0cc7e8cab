"""Auxiliary networks as data: one file per family."""

from localgrad.auxnets.conv_fc import ConvFC as ConvFC
from localgrad.auxnets.mlp_sr import CnnHead as CnnHead
from localgrad.auxnets.mlp_sr import MlpSR as MlpSR
from localgrad.auxnets.selection import closest_width as closest_width
from localgrad.auxnets.selection import pyramid_depths as pyramid_depths
from localgrad.auxnets.selection import sequential as sequential
from localgrad.auxnets.selection import uniform as uniform
from localgrad.auxnets.truncated import Truncated as Truncated
from localgrad.auxnets.truncated import resample as resample
