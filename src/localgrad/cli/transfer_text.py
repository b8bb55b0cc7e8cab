"""What ``localgrad evaluate RUN --data NAME`` prints, from the document that it writes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from localgrad.cli.tables import console
from localgrad.network import LocalNetwork
from localgrad.train.standing import Standing

Document = Mapping[str, Any]


def print_judged(folder: Path, document: Document, standing: Standing, net: LocalNetwork) -> None:
    """Accuracies of the network, of the ensembles and of every unit's own head."""
    classes = document["classes"]
    known = len(classes["mapped"]) + len(classes["only_trained_on"])
    ways = {document["logits"]: document, **document.get("other_ways", {})}
    heads = {"all": f"all {known} logits", "mapped": f"the {len(classes['mapped'])} mapped", "raw_labels": "raw labels"}
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for way in ways:
        table.add_column(heads[way], justify="right", no_wrap=True)
    rows: dict[str, list[float]] = {
        "network": [own["top1"] for own in ways.values()],
        "network, top-5": [own["top5"] for own in ways.values()],
    }
    for mode in document.get("ensemble", {}):
        rows[f"ensemble {mode}"] = [own["ensemble"][mode] for own in ways.values()]
    for index, unit in enumerate(net.unit_list()):
        if str(index) in document["units"]:
            rows[f"unit {index} {unit.name}"] = [own["units"][str(index)] for own in ways.values()]
    for name, values in rows.items():
        table.add_row(Text(name), *(f"{value:.2f}" for value in values))
    lines = _head(folder, document, standing)
    renamed = [f"{own} = {other}" for own, other in classes["mapped"] if own != other]
    lines.append(
        f"Classes: {len(classes['mapped'])} in both sets{_listed(' (', renamed, ')')}; only in "
        f"{document['trained_on']}: {_names(classes['only_trained_on'])}; only in {document['data']}: "
        f"{_names(classes['only_data'])}. Judged: {document['n']} of {document['test_images']} test images"
        + _listed(", left out: ", [f"{count} of {name}" for name, count in document["left_out"].items()])
        + "."
    )
    _print(lines)
    console().print(table)
    legend = [
        "Top-1 in percent, of the network and of units' own heads.",
        f"{heads['all']}: every logit of the network competes, as in its plain prediction.",
    ]
    if "mapped" in ways:
        share = 100 / len(classes["mapped"])
        legend.append(f"{heads['mapped']}: only classes that both sets have compete, chance is {share:.1f}.")
    if "raw_labels" in ways:
        count = ways["raw_labels"]["n"]
        legend.append(f"raw labels: labels compared as numbers, whatever they mean, on {count} images.")
    _print([" ".join(legend)])


def print_probed(folder: Path, document: Document, standing: Standing) -> None:
    """Linear probes and kNN of every block, fitted on the other set."""
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("block", "unit", "border"):
        table.add_column(heading, no_wrap=heading != "unit")
    for heading in ("probe train", "probe test", "kNN test"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in document["blocks"]:
        table.add_row(
            Text(one["block"]),
            Text(" ".join(one["units"])),
            "----" if one["border"] else "",
            *(f"{one[key]:.2f}" for key in ("train", "test", "knn")),
        )
    fit = document["probe"]
    _print(_head(folder, document, standing))
    console().print(table)
    lines = [
        f"Top-1 in percent of {document['data']}'s {len(document['classes'])} own classes, {fit['samples']['test']} "
        f"test images; probes and neighbours from {fit['samples']['train']} training images of {document['data']}, the "
        "network frozen. Features: each block's mean over positions. probe: logistic regression, "
        f"c={fit['c']:g}; kNN: cosine, k={fit['neighbours']}, temperature {fit['temperature']:g}."
    ]
    if not fit["converged"]:
        lines.append(f"The probes have not converged: largest gradient {fit['gradient']:.1e}.")
    _print(lines)


def _head(folder: Path, document: Document, standing: Standing) -> list[str]:
    images = document["images"]
    has, reads = (tuple(images[key]) for key in ("from", "to"))
    size = f"resized from {has} to {reads} (bilinear, antialiased), " if has != reads else ""
    mean, std = (", ".join(f"{value:.4g}" for value in images[key]) for key in ("mean", "std"))
    return [
        f"{folder}: {document['network']}, trained on {document['trained_on']}, tested on {document['data']} without "
        "training the network",
        *standing.lines("evaluation"),
        f"Images: {size}normalised as {document['trained_on']} (mean {mean}; std {std}).",
    ]


def _names(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _listed(before: str, words: list[str], after: str = "") -> str:
    return f"{before}{', '.join(words)}{after}" if words else ""


def _print(lines: list[str]) -> None:
    for line in lines:
        console().print(line, markup=False, highlight=False)
