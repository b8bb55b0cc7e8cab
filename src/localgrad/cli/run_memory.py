"""Live memory of a Run's training step, predicted with all of its settings that matter for it."""

from localgrad.cost import Memory, memory
from localgrad.network import LocalNetwork
from localgrad.train import Run


def run_memory(run: Run, net: LocalNetwork) -> Memory:
    """``cost.memory`` of a network with the batch, precision, memory format, optimiser and accumulation of ``run``."""
    return memory(
        net,
        run.batch_size,
        precision=run.precision,
        channels_last=run.channels_last,
        optimizer=run.optimizer,
        update=run.update,
        accumulate=run.accumulate,
    )
