"""The invariants of every local learning method, for methods of your own: ``check_method(MyMethod())`` in a test."""

import copy
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from torch import Tensor, nn

from localgrad.analysis import audit
from localgrad.backbones import cifar_resnet
from localgrad.errors import LocalgradError, nearest
from localgrad.facts import plain
from localgrad.method import Method
from localgrad.methods import Backprop
from localgrad.network import LocalNetwork, localize
from localgrad.runtime import Sequential
from localgrad.spec import Backbone, Batch

Invariant = Literal[
    "declared", "locality", "one module", "export", "state_dict", "seed", "resume", "bfloat16", "channels_last"
]
"""What ``check_method`` looks at:

``declared``: ``needs`` and ``reach`` are those of the units, and the method is a frozen value that a run can record;
``locality``: the audit finds nothing, and every parameter learns; ``one module``: K=1 is backpropagation, bit for bit;
``export``: the plain network alone, with equal outputs; ``state_dict``: weights of one network put into another train
alike; ``seed``: weights and steps are a function of it, whatever the global random state; ``resume``: a stop between
two steps changes nothing; ``bfloat16`` gives finite losses; ``channels_last`` equals the other format to rounding.
"""


@final
@dataclass(frozen=True)
class Case:
    """A method on a network cut into ``modules`` (None: as the method cuts it by itself)."""

    method: Method
    backbone: Backbone
    modules: int | None

    def network(self, seed: int = 0) -> LocalNetwork:
        """Freshly made."""
        return localize(self.backbone, self.method, self.modules, seed=seed)

    def batch(self, seed: int, dtype: torch.dtype = torch.float32) -> Batch:
        """Eight random images with every field that a method may need."""
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn((8, *self.backbone.image), generator=generator).to(dtype)
        y = torch.randint(self.backbone.num_classes, (8,), generator=generator)
        return Batch(x=x, y=y, image=x.sigmoid(), views=x.repeat_interleave(2, 0), step=seed)


def check_method(
    method: Method,
    *,
    backbone: Backbone | None = None,
    modules: int | None = None,
    without: Collection[Invariant] = (),
) -> None:
    """Check a method against the invariants of all methods on a tiny network; a second or two on one core.

    ``backbone`` is a ResNet of seven blocks for images of 3x8x8 by default. ``without`` names invariants that the
    method does not promise. Raises LocalgradError with everything that does not hold, also where it cannot be run.
    """
    for word in without:
        if word not in CHECKS:
            raise LocalgradError(f"check_method: invariant {word!r} is unknown. {nearest(word, get_args(Invariant))}")
    case = Case(method, backbone or cifar_resnet(14, num_classes=4, width=0.5, image=(3, 8, 8)), modules)
    problems = [
        f"{name}: {problem}" for name, check in CHECKS.items() if name not in without for problem in check(case)
    ]
    if problems:
        listed = "".join(f"\n- {problem}" for problem in problems)
        raise LocalgradError(f"{type(method).__name__} breaks what every method promises:{listed}")


def trained(net: LocalNetwork, batches: Iterable[Batch]) -> Sequential:
    """A runtime with momentum that has trained ``net`` on ``batches``."""
    loop = make_loop(net)
    for batch in batches:
        loop.step(batch)
    return loop


def make_loop(net: LocalNetwork) -> Sequential:
    """The papers' optimiser on every unit; draws that do not depend on which weights the network started from."""
    return Sequential(net, lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9), seed=0)


def differing(one: nn.Module, other: nn.Module) -> list[str]:
    """Names of the tensors that are not equal bit for bit, or that only one of the two has."""
    here, there = one.state_dict(), other.state_dict()
    both = here.keys() & there.keys()
    return sorted((here.keys() ^ there.keys()) | {name for name in both if not torch.equal(here[name], there[name])})


def told(names: list[str], text: str) -> Iterator[str]:
    """One problem about tensors, if there are any."""
    if names:
        yield text + f" ({names[0]}" + (f" and {len(names) - 1} more)." if len(names) > 1 else ").")


