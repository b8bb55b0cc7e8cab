"""Imported once by the server that children are forked from: what every training imports, which takes seconds."""
# ruff: noqa: E402

import gc

gc.disable()

import docstring_parser  # noqa: F401
import rich._emoji_codes  # noqa: F401
import sklearn.datasets  # noqa: F401
import torch

import localgrad.cli.comparing
import localgrad.cli.training
import localgrad.train.ranks  # noqa: F401
from localgrad.recipes import digits

torch.set_num_threads(1)
with torch.device("meta"):
    NET = digits.backprop(layers=8).network()
digits.backprop().optimizer([torch.nn.Parameter(torch.zeros(1))])

# Modules stay: no child need look through them, which takes half as long as a tiny training, or copy their pages.
gc.collect()
gc.freeze()
gc.enable()
