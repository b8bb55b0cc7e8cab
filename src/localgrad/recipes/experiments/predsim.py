"""PredSim's tables."""

import re

from localgrad.recipes.experiments.experiment import DATASETS, Experiment, NotCovered, ran
from localgrad.reported import Row


def predsim(row: Row) -> Experiment | NotCovered:
    """The experiment of a row of PredSim's tables; networks are written as vgg8b(2x)+cutout."""
    found = re.fullmatch(r"(vgg8b|vgg11b)(?:\((\d)x\))?(\+cutout)?", row.network)
    if found is None:
        return NotCovered("a multi-layer perceptron: localgrad has no network without convolutions")
    network, width, cutout = found.groups()
    method = "backprop" if row.method == "BP" else "predsim"
    loss = {} if row.method == "BP" else {"loss": row.method}
    recipe = f"{DATASETS[row.dataset]}.{method}_{network}"
    return ran(recipe, **loss, feat_mult=int(width or 1), cutout=cutout is not None)
