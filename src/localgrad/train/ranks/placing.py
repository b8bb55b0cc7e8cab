"""Whether a run fits so many processes, and which of them hosts what."""

import torch

from localgrad.errors import LocalgradError, RunError
from localgrad.network import LocalNetwork
from localgrad.placement import Kind, Placement, placement_problems, transfers
from localgrad.planning.balance import default_placement
from localgrad.train.run import Run
from localgrad.train.runtimes import DistributedSpec


def check_count(run: Run, spec: DistributedSpec, processes: int) -> LocalNetwork:
    """The network on the meta device. Raises RunError when so many processes cannot share its units."""
    with torch.device("meta"):
        net = run.network()
    units, replicas = net.unit_list(), spec.replicas
    if processes % replicas:
        raise RunError(
            [f"{processes} processes cannot be stages of {replicas} replicas each: start a multiple of {replicas}."]
        )
    if spec.hosts is None and processes // replicas > len(units):
        each = f", {replicas} per stage," if replicas > 1 else ""
        raise RunError(
            [
                f"{processes} processes{each} are more than the {len(units)} units that {run.backbone.name} is cut "
                f"into: start at most {len(units) * replicas}, cut the network into more modules (--modules), or share "
                "every unit's batches (--replicas)."
            ]
        )
    return net


def asks_more(spec: DistributedSpec, net: LocalNetwork) -> bool:
    """Whether a placement can be wrong although the number of processes is right."""
    return spec.hosts is not None or spec.ema_delay is not None or any(unit.spec.follows for unit in net.unit_list())


def check_processes(run: Run, spec: DistributedSpec, processes: int) -> tuple[LocalNetwork, Placement]:
    """The network on the meta device, and the placement of its units. Raises RunError when they do not fit.

    Counting the units' work for a placement takes seconds at its first time in a process: ``check_count`` does not.
    """
    net = check_count(run, spec, processes)
    units, replicas = net.unit_list(), spec.replicas
    try:
        hosts = default_placement(net, processes, replicas).hosts if spec.hosts is None else tuple(spec.hosts)
    except LocalgradError as error:
        raise RunError([str(error)]) from error
    placement = Placement(hosts, replicas)
    problems = list(placement_problems(placement, units))
    if not problems and placement.ranks != processes:
        problems.append(
            f"hosts={list(hosts)} with {replicas} {'replica' if replicas == 1 else 'replicas'} need {placement.ranks} "
            f"processes, there are {processes}."
        )
    channels = () if problems else transfers(net, placement, labels=spec.labels == "travel")
    crossed = any(channel.kind is Kind.WEIGHTS for channel in channels)
    if not problems and spec.ema_delay is not None and not crossed:
        problems.append(
            f"ema_delay={spec.ema_delay} has nothing to delay: no auxiliary network follows a block of another stage "
            f"with hosts={list(hosts)}. Leave it out (--ema-delay)."
        )
    if crossed and spec.ema_delay is None:
        problems.append(
            "auxiliary networks of this method follow blocks of later stages (MLAAN's copies), whose weights for the "
            "next step do not exist yet: with several mini-batches on the way it would not be what one process "
            "computes. Train with leaps=False, put these units on one stage (--hosts), use --runtime sequential, or "
            "accept copies that are n steps late (--ema-delay n)."
        )
    if problems:
        raise RunError(problems)
    return net, placement
