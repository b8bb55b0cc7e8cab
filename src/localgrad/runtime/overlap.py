"""Units of one mini-batch side by side on several CPU threads: nothing waits backward, so nothing has to.

A unit hands its output on before it computes its loss; the next unit starts while this one runs its auxiliary network,
its backward pass and its update. Every operation runs on one thread, so the results are those of one thread, bit for
bit, whatever the order; two threads on two units need no barrier after every small operation, as two threads inside one
operation do. At most ``workers`` units are in flight, and so much more memory is alive.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import final

import torch
from torch import Tensor

from localgrad.errors import LocalgradError
from localgrad.recompute import kept_buffers
from localgrad.rng import derive_seed, random_states, same_states, seeded
from localgrad.spec import Batch
from localgrad.unit import Terms, Unit, network_input, spans
from localgrad.update import OptimizerUpdate, Part


def one_thread() -> None:
    """Run the operations of the calling thread on that thread alone."""
    # Asked first: a thread's first question for its number resets it to the process's default.
    torch.get_num_threads()
    torch.set_num_threads(1)


@final
class Overlap:
    """A pool of threads that step units. ``private`` hands every unit a copy of its input.

    The copy is for foreign networks, whose body may change its input in place while the unit before still reads it.
    """

    def __init__(self, workers: int, *, private: bool) -> None:
        self.private = private
        self.pool = ThreadPoolExecutor(workers, "localgrad-unit", initializer=one_thread)
        threads = torch.get_num_threads()
        started = threading.Barrier(workers)
        list(self.pool.map(lambda _: started.wait(), range(workers)))
        # The pool's threads keep their one thread each; the number is also a default for threads to come.
        torch.set_num_threads(threads)

    def step(
        self, units: Sequence[Unit], updates: Sequence[OptimizerUpdate], batch: Batch, part: Part
    ) -> dict[int, Terms]:
        """Step every unit on ``batch``; returns when all have updated. An error in one is raised after the others."""
        futures: list[Future[Terms]] = []

        def run(index: int, h_in: Tensor) -> Terms:
            def send(h_out: Tensor) -> None:
                if index + 1 < len(units):
                    futures.append(self.pool.submit(run, index + 1, h_out.clone() if self.private else h_out))

            _, terms = units[index].step(h_in, batch, updates[index], part, send=send, draws=False)
            return terms

        futures.append(self.pool.submit(run, 0, network_input(units, batch)))
        # A unit appends the next one before it finishes, so the list is complete when its last future is done.
        done = 0
        while done < len(futures):
            futures[done].exception()
            done += 1
        return {index: future.result() for index, future in enumerate(futures)}


@torch.no_grad()
def drawing_unit(units: Sequence[Unit], batch: Batch) -> str | None:
    """The name of the first unit that draws random numbers in a step on ``batch``; None where none does.

    Runs the units once, without gradients and on copies of their buffers, and looks whether a random state moved.
    """
    device = batch.x.device
    with kept_buffers(units), seeded(derive_seed("overlap"), device):
        h = network_input(units, batch)
        for _, members in spans(units):
            before = random_states(device)
            # A foreign body may change its input in place.
            features = [unit(h.clone()) for unit in members]
            for unit, own in zip(members, features, strict=True):
                given = {"h_in": h, **vars(batch)} if unit.asks else None
                outputs = unit.outputs(own, features, given)
                if not unit.spec.shares_outputs:
                    unit.losses(outputs, batch)
                if not same_states(before, random_states(device)):
                    return unit.name
            h = features[0] if len(features) == 1 else torch.cat(features, 1)
    return None


def check_draws(units: Sequence[Unit], batch: Batch) -> None:
    """Raise LocalgradError when a unit draws random numbers: threads share one random state."""
    name = drawing_unit(units, batch)
    if name is not None:
        raise LocalgradError(
            f"Sequential: unit {name!r} draws random numbers in its step (dropout?), and threads share one random "
            "state. Use workers=1."
        )
