"""MLAAN's tables."""

from dataclasses import replace
from typing import Any

from localgrad.recipes.experiments.experiment import DATASETS, Experiment, NotCovered, named, ran
from localgrad.reported import Row

DGL_HEAD = "which head MLAAN's DGL has is not known (a file of the released code is missing): DGL's own"
LAST_WEIGHTS = "the schedule ends at weights 0 and 0, so the last local module does not learn; the code takes the stage"
BP_IMAGENET = "the figures of backpropagation equal InfoPro's, which trained by another protocol"
OWN: dict[str, dict[str, Any]] = {
    "MLAAN": {},
    "InfoPro+MLAAN": {"base": "infopro"},
    "DGL+MLAAN": {"base": "dgl"},
    "DGL+MLM+LAM": {"base": "dgl"},
    "DGL+MLM": {"base": "dgl", "leaps": False},
    "DGL+LAM": {"base": "dgl", "cascade": 1},
}
"""Keywords of the rows of MLAAN and its parts."""
OTHER_DATA = (
    "how images are resized and classes matched is not told: to 32x32, nine of ten classes by name, all logits "
    "compete; as numbers the labels agree for six of ten classes (--raw-labels true)"
)


def mlaan(row: Row) -> Experiment | NotCovered:
    """The experiment of a row of MLAAN's tables."""
    if row.table == "T6":
        trained_on, _, other = row.dataset.partition("->")
        trained = mlaan(replace(row, table="", dataset=trained_on))
        assert isinstance(trained, Experiment)
        note = "; ".join(filter(None, [trained.note, OTHER_DATA]))
        return replace(trained, note=note, data=DATASETS[other])
    epochs = 400 if row.get("epochs") is None else row.get("epochs")
    modules = row.get("K")
    if row.dataset == "ImageNet":
        if row.method == "BP":
            note = "" if row.network == "ResNet-34" else BP_IMAGENET
            return ran(named(row.dataset, "backprop", row.network), note=note, protocol="mlaan")
        return ran(named(row.dataset, "mlaan", row.network), modules=modules)
    match row.method:
        case "BP":
            return ran(named(row.dataset, "backprop", row.network), epochs=epochs)
        case "DGL":
            return ran(
                named(row.dataset, "dgl", row.network), note=DGL_HEAD, modules=modules, split="mlaan", epochs=epochs
            )
        case "InfoPro":
            recipe = named(row.dataset, "infopro", row.network)
            return ran(recipe, note=LAST_WEIGHTS, modules=modules, loss="softmax", source="mlaan", epochs=epochs)
    note = DGL_HEAD if row.method.startswith("DGL") else ""
    return ran(named(row.dataset, "mlaan", row.network), note=note, modules=modules, **OWN[row.method], epochs=epochs)
