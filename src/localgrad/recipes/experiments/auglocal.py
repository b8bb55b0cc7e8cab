"""AugLocal's tables."""

from typing import Any

from localgrad.recipes.experiments.experiment import Experiment, NotCovered, named, ran
from localgrad.reported import Row

DEPTH_UNKNOWN = "the table has several depths, ascending, which are not known"
SELECTIONS = {"C1x1": "conv1x1", "C3x3": "conv3x3"}
_STRIDED, _SAME, _UNIFORM = "repetitive-strided", "repetitive", "uniform"
_LABEL_LOST = "the row's label is lost; this variant is inferred from its place between rows 3 and 6"
TABLE_10 = {
    "AugLocal d=6 (uniform all stages)": ((), ""),
    "stage2 -> repetitive + stride-2 downsampling": ((_UNIFORM, _STRIDED, _UNIFORM), ""),
    "stage2 -> repetitive, no downsampling": ((_UNIFORM, _SAME, _UNIFORM), ""),
    "row 4: + stage1 -> repetitive (variant label stripped)": ((_STRIDED, _SAME, _UNIFORM), _LABEL_LOST),
    "row 5: stage1 variant (label stripped)": ((_SAME, _SAME, _UNIFORM), _LABEL_LOST),
    "row 6: residual blocks -> plain convs": (("repetitive-conv3x3",) * 3, ""),
}
"""The progressively simplified auxiliary networks: a rule per stage, and a note."""

# InfoPro with cross-entropy and the weights that InfoPro tuned for contrast on CIFAR-10: (first, last) by K.
INFOPRO = {16: ((5, 0.05), (0.2, 0.5)), 55: ((5, 0), (0.5, 1))}


def auglocal(row: Row) -> Experiment | NotCovered:
    """The experiment of a row of AugLocal's tables."""
    if row.dataset == "COCO":
        return NotCovered("detection and segmentation with Mask R-CNN on COCO")
    match row.method:
        case "BP":
            return ran(named(row.dataset, "backprop", row.network))
        case "GradCheckpoint":
            return ran(named(row.dataset, "checkpointing", row.network))
        case "PredSim":
            return ran(named(row.dataset, "predsim", row.network))
        case "DGL":
            return ran(named(row.dataset, "dgl", row.network), head="auglocal")
        case "InfoPro":
            return _infopro(row)
    return _augmented(row)


def _infopro(row: Row) -> Experiment:
    recipe, modules = named(row.dataset, "infopro", row.network), {"ResNet-32": 16, "ResNet-110": 55}[row.network]
    common: dict[str, Any] = {"modules": modules, "loss": "softmax", "epochs": 400}
    if row.dataset == "CIFAR-10":
        return ran(recipe, source="auglocal", **common)
    first, last = INFOPRO[modules]
    note = "the weights of the two losses on this data set are not known: those of CIFAR-10"
    return ran(recipe, note=note, **common, source="auglocal", first=first, last=last)


def _augmented(row: Row) -> Experiment | NotCovered:
    """AugLocal itself, its ablations, and heads as expensive as its own."""
    recipe, d = named(row.dataset, "auglocal", row.network), row.get("d")
    matched = row.get("d_flops_matched")
    match row.method:
        case "AugLocal+InfoPro recon":
            return ran(recipe, depth=d, infopro=True, note="weights of the losses not known: InfoPro's in table 1")
        case "DGL(3x3,widened)":
            return ran(named(row.dataset, "dgl", row.network), head="3x3", match_depth=matched)
        case "PredSim(widened)":
            return ran(named(row.dataset, "predsim", row.network), match_depth=matched)
        case "InfoPro(widened)":
            infopro = named(row.dataset, "infopro", row.network)
            return ran(infopro, modules=55, loss="softmax", source="auglocal", match_depth=matched, epochs=400)
        case "AugLocal-aux-ablation":
            return _ablation(row, recipe)
    if matched is not None:
        d = matched
    if not isinstance(d, int):
        return ran(recipe, note=_depth_note(row))
    selection = str(row.get("aux_selection") or _UNIFORM)
    tau = 0.5 if row.get("tau") is None else row.get("tau")
    return ran(recipe, depth=d, tau=tau, selection=SELECTIONS.get(selection, selection))


def _depth_note(row: Row) -> str:
    if row.dataset == "ImageNet":
        return "the depth is that of the released script for ResNet-34; the paper's is not known"
    return "the depth is not given: the deepest of table 1" if row.get("d") is None else DEPTH_UNKNOWN


def _ablation(row: Row, recipe: str) -> Experiment:
    variant = str(row.get("variant"))
    if variant == "DGL aux":
        return ran(named(row.dataset, "dgl", row.network), head="auglocal")
    rules, note = TABLE_10[variant]
    return ran(recipe, note=note, depth=row.get("d"), stage_selection=rules)
