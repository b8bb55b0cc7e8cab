"""GN-DGL's tables and figures: both versions of the paper, and chapters 3 and 4 (``dgssl.py``) of the thesis."""

from typing import Any

from localgrad.recipes.experiments.dgssl import dgssl
from localgrad.recipes.experiments.experiment import DATASETS, ENSEMBLE, LAST, UNIT, Experiment, NotCovered, ran
from localgrad.reported import Row

EPOCHS = 160
DIGITISED = "read off a figure: ±0.05"
OCCLUDED = "read off a figure, partly covered: ±0.4"
LAMBDAS = "InfoPro's weights in this comparison are not known: 1 and 1, as the code has them unless told otherwise"
OLDER = "the workshop version's protocol was another (learning rate 0.1, no ensemble)"
NAIVE = "the caption does not say whether features or diversity are used: without, as its first column"
EVALUATED = {None: ENSEMBLE, "layerwise ensemble": ENSEMBLE, "last-layer": LAST}


def gndgl(row: Row) -> Experiment | NotCovered:
    """The experiment of a row of GN-DGL's tables."""
    if row.table.startswith("T4.") and row.paper == "thesis":
        return dgssl(row)
    if row.network == "VGG6a":
        return _layers(row)
    return _modules(row)


def _layers(row: Row) -> Experiment:
    keywords: dict[str, Any] = {
        "groups": row.get("G"),
        "share_features": bool(row.get("stop_gradient")),
        "diversity": bool(row.get("diversity")),
        "feat_mult": row.get("width_mult") or 1,
    }
    note = NAIVE if row.method == "GN-DGL" and row.get("stop_gradient") is None else ""
    return ran("cifar10.gndgl_vgg6a", note=note, **keywords)


def _modules(row: Row) -> Experiment:
    dataset, modules, groups = DATASETS[row.dataset], row.get("K"), row.get("G")
    width = 2 if row.network.endswith("x2") else 1
    note = (OCCLUDED if "occluded" in row.note else DIGITISED) if row.table.startswith("fig") else ""
    common: dict[str, Any] = {"width": width, "epochs": EPOCHS}
    match row.method:
        case "e2e":
            return ran(f"{dataset}.backprop_resnet32", note=note, **common)
        case "DGL":
            return ran(f"{dataset}.gndgl_resnet32", note=note, groups=groups, modules=modules, **common)
        case "single-thread":
            return ran(f"{dataset}.single_thread_resnet32", UNIT.format(0), note, groups=groups, **common)
        case "GN-DGL":
            older = row.paper == "gndgl-v1"
            return ran(
                f"{dataset}.gndgl_resnet32",
                "" if older else EVALUATED[row.get("eval")],  # type: ignore[index]
                OLDER if older and "acc" in row.metric else note,
                groups=groups,
                modules=modules,
                **common,
            )
    notes = {"test_acc_%": LAMBDAS}
    loss = "softmax" if "softmax" in row.method else "contrast"
    return ran(
        f"{dataset}.infopro_resnet32",
        note="; ".join(filter(None, [note, notes.get(row.metric, "")])),
        modules=modules,
        loss=loss,
        source="constant",
        head="gndgl-1c2f",
        **common,
    )
