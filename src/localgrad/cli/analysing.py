"""``localgrad probe``: what the features of a trained network are worth, with frozen weights, and its units' heads."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from localgrad.analysis.features import block_features
from localgrad.analysis.knn import NEIGHBOURS, TEMPERATURE, knn_top1, neighbours_of
from localgrad.analysis.probe import TOLERANCE, BlockPlace, block_places, fit_probes
from localgrad.cli.options import parse, plain_parser
from localgrad.cli.output_file import output_problems
from localgrad.cli.tables import console
from localgrad.cli.trained import add_moved, run_of, split_loader, trained_standing, write_document
from localgrad.errors import RunError
from localgrad.network import LocalNetwork
from localgrad.train import Evaluation, evaluate
from localgrad.train.record import PROBE_FILE, conditions
from localgrad.train.setup import load_images

Words = Sequence[str]


def probe(words: Words) -> int:
    """How well every block's frozen features tell classes apart, and the units' own heads; RUN/probe.json says it."""
    parser = plain_parser(
        "probe", "Linear probes and weighted nearest neighbours on the frozen features of every block."
    )
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("-o", "--output", type=Path | None, help=f"file for the figures, not RUN/{PROBE_FILE}")
    parser.add_argument(
        "--neighbours",
        type=int | None,
        help=f"nearest neighbours that vote; {NEIGHBOURS}, or all where there are fewer",
    )
    parser.add_argument("--temperature", type=float, default=TEMPERATURE, help="of the votes; lower: nearer ones count")
    parser.add_argument("--c", type=float, default=1.0, help="inverse weight of the probes' L2 penalty")
    add_moved(parser)
    values = parse(parser, words)
    folder = values["run"]
    run = run_of(folder, values)
    output = folder / PROBE_FILE if values["output"] is None else values["output"]
    if problems := output_problems(output, "-o", PROBE_FILE):
        raise RunError(problems)
    images = load_images(run)
    classes = len(images.classes)
    net, standing = trained_standing(run, folder)
    loader = split_loader(run, images, "test")
    train = block_features(net, split_loader(run, images, "train"), precision=run.precision)
    test = block_features(net, loader, precision=run.precision)
    neighbours = neighbours_of(len(train.labels_N), values["neighbours"])
    # Before the fit, which takes longest: it refuses too many neighbours.
    near = knn_top1(train, test, classes=classes, neighbours=neighbours, temperature=values["temperature"])
    probes = fit_probes(train, classes=classes, c=values["c"])
    heads = evaluate(net, loader, precision=run.precision) if net.classifies else None
    places = block_places(net)
    figures = {
        where.block: {"train": learnt, "test": tested, "knn": near[where.block]}
        for where, learnt, tested in zip(places, probes.top1(train).values(), probes.top1(test).values(), strict=True)
    }
    out = console()
    out.print(f"{folder}: {run.backbone.name} on {run.data.name}", markup=False, highlight=False)
    for line in standing.lines("probe"):
        out.print(line, markup=False, highlight=False)
    out.print(_table(places, figures, _ends(net, heads)))
    out.print(
        f"Top-1 in percent, {len(test.labels_N)} test images; probes and neighbours from {len(train.labels_N)} "
        "training images, not augmented. Features: each block's mean over positions, BatchNorm frozen. probe: "
        f"multinomial logistic regression, L2 1/(2 c N) with c={values['c']:g}; kNN: cosine, k={neighbours}, "
        f"temperature {values['temperature']:g}. ----: a border. {_heads_line(heads)}",
        markup=False,
        highlight=False,
    )
    if not probes.converged:
        print(f"The probes have not converged: largest gradient {probes.gradient:.1e}, wanted {TOLERANCE:.0e}.")
    document = {
        "kind": "localgrad probe 1",
        "run": str(folder),
        "data": run.data.name,
        "checkpoint": standing.row(),
        "samples": {"train": len(train.labels_N), "test": len(test.labels_N)},
        "c": values["c"],
        "neighbours": neighbours,
        "temperature": values["temperature"],
        "converged": probes.converged,
        "blocks": [
            {"block": one.block, "units": one.units, "border": one.border, **figures[one.block]} for one in places
        ],
        **_heads(net, heads),
        "conditions": conditions(run.torch_device()),
    }
    write_document(output, document, "the figures")
    return 0


def _heads(net: LocalNetwork, found: Evaluation | None) -> dict[str, object]:
    """What the units' own heads say, where the run has classifiers."""
    if found is None:
        return {}
    names = [unit.name for unit in net.unit_list()]
    units = [{"unit": index, "name": names[index], "top1": value} for index, value in found.units.items()]
    return {"heads": {"network": found.top1, "units": units, "ensemble": found.ensemble}}


def _ends(net: LocalNetwork, found: Evaluation | None) -> dict[str, str]:
    """The accuracies of the heads behind every block where units end; those of an empty span behind the last block."""
    ends: dict[str, list[str]] = {}
    for index, unit in enumerate(net.unit_list()):
        if found is not None and index in found.units:
            block = net.backbone.block_names[max(unit.span.stop, 1) - 1]
            ends.setdefault(block, []).append(f"{found.units[index]:.2f}")
    return {block: " ".join(values) for block, values in ends.items()}


def _heads_line(found: Evaluation | None) -> str:
    if found is None:
        return "Own heads and ensemble: none, the run learnt without labels and has no classifier."
    if not found.ensemble:
        return "Own head: the classifier of the unit that ends there. Ensemble: none, only one unit classifies."
    told = ", ".join(f"{mode} {value:.2f}" for mode, value in found.ensemble.items())
    return f"Own head: the classifier of the unit that ends there. Ensembles of the heads: {told}."


def _table(places: Sequence[BlockPlace], figures: Mapping[str, Mapping[str, float]], ends: Mapping[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("block", "unit", "border"):
        table.add_column(heading, no_wrap=heading != "unit")
    for heading in ("probe train", "probe test", "kNN test", *(["own head"] if ends else [])):
        table.add_column(heading, justify="right", no_wrap=heading != "own head")
    for where in places:
        own = figures[where.block]
        table.add_row(
            Text(where.block),
            Text(" ".join(where.units)),
            "----" if where.border else "",
            *(f"{own[key]:.2f}" for key in ("train", "test", "knn")),
            *([ends.get(where.block, "")] if ends else []),
        )
    return table
