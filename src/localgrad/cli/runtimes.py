"""The options that choose a runtime, and the runtime that they make of a recipe's."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from localgrad.cli.words import option
from localgrad.errors import LocalgradError
from localgrad.train.runtimes import GreedySpec, QueuedSpec, RuntimeSpec

QUEUED = ("buffer", "slow_unit", "slowdown", "max_reuse", "lifo_quirk", "buffer_home", "reset_optimizer")
"""Settings that only a queued runtime has."""
SPEC_NAMES = {"lifo_quirk": "quirk", "buffer_home": "home"}


def divide(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that make a runtime, and the others."""
    own = {name: value for name, value in settings.items() if name in ("runtime", *QUEUED)}
    return own, {name: value for name, value in settings.items() if name not in own}


def runtime_from(settings: Mapping[str, Any], runtime: RuntimeSpec) -> RuntimeSpec:
    """A recipe's ``runtime`` with the settings given; a word other than the recipe's own starts from its defaults.

    Raises LocalgradError for settings that the runtime does not have.
    """
    match settings.get("runtime"):
        case "queued":
            runtime = runtime if isinstance(runtime, QueuedSpec) else QueuedSpec()
        case "greedy":
            runtime = GreedySpec()
        case "sequential":
            runtime = "sequential"
    queue = {name: value for name, value in settings.items() if name != "runtime"}
    if not queue:
        return runtime
    if not isinstance(runtime, QueuedSpec):
        words = ", ".join(map(option, queue))
        raise LocalgradError(f"{words}: only the queued runtime has buffers; give --runtime queued as well.")
    slow = {name: queue.pop(name, None) for name in ("slow_unit", "slowdown")}
    missing = [name for name, value in slow.items() if value is None]
    if len(missing) == 1:
        raise LocalgradError(
            f"{option(missing[0])} is missing: --slow-unit names a unit and --slowdown its factor, give both."
        )
    if not missing:
        queue["slowdown"] = ((slow["slow_unit"], slow["slowdown"]),)
    return replace(runtime, **{SPEC_NAMES.get(name, name): value for name, value in queue.items()})
