"""``make_plan``: from a network, machines and links to a Plan."""

from collections.abc import Sequence

from localgrad.network import LocalNetwork
from localgrad.placement import Wire, transfers
from localgrad.planning.balance import By, balanced
from localgrad.planning.costs import Costs
from localgrad.planning.links import SAME_MACHINE, Devices
from localgrad.planning.loads import unit_traffic
from localgrad.planning.plan import Link, Plan


def make_plan(
    net: LocalNetwork,
    costs: Costs,
    batch_size: int,
    ranks: int,
    *,
    recipe: str,
    method: str,
    replicas: int = 1,
    devices: Sequence[Devices] = (),
    link: Link = SAME_MACHINE,
    wire: Wire = Wire.FLOAT32,
    memory_limit: int | None = None,
    by: By = "macs",
    labels: bool = True,
) -> Plan:
    """The best placement of ``net``, which may be on the meta device, with all that it was chosen for.

    ``costs`` are ``unit_costs(net, batch_size, ...)``, other arguments those of ``balanced`` and ``transfers``. Raises
    LocalgradError as ``balanced`` does.
    """
    found = balanced(
        costs.units,
        ranks,
        traffic=unit_traffic(net, -(-batch_size // replicas), wire, labels=labels),
        link=link,
        devices=devices,
        replicas=replicas,
        memory_limit=memory_limit,
        by=by,
    )
    return Plan(
        recipe=recipe,
        network=net.backbone.name,
        method=method,
        batch_size=batch_size,
        placement=found.placement,
        costs=costs.units,
        transfers=transfers(net, found.placement, labels=labels),
        speeds=found.speeds,
        link=link,
        wire=wire,
        measured=costs.measured,
        backprop_seconds=costs.backprop_seconds,
        backprop_macs=costs.backprop_macs,
        memory_limit=memory_limit,
        backprop_parameters=costs.backprop_parameters,
    )
