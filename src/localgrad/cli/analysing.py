"""``localgrad probe``: what the features of a trained network are worth, with frozen weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from localgrad.analysis.features import block_features
from localgrad.analysis.knn import NEIGHBOURS, TEMPERATURE, knn_top1
from localgrad.analysis.probe import TOLERANCE, BlockPlace, block_places, fit_probes
from localgrad.cli.options import parse, plain_parser
from localgrad.cli.tables import console
from localgrad.cli.trained import add_moved, run_of, split_loader, trained_network, write_document
from localgrad.train.record import conditions
from localgrad.train.setup import load_images

Words = Sequence[str]


def probe(words: Words) -> int:
    """How well every block's frozen features tell classes apart: linear probes and nearest neighbours."""
    parser = plain_parser(
        "probe", "Linear probes and weighted nearest neighbours on the frozen features of every block."
    )
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("-o", "--output", type=Path | None, help="file for the figures, as JSON")
    parser.add_argument("--neighbours", type=int, default=NEIGHBOURS, help="nearest neighbours that vote")
    parser.add_argument("--temperature", type=float, default=TEMPERATURE, help="of the votes; lower: nearer ones count")
    parser.add_argument("--c", type=float, default=1.0, help="inverse weight of the probes' L2 penalty")
    add_moved(parser)
    values = parse(parser, words)
    folder = values["run"]
    run = run_of(folder, values)
    images = load_images(run)
    classes = len(images.classes)
    net = trained_network(run, folder)
    train = block_features(net, split_loader(run, images, "train"), precision=run.precision)
    test = block_features(net, split_loader(run, images, "test"), precision=run.precision)
    # Before the fit, which takes longest: it refuses too many neighbours.
    near = knn_top1(train, test, classes=classes, neighbours=values["neighbours"], temperature=values["temperature"])
    probes = fit_probes(train, classes=classes, c=values["c"])
    places = block_places(net)
    figures = {
        where.block: {"train": learnt, "test": tested, "knn": near[where.block]}
        for where, learnt, tested in zip(places, probes.top1(train).values(), probes.top1(test).values(), strict=True)
    }
    out = console()
    out.print(f"{folder}: {run.backbone.name} on {run.data.name}", markup=False, highlight=False)
    out.print(_probe_table(places, figures))
    out.print(
        f"Top-1 in percent, {len(test.labels_N)} test images; probes and neighbours from {len(train.labels_N)} "
        "training images, not augmented. Features: each block's mean over positions, BatchNorm frozen. probe: "
        f"multinomial logistic regression, L2 1/(2 c N) with c={values['c']:g}; kNN: cosine, k={values['neighbours']}, "
        f"temperature {values['temperature']:g}. Behind a block with ---- a unit ends.",
        markup=False,
        highlight=False,
    )
    if not probes.converged:
        print(f"The probes have not converged: largest gradient {probes.gradient:.1e}, wanted {TOLERANCE:.0e}.")
    if values["output"] is not None:
        document = {
            "kind": "localgrad probe 1",
            "run": str(folder),
            "data": run.data.name,
            "samples": {"train": len(train.labels_N), "test": len(test.labels_N)},
            "c": values["c"],
            "neighbours": values["neighbours"],
            "temperature": values["temperature"],
            "converged": probes.converged,
            "blocks": [
                {"block": one.block, "units": one.units, "border": one.border, **figures[one.block]} for one in places
            ],
            "conditions": conditions(run.torch_device()),
        }
        write_document(values["output"], document, "the figures")
    return 0


def _probe_table(places: Sequence[BlockPlace], figures: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("block", "unit", "border"):
        table.add_column(heading, no_wrap=heading != "unit")
    for heading in ("probe train", "probe test", "kNN test"):
        table.add_column(heading, justify="right", no_wrap=True)
    for where in places:
        own = figures[where.block]
        table.add_row(
            Text(where.block),
            Text(" ".join(where.units)),
            "----" if where.border else "",
            *(f"{own[key]:.2f}" for key in ("train", "test", "knn")),
        )
    return table
