"""How a process of a distributed run starts: it meets the others, they compare what they will do, then it walks.

Everything that can be wrong is found before any work, and said by every process that knows it.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from localgrad.distributed import Address, Replicas, Worker, World
from localgrad.distributed.address import restarted
from localgrad.distributed.replicas import replica_group
from localgrad.errors import LocalgradError, RunError
from localgrad.facts import differences, plain
from localgrad.network import LocalNetwork
from localgrad.placement import Kind, Placement, unit_shapes
from localgrad.rng import derive_seed, seeded
from localgrad.train.checkpoint import Progress, check_facts, load_random
from localgrad.train.folder import claimed, folder_problems
from localgrad.train.frozen import frozen_conditions, looks
from localgrad.train.interrupt import Interrupt, Interrupted, watch
from localgrad.train.newest import Newest, forget_newer, forget_older, has_checkpoint, newest
from localgrad.train.progress import Reporter, Silent
from localgrad.train.ranks.items import Stops, Work, heard, made, planned
from localgrad.train.ranks.placing import check_processes
from localgrad.train.ranks.walk import RankWalk
from localgrad.train.record import RUN_FILE, write_run
from localgrad.train.run import Run
from localgrad.train.runtimes import DistributedSpec
from localgrad.train.setup import Loaders, check_smallest_part, deterministic_kernels, load_images, make_loaders
from localgrad.train.shards import load_shard_state, runtime_tensors
from localgrad.train.weights import load_own_weights
from localgrad.update import OptimizerUpdate
from localgrad.version import VERSION


def train_ranks(run: Run, spec: DistributedSpec, *, resume: bool, reporter: Reporter) -> tuple[Progress, str | None]:
    """This process's part of ``run``; its progress at the end, and the name of a signal that ended it.

    Raises RunError and LocalgradError as ``train`` does, on every process that knows the reason.
    """
    address = Address.from_environment(os.environ)
    device = _device(run, address)
    with ExitStack() as stack:
        world = stack.enter_context(World(address, timeout=spec.timeout, device=device))
        resume = _compared(world, run, resume)
        net, placement = _placed(world, run, spec)
        folder = run.out
        assert folder is not None
        if world.rank == 0:
            stack.enter_context(claimed(folder, resume))
        stack.enter_context(deterministic_kernels())
        stack.enter_context(seeded(derive_seed(run.seed, "train"), device))
        found = _newest(world, folder, reporter) if resume else None
        loaders, sizes = _data(world, run, spec, placement, net, device)
        worker = _worker(world, run, spec, placement, device, initial=found is None)
        progress, saved = Progress(samples=sizes["samples"]), dict[str, Tensor]()
        if found is not None:
            progress, saved = _restored(run, worker, found, sizes)
        elif world.rank == 0:
            told = {**_conditions(placement, spec), **frozen_conditions(run, sizes["samples"])}
            write_run(folder, run, device, told)
        _begin(world, worker, progress.step, saved, reporter)
        judge = worker.is_tail and worker.replica == 0
        walk = RankWalk(
            run,
            folder,
            world,
            worker,
            progress,
            reporter if judge else Silent(),
            batches=sizes["batches"],
            save_every=spec.save_every,
        )
        if walk.log is not None:
            walk.log.truncate(progress.metrics_bytes)
        interrupt = stack.enter_context(watch())
        try:
            walk.walk(_items(world, worker, loaders, run, progress, interrupt))
        except Interrupted:
            if judge:
                reporter.line(
                    f"stopped after {progress.epoch} of {run.epochs} epochs and {progress.batch} of {sizes['batches']} "
                    f"batches, all processes at the same step, saved in {folder}. Continue with the same command and "
                    f"--resume {folder} in place of the recipe."
                )
            signal: str | None = interrupt.name or "SIGTERM"
        else:
            signal = interrupt.name
        # All are at the same step: what is older than it can go.
        world.agree("ended", progress.step)
        if worker.replica == 0:
            forget_older(folder, world.rank, progress.step)
        return progress, signal


def _device(run: Run, address: Address) -> torch.device:
    device = run.torch_device()
    return torch.device("cuda", address.local_rank) if device.type == "cuda" and device.index is None else device


def _compared(world: World, run: Run, resume: bool) -> bool:
    """All problems of the run, found on every process, and whether it is resumed: the first process decides."""
    folder = run.out
    if world.rank == 0 and restarted() and folder is not None and (folder / RUN_FILE).exists():
        resume = True
    saved = resume and folder is not None and has_checkpoint(folder)
    problems = list(run.problems(resumed=saved))
    if world.rank == 0:
        problems += folder_problems(folder, resume)
    mine = {"localgrad": VERSION, "torch": torch.__version__, "run": run.facts(), "spec": plain(run.runtime)}
    told = world.agree("start", {"same": mine, "problems": problems, "resume": resume})
    _check_same(world, told)
    everybody = list(dict.fromkeys(problem for one in told for problem in one["problems"]))
    if everybody:
        if world.rank == 0:
            raise RunError(everybody)
        raise LocalgradError("this process stops: rank 0 says why.")
    return bool(told[0]["resume"])


def _check_same(world: World, told: Sequence[Any]) -> None:
    for rank, one in enumerate(told):
        different = list(differences(told[0]["same"], one["same"]))
        if different:
            raise LocalgradError(
                f"rank {rank} has another program or another run than rank 0 (rank 0 -> rank {rank}):\n"
                + "\n".join(f"  {line}" for line in different)
                + "\nStart all processes with the same command and the same versions."
            )


def _placed(world: World, run: Run, spec: DistributedSpec) -> tuple[LocalNetwork, Placement]:
    """The network on the meta device, and which process hosts what. Raises RunError when they do not fit.

    The first process finds the placement, or says why there is none, and tells the others.
    """
    if world.rank == 0:
        try:
            net, placement = check_processes(run, spec, world.size)
        except RunError:
            world.agree("hosts", None)
            raise
        world.agree("hosts", placement.hosts)
    else:
        hosts = world.agree("hosts", None)[0]
        if hosts is None:
            raise LocalgradError("this process stops: rank 0 says why.")
        with torch.device("meta"):
            net = run.network()
        placement = Placement(tuple(hosts), spec.replicas)
    units = net.unit_list()
    hosted = [placement.units_of(placement.stage_of(rank)) for rank in range(world.size)]
    world.names = ["units " + ", ".join(units[place].name for place in places) for places in hosted]
    _check_borders(world, net, placement)
    return net, placement


def _check_borders(world: World, net: LocalNetwork, placement: Placement) -> None:
    """Both ends of every channel compare what will go through it, before anything does."""
    mine = plain({str(place): list(shape) for place, shape in enumerate(unit_shapes(net))})
    told = world.agree("shapes", mine)
    for rank, theirs in enumerate(told):
        for line in differences(mine, theirs, "shape of unit"):
            raise LocalgradError(
                f"{world.name(rank)} and {world.name(world.rank)} disagree about what crosses a border ({line}; this "
                "process -> that one). Start all processes with the same network."
            )


def _newest(world: World, folder: Path, reporter: Reporter) -> Newest | None:
    """The checkpoint that all processes continue from: the newest complete one. Nobody may have changed the folder."""
    found = newest(folder)
    told = world.agree("newest", None if found is None else [str(found.path.name), found.step])
    for rank, theirs in enumerate(told):
        if theirs != told[0]:
            raise LocalgradError(
                f"rank {rank} finds another newest checkpoint in {folder} ({theirs}) than rank 0 ({told[0]}): the "
                "folder of a run must be one that all machines see."
            )
    if world.rank == 0:
        for line in () if found is None else found.passed_over:
            reporter.line(line)
        forget_newer(folder, None if found is None else found.step)
    world.agree("cleaned", True)
    return found


def _data(
    world: World, run: Run, spec: DistributedSpec, placement: Placement, net: LocalNetwork, device: torch.device
) -> tuple[Loaders | None, dict[str, int]]:
    """The loaders, on stages that have some, and the sizes of the training split as the first process knows them."""
    reads = spec.labels == "loader" or world.rank in sources(placement, net)
    loaders = make_loaders(run, load_images(run), device) if reads else None
    sizes = None
    if loaders is not None:
        sizes = {"samples": len(loaders.train.split), "batches": len(loaders.train)}
        check_smallest_part(run, net, sizes["samples"], spec.replicas)
    told = world.agree("data", sizes)
    for rank, theirs in enumerate(told):
        if theirs is not None and theirs != told[0]:
            raise LocalgradError(f"rank {rank} has other data than rank 0: {theirs} and {told[0]}.")
    return loaders, told[0]


def _worker(
    world: World,
    run: Run,
    spec: DistributedSpec,
    placement: Placement,
    device: torch.device,
    *,
    initial: bool,
) -> Worker:
    stage = placement.stage_of(world.rank)
    places = placement.units_of(stage)
    net = run.network(only=places)
    if initial and run.init_from is not None:
        load_own_weights(net, places, run.init_from)
    units = net.unit_list()
    for place in places:
        units[place].to(device)
        if run.channels_last:
            units[place].to(memory_format=torch.channels_last)
    net.train()
    group = world.patiently(lambda: replica_group(placement, device.type), "replicas")
    if spec.sync_batchnorm and group is not None:
        for place in places:
            torch.nn.SyncBatchNorm.convert_sync_batchnorm(units[place], group)  # type: ignore[no-untyped-call]
    updates = {
        place: OptimizerUpdate(
            run.optimizer(units[place].trained_parameters()),
            seed=run.seed,
            precision=run.precision,
            device=device,
            clip=run.clip,
        )
        for place in places
    }
    replicas = Replicas(world, placement.ranks_of(stage), group)
    labels = spec.labels == "travel"
    return Worker(
        world,
        net,
        placement,
        updates,
        replicas,
        device=device,
        wire=spec.wire,
        labels=labels,
        ema_delay=spec.ema_delay,
    )


def _restored(run: Run, worker: Worker, found: Newest, sizes: dict[str, int]) -> tuple[Progress, dict[str, Tensor]]:
    """Where the run stood, and the tensors that the runtime itself had saved."""
    units = worker.units
    places = sorted(worker.inner)
    header, tensors = found.read([units[place].name for place in places])
    check_facts(header["facts"], plain(run.facts()), found.path)
    updates = [worker.inner[place] for place in places]
    progress = load_shard_state(worker.net, places, updates, header, tensors, str(found.path))
    load_random(tensors, worker.device)
    if progress.samples != sizes["samples"]:
        raise LocalgradError(
            f"the training split has {sizes['samples']} samples, it had {progress.samples} when {found.path} was "
            "saved. Resume with the same data, or start a new run with init_from (--init-from) to take the weights."
        )
    return progress, runtime_tensors(tensors)


def _begin(world: World, worker: Worker, step: int, saved: Mapping[str, Tensor], reporter: Reporter) -> None:
    """Let the weights that come late begin; the first process says for which of them a delay starts anew."""
    lacking = worker.late.begin(step, saved)
    if not any(channel.kind is Kind.WEIGHTS for channel in worker.channels):
        return
    told = world.agree("late", lacking)
    names = dict.fromkeys(name for one in told for name in one)
    if names and world.rank == 0:
        reporter.line(
            f"older weights of units {', '.join(names)} are not in the checkpoint, which was saved with other hosts: "
            f"copies that follow them take those of step {step} until the delay has passed (ema_delay)."
        )


def sources(placement: Placement, net: LocalNetwork) -> list[int]:
    """The processes that host units of the first module: they read the data and make the stream of items."""
    first = {placement.hosts[place] for place, unit in enumerate(net.unit_list()) if unit.spec.index == 0}
    return [rank for stage in sorted(first) for rank in placement.ranks_of(stage)]


def _conditions(placement: Placement, spec: DistributedSpec) -> dict[str, object]:
    return {"processes": placement.ranks, "hosts": list(placement.hosts), "distributed": plain(spec)}


def _items(
    world: World,
    worker: Worker,
    loaders: Loaders | None,
    run: Run,
    progress: Progress,
    interrupt: Interrupt,
) -> Iterator[Work]:
    judged = worker.net.classifies
    plan = None
    if loaders is not None:
        plan = planned(
            loaders, run.epochs, progress.epoch, progress.batch, judged=judged, looks=lambda epoch: looks(run, epoch)
        )

    def signalled() -> bool:
        return interrupt.signal is not None

    if not worker.is_source:
        return _telling(world, heard(worker, plan), signalled)
    assert plan is not None
    stops = Stops(world, alone=len(sources(worker.placement, worker.net)) == 1)
    return _telling(world, made(worker, plan, stops, signalled), signalled)


def _telling(world: World, items: Iterator[Work], signalled: Callable[[], bool]) -> Iterator[Work]:
    """The items; a signal that this process got is told to those that make the stream."""
    told = False
    for item in items:
        if signalled() and not told:
            world.tell("stop", "1")
            told = True
        yield item
