"""The verbs that look at a recipe without training it: cost, audit."""

from collections.abc import Sequence

import torch

from localgrad.analysis import audit as run_audit
from localgrad.cli.options import run_from_words, split_recipe
from localgrad.cli.paper_costs import paper_costs
from localgrad.cli.tables import console, cost_legend, cost_rows
from localgrad.cost import cost_table
from localgrad.methods import Backprop, Checkpointing
from localgrad.network import LocalNetwork, localize
from localgrad.spec import Batch

Words = Sequence[str]


def cost(words: Words) -> int:
    """What a recipe will need, beside backpropagation: units, parameters, MACs, live memory."""
    if words and words[0].partition("=")[0] in ("--all", "--table"):
        return paper_costs(words)
    reference, rest = split_recipe("cost", words)
    run = run_from_words("cost", reference, rest)
    with torch.device("meta"):
        nets = {
            "backprop": localize(run.backbone, Backprop()),
            "checkpointing": localize(run.backbone, Checkpointing()),
            reference: run.network(),
        }
    rows = cost_table(
        nets,
        run.batch_size,
        precision=run.precision,
        channels_last=run.channels_last,
        optimizer=run.optimizer,
        update=run.update,
    )
    out = console()
    image = "x".join(map(str, run.backbone.image))
    title = (
        f"{run.backbone.name}, images {image}, batch {run.batch_size}, {run.precision}, "
        f"{type(run.optimizer).__name__}, update per {run.update}"
    )
    out.print(cost_rows(rows, title))
    out.print(cost_legend(), highlight=False)
    return 0


def audit(words: Words) -> int:
    """Show by machine which loss reaches the parameters of which unit."""
    reference, rest = split_recipe("audit", words)
    run = run_from_words("audit", reference, rest)
    net = run.network()
    found = run_audit(net, random_batch(net, run.seed))
    print(found)
    return 0 if found.ok else 1


def random_batch(net: LocalNetwork, seed: int, rows: int = 8) -> Batch:
    """Images and labels that an audit can run on: reach does not depend on what they show."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand((rows, *net.backbone.image), generator=generator)
    labels = torch.randint(net.backbone.num_classes, (rows,), generator=generator)
    views = images.repeat_interleave(2, 0).lerp(torch.rand((2 * rows, *images.shape[1:]), generator=generator), 0.3)
    similarity = torch.rand((2 * rows, 2 * rows), generator=generator) if "pair_similarity" in net.needs else None
    return Batch(x=images, y=labels, image=images, views=views, pair_similarity=similarity)
