"""Imported once by the server that children are forked from: what every training imports, which takes seconds."""

import sklearn.datasets  # noqa: F401
import torch

import localgrad.cli.comparing
import localgrad.cli.training  # noqa: F401
from localgrad.recipes import digits

torch.set_num_threads(1)
with torch.device("meta"):
    NET = digits.backprop(layers=8).network()
digits.backprop().optimizer([torch.nn.Parameter(torch.zeros(1))])
