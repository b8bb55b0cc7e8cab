"""InfoPro's tables."""

from localgrad.methods.infopro_lambdas import SCHEDULES, published
from localgrad.recipes.experiments.experiment import DATASETS, NETWORKS, Experiment, NotCovered, named, ran
from localgrad.reported import Row

EPOCHS = 160
SOFTMAX = "the weights of the losses with softmax are not published: those of contrast"
RESNEXT = "the table has batches of 512; the learning rate is that of the released command, which has batches of 1024"
DENSENET = "DenseNet's modules and heads are not in the released code: equally many layers, heads as of ResNets"
DENSENET_WEIGHTS = f"{DENSENET}; nor are the weights of the losses: those of ResNet-110"
NETWORKS_MISSING = {
    "DeepLabV3-R101": "semantic segmentation on Cityscapes",
}
METHODS_MISSING = {
    "GreedySL+": "what Greedy SL+ adds to Greedy SL is neither in the released code nor in our sources",
    "Asy-InfoPro(contrast)": "how Asy-InfoPro is trained is not in the released code",
}


def infopro(row: Row) -> Experiment | NotCovered:
    """The experiment of a row of InfoPro's tables."""
    reason = NETWORKS_MISSING.get(row.network) or METHODS_MISSING.get(row.method)
    if reason is not None:
        return NotCovered(reason)
    if row.dataset == "ImageNet":
        note = RESNEXT if row.network.startswith("ResNeXt") else ""
        if row.method == "BP":
            return ran(named(row.dataset, "backprop", row.network), note=note, protocol="infopro")
        return ran(named(row.dataset, "infopro", row.network), note=note)
    modules = row.get("K")
    dense = row.network.startswith("DenseNet")
    match row.method:
        case "BP":
            return ran(named(row.dataset, "backprop", row.network), epochs=EPOCHS)
        case "GradCheckpoint":
            note = "the number of recomputed segments is not known: the square root of the number of blocks"
            return ran(named(row.dataset, "checkpointing", row.network), note=note, epochs=EPOCHS)
        case "GreedySL" | "DGL":
            head = "0c1f" if row.method == "GreedySL" else "1c2f"
            note = DENSENET if dense else ""
            return ran(named(row.dataset, "dgl", row.network), note=note, modules=modules, head=head, epochs=EPOCHS)
        case "InfoPro*":
            return ran(named(row.dataset, "infopro", row.network), modules=modules, split="balanced", epochs=EPOCHS)
        case "InfoPro(contrast)":
            note = DENSENET_WEIGHTS if dense else ""
            return ran(named(row.dataset, "infopro", row.network), note=note, modules=modules, epochs=EPOCHS)
    assert row.method == "InfoPro(softmax)" and isinstance(modules, int)
    if dense:
        recipe = named(row.dataset, "infopro", row.network)
        return ran(recipe, note=DENSENET_WEIGHTS, modules=modules, loss="softmax", epochs=EPOCHS)
    network, dataset = NETWORKS[row.network], DATASETS[row.dataset]
    lambdas = SCHEDULES[published("infopro", "contrast", dataset, network, "standard", modules)]
    recipe = named(row.dataset, "infopro", row.network)
    return ran(
        recipe, note=SOFTMAX, modules=modules, loss="softmax", first=lambdas.first, last=lambdas.last, epochs=EPOCHS
    )
