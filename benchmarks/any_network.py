"""Can any network learn locally? 100 classification networks of torchvision and timm, two methods, four modules each.

For each network (``any_network_list.py``) and each method: ``localize`` at K=4 (wrapping changes no buffer, draws no
random number and moves no logit; the units in a row compute the network's own logits), the audit (every loss reaches
its own unit only), one training step of ``Sequential`` with SGD on two images, and an export whose logits equal the
localized network's. Each network is tried in a process of its own, one at a time. Results are kept in a file, so that
the program can be stopped and continued; the table is written after every network.

    OMP_NUM_THREADS=1 python benchmarks/any_network.py [--list] [--only NAME ...] [--family NAME ...] [--again]
"""

import argparse
import json
import multiprocessing
import platform
import re
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from any_network_list import MODELS, Model
from torch import Tensor, nn

import localgrad as lg
from localgrad.method import Method

METHODS: dict[str, Callable[[], Method]] = {
    "DGL": lambda: lg.methods.DGL(max_hidden=1024),
    "AugLocal": lambda: lg.methods.AugLocal(depth=2),
}
MODULES = 4
TARGET = 95
LIMIT_S = 240
LIMIT_BYTES = 14 * 2**30
ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs" / "any-network.md"
KEPT = ROOT / "benchmarks" / "results" / "any-network.json"

HELP = """\
## Where to cut, and what to do where tracing fails

A block is a repeated submodule, or a layer with weights and what follows it. Other borders have names:
`localize(model, method, cuts=["layer1.0", "layer3"], example=x)` makes three units, one ending behind each of these
submodules and the rest; a name may lie inside a block if exactly one tensor crosses there. Sizes of the images may
cross a border too; units behind it then train on images of the example's size only, and say so.

A top level that cannot be traced can be cut at names if all it does is to hand one tensor from submodule to submodule
(it is watched doing so once, with an input like the example). Otherwise give the parts in their order,
`localize([stem, stage1, stage2, head], method, example=x)`, or put the code between them into a submodule of its own.
"""

Row = dict[str, Any]


class CheckError(Exception):
    """Something that ran but did not give what it must."""


def expect(condition: bool, text: str) -> None:
    """Raise CheckError with ``text`` unless the condition holds."""
    if not condition:
        raise CheckError(text)


def logits_of(net: nn.Module, x: Tensor) -> Tensor:
    """Logits in evaluation mode, without gradients."""
    with torch.no_grad():
        out: Tensor = net.eval()(x)
    return out


def chained(net: lg.LocalNetwork, x: Tensor) -> Tensor:
    """Logits of the bodies of all units in a row and the head."""
    with torch.no_grad():
        for unit in net.unit_list():
            x = unit(x)
        out: Tensor = net.unit_list()[-1].aux(x)
    return out


