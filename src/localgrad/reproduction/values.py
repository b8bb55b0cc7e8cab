"""Our figure of a finished run: the accuracy that the paper's metric names."""

from collections.abc import Mapping
from typing import Any

from localgrad.analysis.features import BlockFeatures, block_features
from localgrad.analysis.probe import fit_probes
from localgrad.data import Images, Part
from localgrad.methods import DGSSL, Running
from localgrad.network import LocalNetwork
from localgrad.report.json_files import number, read_object, shown
from localgrad.report.sides import TRANSFER_KIND
from localgrad.train import Run
from localgrad.train.frozen import LINEAR as FITTED
from localgrad.train.frozen import final_features
from localgrad.train.newest import load_trained
from localgrad.train.setup import EVAL_BATCH, EVAL_PIXELS, load_images, place

LINEAR = "linear_probe"

UNCALIBRATED = "thresholds: running quantiles, not calibrated on a pretrained SimCLR"
"""What a run of DGSSL-LLM without a calibration has in place of the thesis' thresholds."""


def accuracy(metric: str, figure: str, test: Mapping[str, Any]) -> float:
    """The percent that ``metric`` names, of the last epoch's ``test``; ``figure`` names another entry than top-1."""
    if figure:
        found: Any = test
        for part in figure.split("."):
            found = found[part]
    else:
        found = test["top5" if metric.startswith("top5") else "top1"]
    return 100.0 - float(found) if "error" in metric else float(found)


def kind_of(metric: str, figure: str, data: str = "", *, fitted: bool = False) -> str:
    """What an accuracy of ours is, in words; ``fitted``: the run itself fitted linear classifiers."""
    if metric.startswith(LINEAR) and fitted:
        return "test top-1 of a linear classifier on the frozen features of the last unit, last epoch's `linear`"
    if metric.startswith(LINEAR):
        return "test top-1 of a linear classifier on the frozen features of the last block"
    if data:
        return f"top-1 on the test images of {data}, last epoch"
    what = {"ensemble.layerwise": "layer-wise ensemble's", "ensemble.last": "ensemble of the last module's heads,"}
    whose = what.get(figure) or (f"own head of unit {figure.partition('.')[2]}," if figure else "")
    rank = "top-5" if metric.startswith("top5") else "top-1"
    error = " error" if "error" in metric else ""
    return " ".join(filter(None, [whose, f"test {rank}{error}, last epoch"]))


def departures(run: Run) -> tuple[str, ...]:
    """What even the recipe as recorded has not as the paper, unless a person adds it."""
    selection = run.method.selection if isinstance(run.method, DGSSL) else None
    return (UNCALIBRATED,) if selection is not None and isinstance(selection.thresholds, Running) else ()


def how(metric: str, run: Run) -> tuple[str, ...]:
    """Sentences about a run of a figure: where a linear classifier's figure is from, and what the thresholds are."""
    said = []
    if metric.startswith(LINEAR):
        said.append(
            "the figure is a linear classifier's on the trained features, "
            + (
                "`linear` of the last epoch's row"
                if run.linear_every
                else "fitted by `localgrad reproduce` when the run is finished: these runs fit none, so that their "
                "rows have no `linear`"
            )
        )
    if departures(run):
        said.append(
            "thresholds are running quantiles of each module's own similarities: `localgrad reproduce` takes no "
            "calibration; the thesis' are read from a pretrained SimCLR"
        )
    return tuple(said)


def transferred_top1(run: Run, data: str) -> float | str:
    """Top-1 on another data set, of all logits, as `localgrad evaluate RUN --data` wrote it into the run's folder.

    Where there is no such figure: why, in words. A document that says nothing of its checkpoint is taken as the last
    epoch's.
    """
    assert run.out is not None
    path, problems = run.out / f"transfer-{data}.json", list[str]()
    if not path.exists():
        return f"there is no {path.name}"
    found = read_object(path, problems)
    if problems:
        return problems[0]
    for name, expected in (("kind", TRANSFER_KIND), ("data", data), ("logits", "all")):
        if found.get(name) != expected:
            return f"{path.name}: expected {name} {expected!r}, got {_said(found, name)}"
    if found.get("finished", True) is not True:
        epoch = f" (epoch {shown(found['epoch'])})" if "epoch" in found else ""
        return f"{path.name} is of a checkpoint before the last epoch{epoch}"
    top1 = number(found.get("top1"))
    if top1 is None or not 0 <= top1 <= 100:
        return f"{path.name}: expected top1 in percent, got {_said(found, 'top1')}"
    return top1


def _said(found: Mapping[str, Any], name: str) -> str:
    return shown(found[name]) if name in found else "none"


def linear_top1(run: Run, last: dict[str, Any]) -> float:
    """Test top-1 of a linear classifier on frozen features: what the run's ``last`` row has, else fitted now.

    Then on the last block of the finished run in its folder ``run.out``.
    """
    there = final_features(last, FITTED)
    if there is not None:
        return there
    assert run.out is not None
    net = place(load_trained(run, run.out), run, run.torch_device())
    return probe_last(net, run, load_images(run))


def probe_last(net: LocalNetwork, run: Run, images: Images) -> float:
    """Test top-1 in percent of a multinomial logistic regression on the last block's mean over positions."""
    parts: dict[Part, BlockFeatures] = {}
    both: tuple[Part, Part] = ("train", "test")
    for part in both:
        loader = images.loader(
            part,
            training=False,
            batch_size=max(1, min(EVAL_BATCH, EVAL_PIXELS // (images.image[1] * images.image[2]))),
            seed=run.seed,
            device=run.torch_device(),
            needs=frozenset(),
            views=None,
            channels_last=run.channels_last,
            drop_last=False,
        )
        assert loader is not None
        found = block_features(net, loader, precision=run.precision)
        last = net.backbone.block_names[-1]
        parts[part] = BlockFeatures({last: found.blocks[last]}, found.labels_N)
    probes = fit_probes(parts["train"], classes=len(images.classes))
    (top1,) = probes.top1(parts["test"]).values()
    return top1
