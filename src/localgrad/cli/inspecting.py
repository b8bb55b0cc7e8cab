"""The verbs that look at a recipe without training it: cost, audit."""

from collections.abc import Sequence

import torch

from localgrad.analysis import audit as run_audit
from localgrad.cli.options import run_from_words, split_recipe
from localgrad.cli.paper_costs import paper_costs
from localgrad.cli.tables import console, cost_legend, cost_rows
from localgrad.cost import cost_table
from localgrad.methods import Backprop, Checkpointing
from localgrad.network import localize
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
    generator = torch.Generator().manual_seed(run.seed)
    rows = 8
    images = torch.rand((rows, *run.backbone.image), generator=generator)
    labels = torch.randint(run.backbone.num_classes, (rows,), generator=generator)
    net = run.network()
    views = images.repeat_interleave(2, 0).lerp(torch.rand((2 * rows, *run.backbone.image), generator=generator), 0.3)
    similarity = torch.rand((2 * rows, 2 * rows), generator=generator) if "pair_similarity" in net.needs else None
    found = run_audit(net, Batch(x=images, y=labels, image=images, views=views, pair_similarity=similarity))
    print(found)
    return 0 if found.ok else 1
