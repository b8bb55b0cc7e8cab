"""``localgrad evaluate RUN --data NAME``: a trained network on another data set, without training the network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, final

from jsonargparse import ArgumentParser

from localgrad.analysis.features import block_features
from localgrad.analysis.knn import NEIGHBOURS, TEMPERATURE, knn_top1, neighbours_of
from localgrad.analysis.probe import block_places, fit_probes
from localgrad.analysis.transfer import Judged, Way, all_logits, judge, mapped_logits, raw_labels
from localgrad.cli.options import run_from_origin
from localgrad.cli.other_data import check_word, file_name, other_data
from localgrad.cli.transfer_text import print_judged, print_probed
from localgrad.data import Batches, ClassMap, ImageSet, Part, Seen, fitted, match_classes, seen
from localgrad.errors import LocalgradError, RunError
from localgrad.heap import keep_freed_memory
from localgrad.network import LocalNetwork
from localgrad.train import Run
from localgrad.train.record import conditions, read_run, write_json
from localgrad.train.setup import EVAL_BATCH, EVAL_PIXELS, place
from localgrad.train.standing import load_standing

KIND = "localgrad transfer 1"
OWN = ("logits", "raw_labels", "probe", "neighbours", "temperature", "c", "download", "own_data_root")
"""Options that say something about ``--data`` only."""


def add_options(parser: ArgumentParser) -> None:
    """What ``localgrad evaluate`` takes beside a run and where its data lies."""
    parser.add_argument(
        "--data",
        type=str | None,
        help="another data set to test on, without training: cifar10, cifar100, stl10, svhn, mnist, fashion-mnist, "
        "kmnist, digits, folder; --data-root says where it lies",
    )
    parser.add_argument("--download", type=bool | None, help="with --data: fetch the set where it is not there")
    parser.add_argument(
        "--logits",
        type=Literal["all", "mapped"] | None,
        help="with --data: which figure is the headline; all: the network's plain prediction, so that a class which "
        "the other set does not have is a wrong answer; mapped: only classes of both sets compete. Both are shown",
    )
    parser.add_argument(
        "--raw_labels", type=bool | None, help="with --data: compare labels as numbers too, whatever they mean"
    )
    parser.add_argument(
        "--probe",
        type=bool | None,
        help="with --data: linear probes and kNN, fitted on the other set's training images, frozen features; what a "
        "network without labels has in any case",
    )
    parser.add_argument("--neighbours", type=int | None, help=f"of kNN ({NEIGHBOURS})")
    parser.add_argument("--temperature", type=float | None, help=f"of kNN's votes ({TEMPERATURE:g})")
    parser.add_argument("--c", type=float | None, help="inverse weight of the probes' L2 penalty (1)")
    parser.add_argument(
        "--own_data_root", type=Path | None, help="with --data: where the run's own data lies now, if it must be read"
    )


def check_options(values: Mapping[str, Any]) -> None:
    """Raise LocalgradError for options that change nothing."""
    given = [name for name in OWN if values[name] is not None]
    if values["data"] is None:
        if given:
            names = ", ".join("--" + name.replace("_", "-") for name in given)
            raise LocalgradError(f"localgrad evaluate: {names} says how another set is evaluated: give --data NAME.")
        return
    check_word(values["data"], values["data_root"], bool(values["download"]))


def transfer(values: Mapping[str, Any]) -> int:
    """Evaluate on the set that ``--data`` names, print it, and write ``transfer-DATA.json`` into the run's folder.

    Probes of frozen features go into ``transfer-probe-DATA.json``: neither overwrites the other.
    """
    folder: Path = values["run"]
    run = _run(folder, values)
    like = seen(run.data)
    data = other_data(values["data"], values["data_root"], bool(values["download"]), like)
    if problems := data.problems():
        raise RunError(problems)
    probing = bool(values["probe"]) or "y" not in run.method.needs
    if probing and (values["logits"] is not None or values["raw_labels"] is not None):
        raise LocalgradError(
            "localgrad evaluate: a probe is fitted on the other set's own classes: leave --logits, --raw-labels out."
        )
    if not probing and any(values[name] is not None for name in ("neighbours", "temperature", "c")):
        raise LocalgradError("localgrad evaluate: --neighbours, --temperature and --c are those of --probe true.")
    other = data.load()
    assert isinstance(other, ImageSet)  # all that other_data names
    classes = None if probing else _match(run, like, other)
    ways = {} if classes is None else _ways(classes, values)
    net, standing = load_standing(run, folder)
    net = place(net, run, run.torch_device())
    shown = _Shown(run, fitted(other, like))
    common = {
        "kind": KIND,
        "run": str(folder),
        "network": run.backbone.name,
        "trained_on": like.name,
        "epoch": standing.epoch,
        "finished": standing.finished,
        "checkpoint": standing.row(),
        "data": values["data"],
        "root": getattr(data, "root", None),
        "images": {"from": list(other.image), "to": list(like.image), "mean": list(like.mean), "std": list(like.std)},
    }
    if classes is None:
        found: dict[str, object] = _probe(net, shown, values, other)
    else:
        judged = judge(net, shown.batches("test"), ways, precision=run.precision)
        found = _judged_row(classes, judged, values, other)
    document = {**common, **found, "conditions": conditions(run.torch_device())}
    if classes is None:
        print_probed(folder, document, standing)
    else:
        print_judged(folder, document, standing, net)
    path = folder / file_name(values["data"], data, probing=probing)
    write_json(path, document, "the figures")
    print(f"wrote {path}")
    return 0


def _run(folder: Path, values: Mapping[str, Any]) -> Run:
    moved = {"device": values["device"], "data_root": values["own_data_root"]}
    run = run_from_origin(read_run(folder)["origin"], folder, moved)
    problems = list(run.problems(resumed=True, data=False))
    if problems:
        raise RunError(problems)
    if run.torch_device().type == "cpu":
        keep_freed_memory()
    return run


def _match(run: Run, like: Seen, other: ImageSet) -> ClassMap:
    where = f"localgrad evaluate: {run.backbone.name} trained on {like.name}, tested on {other.name}"
    try:
        return match_classes(like.classes, other.classes, where)
    except LocalgradError as error:
        raise LocalgradError(
            f"{error}\nWith --probe true a linear classifier and kNN are fitted on the other set's training images, on "
            "the network's frozen features."
        ) from error


def _ways(classes: ClassMap, values: Mapping[str, Any]) -> dict[str, Way]:
    """The ways to judge; two that are the same are one."""
    ways = {"all": all_logits(classes)}
    if classes.only_source:
        ways["mapped"] = mapped_logits(classes)
    elif values["logits"] is not None:
        raise LocalgradError("localgrad evaluate: all of the network's classes are in both sets: leave --logits out.")
    if values["raw_labels"]:
        ways["raw_labels"] = raw_labels(classes)
    return ways


def _judged_row(
    classes: ClassMap, judged: Mapping[str, Judged], values: Mapping[str, Any], other: ImageSet
) -> dict[str, object]:
    counts = other.test.labels_N.bincount(minlength=len(other.classes)).tolist()
    left_out = {name: counts[other.classes.index(name)] for name in classes.only_target}
    headline = values["logits"] or "all"
    others = {name: one.row() for name, one in judged.items() if name != headline}
    return {
        "test_images": len(other.test),
        "left_out": left_out,
        "classes": {
            "mapped": [list(pair) for pair in classes.pairs],
            "only_trained_on": list(classes.only_source),
            "only_data": list(classes.only_target),
        },
        "logits": headline,
        **judged[headline].row(),
        **({"other_ways": others} if others else {}),
    }


def _probe(net: LocalNetwork, shown: "_Shown", values: Mapping[str, Any], other: ImageSet) -> dict[str, object]:
    temperature = TEMPERATURE if values["temperature"] is None else values["temperature"]
    c = 1.0 if values["c"] is None else values["c"]
    classes, precision = len(other.classes), shown.run.precision
    train = block_features(net, shown.batches("train"), precision=precision)
    test = block_features(net, shown.batches("test"), precision=precision)
    neighbours = neighbours_of(len(train.labels_N), values["neighbours"])
    # Before the fit, which takes longest: it refuses too many neighbours.
    near = knn_top1(train, test, classes=classes, neighbours=neighbours, temperature=temperature)
    probes = fit_probes(train, classes=classes, c=c)
    learnt, tested = probes.top1(train), probes.top1(test)
    names = net.backbone.block_names
    ends = {str(k): names[unit.span.stop - 1] for k, unit in enumerate(net.unit_list()) if len(unit.span)}
    return {
        "probe": {
            "samples": {"train": len(train.labels_N), "test": len(test.labels_N)},
            "c": c,
            "neighbours": neighbours,
            "temperature": temperature,
            "converged": probes.converged,
            "gradient": probes.gradient,
        },
        "n": len(test.labels_N),
        "classes": list(other.classes),
        "linear": {unit: tested[block] for unit, block in ends.items()},
        "knn": {unit: near[block] for unit, block in ends.items()},
        "blocks": [
            {
                "block": one.block,
                "units": list(one.units),
                "border": one.border,
                "train": learnt[one.block],
                "test": tested[one.block],
                "knn": near[one.block],
            }
            for one in block_places(net)
        ],
    }


@final
class _Shown:
    """The other set on the run's device."""

    def __init__(self, run: Run, images: ImageSet) -> None:
        self.run = run
        self.images = images

    def batches(self, part: Part) -> Batches:
        """A split in its own order, not augmented."""
        _, height, width = self.images.image
        found = self.images.loader(
            part,
            training=False,
            batch_size=max(1, min(EVAL_BATCH, EVAL_PIXELS // (height * width))),
            seed=self.run.seed,
            device=self.run.torch_device(),
            channels_last=self.run.channels_last,
        )
        assert found is not None  # every set has a train and a test split
        return found
