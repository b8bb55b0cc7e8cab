"""Figures that need no training, of the paper's own network at its own batch size, counted without computing it."""

import torch

from localgrad.cost import macs, memory
from localgrad.reproduction.entries import Ours
from localgrad.train import Run

GIB = 2**30


def cost_figure(metric: str, run: Run) -> Ours:
    """Ours of a metric of memory, multiply-accumulates or speed-up.

    Raises LocalgradError when the network cannot be made, ValueError for a metric of another kind.
    """
    with torch.device("meta"):
        net = run.network()
    if metric.startswith("gpu_memory"):
        peak = memory(net, run.batch_size, precision=run.precision, optimizer=run.optimizer).peak
        shared = " the whole batch on one device;" if metric.endswith(("per_gpu", "over_gpus")) else ""
        return Ours.one(
            peak / GIB,
            "GiB live",
            f"live bytes of tensors at the peak of a step, batch {run.batch_size}, {run.precision.value};{shared} "
            "no GPU memory: allocator and workspaces are not in it",
        )
    if metric.startswith("flops"):
        return Ours.one(
            macs(net).total / 1e9, "G MACs", "MACs per image, forward, network and auxiliary networks, papers' count"
        )
    if metric.startswith("train_speedup"):
        return Ours.one(macs(net).speedup, "x", "forward MACs end to end / those of the largest node, papers' count")
    if metric.startswith("inference_speedup"):
        return Ours.one(macs(net).inference_speedup, "x", "forward MACs without groups / with groups, papers' count")
    if metric.startswith("theoretical_overhead"):
        counted = macs(net, count="torch")
        return Ours.one(
            100 * (counted.total / counted.end_to_end - 1),
            "%",
            "MACs of a training step, forward and backward, beside backpropagation's, torch's count",
        )
    raise ValueError(metric)


def is_memory(metric: str) -> bool:
    """Whether the paper's figure is of a GPU's allocator, of which ours is another kind."""
    return metric.startswith("gpu_memory")
