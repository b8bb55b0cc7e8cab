"""What the processes of the pool are asked to do."""

from typing import Any

import torch
from torch import Tensor

from localgrad.distributed import Address, Item, ItemKind, Replicas, Worker, World, train_cascades
from localgrad.distributed.replicas import replica_group
from localgrad.network import LocalNetwork
from localgrad.placement import Placement, Wire
from localgrad.update import OptimizerUpdate
from tests.distributed.cases import CASES, batches, optimizer

CPU = torch.device("cpu")


def make_worker(world: World, case: str, placement: Placement, wire: str = "float32", labels: bool = True) -> Worker:
    """The worker of this rank for a case."""
    with torch.device("meta"):
        whole = CASES[case]()
    specs = [unit.spec for unit in whole.unit_list()]
    backbone = whole.backbone.changed_from or whole.backbone
    mine = placement.units_of(placement.stage_of(world.rank))
    net = LocalNetwork(backbone, specs, seed=0, only=mine)
    net.train()
    updates = {place: OptimizerUpdate(optimizer(net.unit_list()[place].trained_parameters())) for place in mine}
    replicas = Replicas(world, placement.ranks_of(placement.stage_of(world.rank)), replica_group(placement))
    return Worker(world, net, placement, updates, replicas, device=CPU, wire=Wire(wire), labels=labels)


def train_steps(
    address: Address, case: str, hosts: tuple[int, ...], replicas: int, steps: int, options: dict[str, Any]
) -> dict[str, Any]:
    """Train ``steps`` steps; this rank's weights, loss terms and evaluation."""
    placement = Placement(hosts, replicas)
    losses: list[dict[int, dict[str, float]]] = []
    with World(address, timeout=20, device=CPU) as world:
        worker = make_worker(world, case, placement, **options)
        step = train_cascades if any(unit.spec.reach > 1 for unit in worker.units) else Worker.train
        loader = worker.is_source or not options.get("labels", True)
        items = [(Item(ItemKind.TRAIN, 0, i, i, len(b.x)), b) for i, b in enumerate(batches(steps))]
        for item, batch in items:
            if not worker.is_source:
                assert worker.next_item() == item
            terms = step(worker, item, worker.own_rows(batch) if loader else None)
            losses.append({u: {n: float(v) for n, v in t.items()} for u, t in terms.items()})
        for place in worker.inner:
            worker.replicas.follow_first(worker.units[place])
        worker.net.eval()
        (batch,) = batches(1)
        item = Item(ItemKind.TEST, rows=len(batch.x))
        _, mine, seen = worker.evaluate(item, worker.own_rows(batch) if loader else None)
        told = worker.pass_on(Item(ItemKind.FINISHED), {"ranks": {str(world.rank): losses[-1] != {}}})
        sent = sum(box.bytes for boxes in worker.out.values() for _, box in boxes)
    state: dict[str, Tensor] = {k: v for k, v in worker.net.state_dict().items() if not v.is_meta}
    momentum = {
        f"{place}.{index}.{name}": value
        for place, update in worker.inner.items()
        for index, own in update.optimizer.state_dict()["state"].items()
        for name, value in own.items()
        if isinstance(value, Tensor)
    }
    return {
        "weights": {name: value.numpy().copy() for name, value in state.items()},
        "momentum": {name: value.numpy().copy() for name, value in momentum.items()},
        "losses": losses,
        "logits": {unit: value.numpy().copy() for unit, value in mine.items()},
        "seen": sorted(seen),
        "told": told,
        "sent": sent,
        "reduced": worker.replicas.bytes,
        "error": worker.codec.error,
    }
