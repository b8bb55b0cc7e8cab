"""Time and live memory of NT-Xent with pair selection, by plain NT-Xent: forward and backward of one loss.

``python benchmarks/nt_xent.py [--views 2048] [--features 128] [--rounds 30] [--threads N] [--device cpu]``

In every round each loss takes its turn, so that what else the machine does hits all of them alike; medians, and the
median of the ratios within rounds. Freed memory is kept, as `localgrad train` keeps it. Live memory is the peak of what
tensors hold above the features, counted operator by operator. Exits with status 1 where selection takes more than 1.3
times the time or twice the memory of plain NT-Xent. A teacher's similarities are a second product of all pairs.
"""

import argparse
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from localgrad import Batch
from localgrad.auxnets import RunningThresholds
from localgrad.cost.live import LiveBytes
from localgrad.heap import keep_freed_memory
from localgrad.losses import Loss, NTXent, SelectiveNTXent, cosines

MOST_TIME, MOST_MEMORY = 1.3, 2.0
Outputs = Callable[[Tensor], dict[str, Tensor]]


def cases(views: int, device: torch.device) -> dict[str, tuple[Loss, Outputs, Tensor | None]]:
    """Loss, what makes the outputs that it reads of features, and the similarities of a pretrained network."""
    guide = torch.randn(views, 128, device=device)
    thresholds = RunningThresholds(0.8, 0.8).to(device)

    def plain(z: Tensor) -> dict[str, Tensor]:
        return {"features": z}

    def followed(z: Tensor) -> dict[str, Tensor]:
        thresholds.follow_features(z)
        return {"features": z, "alpha": thresholds.alpha.clone(), "beta": thresholds.beta.clone()}

    def judged(z: Tensor) -> dict[str, Tensor]:
        return {"features": z, "teacher": guide}

    return {
        "plain NT-Xent": (NTXent(), plain, None),
        "own similarity, given thresholds": (SelectiveNTXent(0.2, 0.05), plain, None),
        "own similarity, running quantiles": (SelectiveNTXent(None, None), followed, None),
        "positives only": (SelectiveNTXent(0.2, None, negatives=False), lambda z: {**plain(z), "beta": z}, None),
        "as algorithm 7 is printed": (SelectiveNTXent(0.2, 0.05, keep_positive=False), plain, None),
        "pretrained network's similarity": (SelectiveNTXent(0.2, 0.05, "pretrained"), plain, cosines(guide)),
        "teacher's similarity": (SelectiveNTXent(0.2, 0.05, "teacher"), judged, None),
    }


def turn(loss: Loss, outputs: Outputs, similarity: Tensor | None, z: Tensor) -> None:
    """Forward and backward."""
    z.grad = None
    loss(outputs(z), Batch(z, pair_similarity=similarity))["nt_xent"].backward()  # type: ignore[no-untyped-call]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=2048)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    torch.manual_seed(0)
    device = torch.device(options.device)
    first = torch.randn(options.views // 2, options.features, device=device)
    z = torch.stack((first, first + torch.randn_like(first)), 1).flatten(0, 1).requires_grad_()
    losses = cases(options.views, device)
    seconds: dict[str, list[float]] = {name: [] for name in losses}
    peaks = {}
    for name, case in losses.items():
        turn(*case, z)
        z.grad = None
        with LiveBytes() as live:
            live.mark(z, "parameters")
            start = live.live
            turn(*case, z)
        peaks[name] = live.timeline[live.peak()].live - start
    for number in range(options.rounds + 3):
        for name, case in losses.items():
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            begun = perf_counter()
            turn(*case, z)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number >= 3:
                seconds[name].append(perf_counter() - begun)
    plain = "plain NT-Xent"
    print(
        f"2N = {options.views} views, {options.features} features, float32, {device}, {options.threads} threads, torch "
        f"{torch.__version__}, median of {options.rounds} interleaved rounds, forward and backward"
    )
    print(f"{'':36} {'ms':>8} {'ratio':>6} {'live MiB':>9} {'ratio':>6}")
    fits = True
    for name, own in seconds.items():
        ratio = median(mine / theirs for mine, theirs in zip(own, seconds[plain], strict=True))
        memory = peaks[name] / peaks[plain]
        fits = fits and ratio <= MOST_TIME and memory <= MOST_MEMORY
        print(f"{name:36} {1000 * median(own):8.1f} {ratio:6.2f} {peaks[name] / 2**20:9.1f} {memory:6.2f}")
    print(f"at most {MOST_TIME} times the time and {MOST_MEMORY} times the memory: {'yes' if fits else 'NO'}")
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
