"""PredSim's tables."""

import re

from localgrad.recipes.experiments.experiment import DATASETS, Experiment
from localgrad.reported import Row


def predsim(row: Row) -> Experiment:
    """The experiment of a row of PredSim's tables; networks are written as mlp or vgg8b(2x)+cutout."""
    found = re.fullmatch(r"(mlp|vgg8b|vgg11b)(?:\((\d)x\))?(\+cutout)?", row.network)
    assert found is not None, row.network
    network, width, cutout = found.groups()
    method = "backprop" if row.method == "BP" else "predsim"
    recipe = f"{DATASETS[row.dataset]}.{method}_{network}"
    keywords: dict[str, object] = {} if row.method == "BP" else {"loss": row.method}
    if network != "mlp":
        keywords |= {"feat_mult": int(width or 1), "cutout": cutout is not None}
    return Experiment(recipe, tuple(keywords.items()))
