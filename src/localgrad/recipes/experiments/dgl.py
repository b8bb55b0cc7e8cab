"""DGL: the logs of the released code."""

from localgrad.recipes.experiments.experiment import UNIT, Experiment, NotCovered, ran
from localgrad.reported import Row


def dgl(row: Row) -> Experiment | NotCovered:
    """The experiment of a row of DGL's logs."""
    layer = row.get("layer")
    assert isinstance(layer, int)
    figure = "" if layer == 4 else UNIT.format(layer - 1)
    name = "greedy_dgl" if row.method.startswith("sequential greedy") else "dgl"
    return ran(f"cifar10.{name}_conv4", figure)
