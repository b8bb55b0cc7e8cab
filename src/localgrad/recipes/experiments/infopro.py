"""InfoPro's tables."""

from localgrad.methods.infopro_lambdas import SCHEDULES, published
from localgrad.recipes.experiments.experiment import DATASETS, NETWORKS, Experiment, NotCovered, named, ran
from localgrad.reported import Row

EPOCHS = 160
SOFTMAX = "the weights of the losses with softmax are not published: those of contrast"
NETWORKS_MISSING = {
    "DenseNet-BC-100-12": "how DenseNet is split into modules is not in the released code",
    "ResNeXt-101-32x8d": "localgrad has no ResNeXt",
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
        if row.method == "BP":
            return ran(named(row.dataset, "backprop", row.network), protocol="infopro")
        return ran(named(row.dataset, "infopro", row.network))
    modules = row.get("K")
    match row.method:
        case "BP":
            return ran(named(row.dataset, "backprop", row.network), epochs=EPOCHS)
        case "GradCheckpoint":
            note = "the number of recomputed segments is not known: the square root of the number of blocks"
            return ran(named(row.dataset, "checkpointing", row.network), note=note, epochs=EPOCHS)
        case "GreedySL" | "DGL":
            head = "0c1f" if row.method == "GreedySL" else "1c2f"
            return ran(named(row.dataset, "dgl", row.network), modules=modules, head=head, epochs=EPOCHS)
        case "InfoPro*":
            return ran(named(row.dataset, "infopro", row.network), modules=modules, split="balanced", epochs=EPOCHS)
        case "InfoPro(contrast)":
            return ran(named(row.dataset, "infopro", row.network), modules=modules, epochs=EPOCHS)
    assert row.method == "InfoPro(softmax)" and isinstance(modules, int)
    network, dataset = NETWORKS[row.network], DATASETS[row.dataset]
    lambdas = SCHEDULES[published("infopro", "contrast", dataset, network, "standard", modules)]
    recipe = named(row.dataset, "infopro", row.network)
    return ran(
        recipe, note=SOFTMAX, modules=modules, loss="softmax", first=lambdas.first, last=lambdas.last, epochs=EPOCHS
    )
