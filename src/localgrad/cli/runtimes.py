"""The options that choose a runtime, and the runtime that they make of a recipe's."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from localgrad.cli.words import option
from localgrad.errors import LocalgradError
from localgrad.placement import Wire
from localgrad.planning.plan_file import read_plan
from localgrad.train.runtimes import DistributedSpec, GreedySpec, QueuedSpec, RuntimeSpec

QUEUED = ("buffer", "slow_unit", "slowdown", "max_reuse", "lifo_quirk", "buffer_home")
"""Settings that only a queued runtime has."""
DISTRIBUTED = (
    "hosts", "plan", "replicas", "wire", "labels", "ema_delay", "sync_batchnorm", "timeout", "save_every",
)  # fmt: skip
"""Settings that only the distributed runtime has."""
SPEC_NAMES = {"lifo_quirk": "quirk", "buffer_home": "home"}


def divide(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that make a runtime, and the others. How many processes there are is no setting of a Run."""
    names = ("runtime", *QUEUED, *DISTRIBUTED)
    own = {name: value for name, value in settings.items() if name in names}
    return own, {name: value for name, value in settings.items() if name not in (*own, "processes")}


def runtime_from(settings: Mapping[str, Any], runtime: RuntimeSpec) -> RuntimeSpec:
    """A recipe's ``runtime`` with the settings given; a word other than the recipe's own starts from its defaults.

    Raises LocalgradError for settings that the runtime does not have, and for a plan that cannot be read.
    """
    match settings.get("runtime"):
        case "queued":
            runtime = runtime if isinstance(runtime, QueuedSpec) else QueuedSpec()
        case "greedy":
            runtime = GreedySpec()
        case "sequential":
            runtime = "sequential"
        case "distributed":
            runtime = runtime if isinstance(runtime, DistributedSpec) else DistributedSpec()
    queue = {name: value for name, value in settings.items() if name in QUEUED}
    many = {name: value for name, value in settings.items() if name in DISTRIBUTED}
    if queue and not isinstance(runtime, QueuedSpec):
        words = ", ".join(map(option, queue))
        raise LocalgradError(f"{words}: only the queued runtime has buffers; give --runtime queued as well.")
    if many and not isinstance(runtime, DistributedSpec):
        words = ", ".join(map(option, many))
        raise LocalgradError(f"{words}: only the distributed runtime has these; give --runtime distributed as well.")
    if isinstance(runtime, QueuedSpec):
        return _queued(queue, runtime)
    return _distributed(many, runtime) if isinstance(runtime, DistributedSpec) else runtime


def _queued(queue: dict[str, Any], runtime: QueuedSpec) -> QueuedSpec:
    slow = {name: queue.pop(name, None) for name in ("slow_unit", "slowdown")}
    missing = [name for name, value in slow.items() if value is None]
    if len(missing) == 1:
        raise LocalgradError(
            f"{option(missing[0])} is missing: --slow-unit names a unit and --slowdown its factor, give both."
        )
    if not missing:
        queue["slowdown"] = ((slow["slow_unit"], slow["slowdown"]),)
    return replace(runtime, **{SPEC_NAMES.get(name, name): value for name, value in queue.items()})


def _distributed(settings: dict[str, Any], runtime: DistributedSpec) -> DistributedSpec:
    path = settings.pop("plan", None)
    if path is not None:
        twice = [name for name in ("hosts", "replicas", "wire") if name in settings]
        if twice:
            raise LocalgradError(f"{', '.join(map(option, twice))}: --plan {path} says that already; leave one out.")
        plan = read_plan(path)
        settings |= {"hosts": plan.placement.hosts, "replicas": plan.placement.replicas, "wire": plan.wire}
    if "hosts" in settings:
        settings["hosts"] = tuple(settings["hosts"])
    if "wire" in settings:
        settings["wire"] = Wire(settings["wire"])
    return replace(runtime, **settings)