def settle(model: nn.Module, x: Tensor) -> None:
    """Give batch norms the statistics of ``x``: without them logits of deep networks overflow."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def check(model: nn.Module, method: Method, size: int, row: Row) -> None:
    """Raise an error unless the network learns locally by the method; fills in what the row says about the network."""
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    settle(model, x)
    before = logits_of(model, x)
    expect(bool(before.isfinite().all()), "the network's own logits are not finite")
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    random = torch.get_rng_state()
    net = lg.localize(model, method, modules=MODULES, example=x)
    row["blocks"] = len(net.backbone.blocks)
    expect(torch.equal(random, torch.get_rng_state()), "localize drew random numbers")
    changed = [name for name, buffer in model.named_buffers() if not torch.equal(buffer, buffers[name])]
    expect(not changed, f"localize changed the buffers {changed[:3]}")
    expect(torch.equal(logits_of(net, x), before), "localize moved the logits")
    difference = float((chained(net, x) - before).abs().max() / before.abs().max().clamp(min=1e-12))
    expect(difference < 1e-4, f"the units in a row give other logits than the network (relative {difference:.1e})")

    batch = lg.Batch(x=x, y=torch.tensor([0, 1]))
    audit = lg.audit(net, batch)
    expect(audit.ok and audit.local, "audit: " + "; ".join(audit.problems))
    off = [(i, j) for i, line in enumerate(audit.reach) for j, seen in enumerate(line) if seen != (i == j)]
    expect(not off, f"audit: the reach matrix is not diagonal at {off}")

    net.train()
    # Batch norms of two rows may have enormous gradients.
    step = lg.Sequential(net, lg.SGD(lr=0.001), clip=1.0).step(batch)
    losses = [float(loss) for terms in step.losses.values() for loss in terms.values()]
    expect(all(torch.tensor(losses).isfinite()), f"a loss is not finite: {losses}")
    after = logits_of(net, x)
    expect(bool(after.isfinite().all()), "logits are not finite after the step")
    expect(not torch.equal(after, before), "the step changed nothing")
    exported = net.export()
    expect(type(exported) is type(model), f"export gave a {type(exported).__name__}")
    expect(torch.equal(logits_of(exported, x), after), "the exported network gives other logits")


def attempt(model: Model) -> Row:
    """The row of one network, with the text of the error for each method that fails."""
    row: Row = {"parameters": 0, "blocks": 0, "seconds": 0.0}
    started = time.monotonic()
    torch.manual_seed(0)
    network = model.make()
    row["parameters"] = sum(p.numel() for p in network.parameters())
    for name, method in METHODS.items():
        try:
            check(network, method(), model.size, row)
            row[name] = "ok"
        except Exception as error:  # noqa: BLE001 - whatever goes wrong is the result
            row[name] = short(f"{type(error).__name__}: {error}")
            if not isinstance(error, lg.LocalgradError):
                traceback.print_exc(limit=-6)
    row["seconds"] = round(time.monotonic() - started, 1)
    return row


def _child(model: Model, answer: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    answer.send(attempt(model))
    answer.close()


def in_child(model: Model) -> Row:
    """``attempt`` in a process with limits of time and memory."""
    context = multiprocessing.get_context("fork")
    answer, other = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(model, other))
    child.start()
    other.close()
    try:
        if answer.poll(LIMIT_S):
            row: Row = answer.recv()
            return row
        text = f"took longer than {LIMIT_S} s"
    except EOFError:
        text = "the process ended without an answer"
    finally:
        if child.is_alive() and not answer.closed:
            child.join(timeout=5)
        child.kill()
        child.join()
    return {"parameters": 0, "blocks": 0, "seconds": LIMIT_S, **dict.fromkeys(METHODS, text)}


def key(model: Model) -> str:
    """What a row is kept under."""
    return f"{model.source}/{model.name}"


def short(text: str) -> str:
    """One line for a table, without the folders of this machine."""
    return " ".join(re.sub(r"[^\s(]*site-packages/", "", text.replace("|", "/")).split())


def table(rows: dict[str, Row]) -> str:
    """The document."""
    done = [(model, rows[key(model)]) for model in MODELS if key(model) in rows]
    good = {name: sum(row[name] == "ok" for _, row in done) for name in METHODS}
    both = sum(all(row[name] == "ok" for name in METHODS) for _, row in done)
    lines = [
        "# Any network",
        "",
        f"Outcome of `benchmarks/any_network.py`, which wrote this file ({date.today()}, PyTorch {torch.__version__}, "
        f"torchvision {torchvision.__version__}, timm {timm.__version__}, {platform.machine()}, CPU). "
        f"{len(MODELS)} classification networks chosen by family before any was tried, random weights, two images; "
        f"`localize(model, method, modules={MODULES}, example=x)` with `DGL(max_hidden=1024)` and `AugLocal(depth=2)`.",
        "",
        "*ok*: wrapping changed no buffer, drew no random number and moved no logit; the units in a row compute the "
        "network's own logits; the audit finds that every loss reaches its own unit and no other; one step of SGD ran "
        "with finite losses (gradients clipped to norm 1, since batch norms see two images only); the logits of "
        "`export()` equal the localized network's.",
        "",
        f"**{both} of {len(done)} with both methods** (target {TARGET} of {len(MODELS)}); "
        + ", ".join(f"{name} {count}" for name, count in good.items())
        + ".",
        "",
        "| # | family | network | from | pixels | parameters | blocks | DGL | AugLocal |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    reasons = []
    for number, (model, row) in enumerate(done, 1):
        told = ["ok" if row[name] == "ok" else "no" for name in METHODS]
        lines.append(
            f"| {number} | {model.family} | {model.name} | {model.source} | {model.size} | "
            f"{row['parameters'] / 1e6:.1f} M | {row['blocks'] or '-'} | {' | '.join(told)} |"
        )
        reasons += [f"- **{model.name}, {name}**: {row[name]}" for name in METHODS if row[name] != "ok"]
    if reasons:
        lines += ["", "## What failed, and why", "", *reasons]
    return "\n".join([*lines, "", HELP])


def main() -> int:
    """Try the networks asked for, write the table; 1 when fewer than TARGET of all work."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="print the networks and stop")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these networks only")
    parser.add_argument("--family", nargs="+", metavar="NAME", help="networks of these families only")
    parser.add_argument("--again", action="store_true", help="also networks that are done")
    parser.add_argument("--failed", action="store_true", help="again those that failed")
    options = parser.parse_args()
    chosen = [
        model
        for model in MODELS
        if (not options.only or model.name in options.only) and (not options.family or model.family in options.family)
    ]
    if options.list or not chosen:
        print("\n".join(f"{model.family:16}{key(model)}" for model in chosen or MODELS))
        return 0 if chosen else 2
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows: dict[str, Row] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for model in chosen:
        old = rows.get(key(model))
        failed = old is not None and any(old[name] != "ok" for name in METHODS)
        if old is None or options.again or (options.failed and failed):
            row = rows[key(model)] = in_child(model)
            told = "  ".join(f"{name}: {row[name]}" for name in METHODS)
            print(f"{key(model):44}{row['seconds']:6.1f} s  {row['blocks']:3} blocks  {told}", flush=True)
            KEPT.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
            TABLE.write_text(table(rows))
    both = sum(all(row[name] == "ok" for name in METHODS) for row in rows.values())
    print(f"{both} of {len(rows)} networks with both methods; {len(MODELS)} are on the list")
    return 0 if both >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