def _declared(case: Case) -> Iterator[str]:
    method, units = case.method, case.network().unit_list()
    needs = frozenset[str]().union(*(unit.spec.needs for unit in units))
    if needs != method.needs:
        yield f"needs is {sorted(method.needs)}, its objectives read {sorted(needs)}."
    reach = max(objective.reach for unit in units for objective in unit.spec.objectives)
    if reach != method.reach:
        yield f"reach is {method.reach}, the largest reach of its objectives is {reach}."
    try:
        if hash(method) != hash(copy.deepcopy(method)) or method != copy.deepcopy(method):
            yield "a copy is another value: make it a frozen dataclass of plain settings."
        plain(method)
    except (TypeError, LocalgradError) as error:
        yield f"it cannot be compared and recorded: {error}. Make it a frozen dataclass of plain settings."


def _locality(case: Case) -> Iterator[str]:
    found = audit(case.network(), case.batch(0))
    yield from found.problems
    yield from told(list(found.dead), "parameters that no loss reaches never learn")


def _one_module(case: Case) -> Iterator[str]:
    batches = [case.batch(0), case.batch(1)]
    nets = [localize(case.backbone, method, 1) for method in (case.method, Backprop())]
    for net in nets:
        trained(net, batches)
    yield from told(differing(*(net.model for net in nets)), "with modules=1 it trains other weights than Backprop()")


def _export(case: Case) -> Iterator[str]:
    net = case.network()
    trained(net, [case.batch(0)])
    model, x = net.export(), case.batch(1).x
    if not torch.equal(model.eval()(x), net.eval()(x)):
        yield "the exported network gives other outputs than net(x)."
    foreign = [name for name in model.state_dict() if f"model.{name}" not in net.state_dict()]
    yield from told(foreign, "the exported network has more than the plain network")


def _state_dict(case: Case) -> Iterator[str]:
    one, other = case.network(seed=0), case.network(seed=1)
    trained(one, [case.batch(0)])
    other.load_state_dict(one.state_dict())
    for net in (one, other):
        trained(net, [case.batch(1)])
    yield from told(differing(one, other), "weights put into another network train differently")


def _seed(case: Case) -> Iterator[str]:
    nets, random = [], torch.get_rng_state()
    for state in (1, 2):
        torch.manual_seed(state)
        net = case.network()
        trained(net, [case.batch(0)])
        nets.append(net)
    torch.set_rng_state(random)
    yield from told(differing(*nets), "the global random state changes what is trained")
    case.network()
    trained(nets[0], [case.batch(1)])
    if not torch.equal(torch.get_rng_state(), random):
        yield "making or training a network moves the global random state."


def _resume(case: Case) -> Iterator[str]:
    whole, stopped, resumed = case.network(), case.network(), case.network()
    trained(whole, map(case.batch, range(3)))
    before, after = trained(stopped, [case.batch(0)]), make_loop(resumed)
    resumed.load_state_dict(stopped.state_dict())
    for old, new in zip(before.optimizers, after.optimizers, strict=True):
        new.load_state_dict(old.state_dict())
    for index in (1, 2):
        after.step(case.batch(index))
    yield from told(differing(whole, resumed), "a run that is stopped and resumed ends with other weights")


def _bfloat16(case: Case) -> Iterator[str]:
    net = case.network()
    loop = Sequential(net, lambda parameters: torch.optim.SGD(parameters, lr=0.05), precision="bfloat16")
    for unit, terms in loop.step(case.batch(0)).terms.items():
        for name, value in terms.items():
            if not value.isfinite() or value.dtype != torch.float32:
                yield f"term {name!r} of unit {unit} is {float(value)} in {value.dtype}: compute losses in float32."


def _channels_last(case: Case) -> Iterator[str]:
    losses: list[Tensor] = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        net = case.network().double().to(memory_format=memory_format)
        loop, terms = make_loop(net), {}
        for index in range(2):
            terms = loop.step(case.batch(index, torch.float64)).terms
        losses.append(torch.stack([value.double() for unit in terms.values() for value in unit.values()]))
    one, other = losses
    if not torch.allclose(one, other, rtol=1e-9, atol=1e-12):
        yield f"losses in float64 differ by {float((one - other).abs().max()):.1e}."


CHECKS: dict[Invariant, Callable[[Case], Iterator[str]]] = {
    "declared": _declared,
    "locality": _locality,
    "one module": _one_module,
    "export": _export,
    "state_dict": _state_dict,
    "seed": _seed,
    "resume": _resume,
    "bfloat16": _bfloat16,
    "channels_last": _channels_last,
}
