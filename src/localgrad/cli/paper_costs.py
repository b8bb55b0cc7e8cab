"""`localgrad cost` without a recipe: every method side by side, and the papers' tables of arithmetic."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from localgrad import backbones
from localgrad.cli.options import parse, plain_parser
from localgrad.cli.tables import console, memory_legend, memory_rows
from localgrad.errors import LocalgradError, nearest
from localgrad.paper_tables import MEMORY_ROWS, auglocal_flops, gndgl_speedups, memories
from localgrad.spec import Backbone

Network = Literal["resnet32", "resnet110"]
NETWORKS: Mapping[Network, Callable[[], Backbone]] = {
    "resnet32": backbones.resnet32,
    "resnet110": backbones.resnet110,
}

USAGE = """usage: localgrad cost --all [--network resnet32|resnet110] [--modules K] [--batch-size N]
                            [--rows "backprop; DGL (mlp-sr)"]
       localgrad cost --table gndgl
       localgrad cost --table auglocal [--network resnet32|resnet110] [--depths 5,6] [--taus 1,0.5]

--all: live memory and arithmetic of every method beside backpropagation, gradient checkpointing and an optimiser in
the backward pass; as it is, recomputed, in bfloat16 and both. All rows take minutes.
--table gndgl: GN-DGL's two tables of speed-ups. --table auglocal: AugLocal's FLOPs (multiply-accumulates of
convolutions, linear layers, BatchNorm and pooling, network and auxiliary networks) by depth and tau, in 1e9."""


def paper_costs(words: Sequence[str]) -> int:
    """Print one of the tables; ``words`` begin with ``--all`` or ``--table``."""
    if {"-h", "--help"} & set(words):
        print(USAGE)
        return 0
    if words[0] == "--all":
        return every_cost(words[1:])
    _, equals, table = words[0].partition("=")
    table, rest = (table, words[1:]) if equals else (words[1] if len(words) > 1 else "", words[2:])
    if table == "gndgl":
        parse(plain_parser("cost --table gndgl", "GN-DGL's speed-ups."), rest)
        print(gndgl_speedups())
        return 0
    if table != "auglocal":
        raise LocalgradError(f"localgrad cost: there is no table {table!r}. {nearest(table, ('gndgl', 'auglocal'))}")
    return flops(rest)


def every_cost(words: Sequence[str]) -> int:
    """Every method on one network."""
    parser = plain_parser("cost --all", "Every method on one network.")
    parser.add_argument("--network", type=Network, default="resnet32", help="CIFAR ResNet")
    parser.add_argument("--modules", type=int | None, help="K; one module per block by default")
    parser.add_argument("--batch_size", type=int, default=1024, help="images per step")
    parser.add_argument("--rows", type=str | None, help="names of rows, with semicolons; all by default")
    values = parse(parser, words)
    backbone = NETWORKS[values["network"]]()
    modules = values["modules"] or len(backbone.blocks)
    batch = values["batch_size"]
    names = MEMORY_ROWS if values["rows"] is None else [name.strip() for name in values["rows"].split(";")]
    rows = list(memories(backbone, modules, batch, names))
    out = console()
    image = "x".join(map(str, backbone.image))
    title = f"{backbone.name}, K={modules}, images {image}, batch {batch}, SGD with momentum, update per unit"
    out.print(memory_rows(rows, title))
    out.print(memory_legend(), highlight=False)
    return 0


def flops(words: Sequence[str]) -> int:
    """AugLocal's FLOPs for depths and taus."""
    parser = plain_parser("cost --table auglocal", "AugLocal's FLOPs by depth and tau.")
    parser.add_argument("--network", type=Network, default="resnet110", help="CIFAR ResNet")
    parser.add_argument("--depths", type=str, default="2,3,4,5,6,7,8,9", help="the paper's d, with commas")
    parser.add_argument("--taus", type=str, default="1,0.9,0.8,0.7,0.6,0.5", help="slopes of the pyramid, with commas")
    values = parse(parser, words)
    depths, taus = numbers("--depths", values["depths"]), numbers("--taus", values["taus"])
    if any(depth != int(depth) for depth in depths):
        raise LocalgradError(f"localgrad cost: --depths must be whole numbers, got {values['depths']}.")
    print(f"{values['network']}, one module per block: d by row, tau by column, 1e9 multiply-accumulates per image")
    print(auglocal_flops(NETWORKS[values["network"]](), [int(depth) for depth in depths], taus))
    return 0


def numbers(name: str, text: str) -> list[float]:
    """Numbers with commas between them. Raises LocalgradError for anything else."""
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise LocalgradError(
            f"localgrad cost: {name} must be numbers with commas between them, got {text!r}."
        ) from error
