"""A few steps of every training on this machine: what the estimate is made of, and overheads in time."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter

from localgrad.cost import step_times
from localgrad.heap import keep_freed_memory
from localgrad.reproduction.planning import Pace, Walk, passes
from localgrad.reproduction.values import probe_last
from localgrad.train import Run, evaluate
from localgrad.train.setup import deterministic_kernels, load_images, make_loaders, make_loop

STEPS = 2
"""Timed steps, after one that is not."""


def measure(runs: Mapping[str, Run], seeds: int, told: Callable[[str], None]) -> dict[str, Walk]:
    """The pace of every run: ``STEPS`` steps and a pass over the test split."""
    found = {}
    for name, run in runs.items():
        device = run.torch_device()
        if device.type == "cpu":
            keep_freed_memory()
        images = load_images(run)
        loaders = make_loaders(run, images, device)
        # Greedy training's steps are those of one unit; all units on one batch are a bound.
        loop = make_loop(replace(run, runtime="sequential"), device)
        batch = loaders.train.batch(0, 0)
        with deterministic_kernels():
            step = step_times({name: loop}, batch, repeats=STEPS, warmup=1)[name].median
        start = perf_counter()
        if loop.net.classifies:
            evaluate(loop.net, loaders.test, precision=run.precision)
            pace = Pace(step, perf_counter() - start)
        else:
            probe_last(loop.net, run, images)
            pace = Pace(step, 0.0, perf_counter() - start)
        walks = passes(run, len(loop.net.unit_list()))
        found[name] = Walk(pace, len(loaders.train.split), run.batch_size, run.drop_last, walks, seeds)
        told(f"  {name}: {1000 * step:.0f} ms per step")
    return found


def overhead(run: Run, whole: Run, repeats: int) -> float:
    """Percent that a step of ``run`` takes longer than one of ``whole``: median of ``repeats`` interleaved steps."""
    device = run.torch_device()
    images = load_images(run)
    batches = [make_loaders(one, images, device).train.batch(0, 0) for one in (run, whole)]
    batch = batches[0]
    if batch.image is None and batches[1].image is not None:
        batch = batches[1]
    loops = {"run": make_loop(run, device), "whole": make_loop(whole, device)}
    with deterministic_kernels():
        times = step_times(loops, batch, repeats=repeats, warmup=2)
    return 100 * (times["run"].ratio(times["whole"]) - 1)
