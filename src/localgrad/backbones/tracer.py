"""A tracer that opens some submodules of a foreign network and takes back what it recorded where that fails."""

import operator
import traceback
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, fx, nn

from localgrad.backbones.leaves import is_opened

ROOT = "model"
"""Path of the network inside ``Entry``."""


@final
class Entry(nn.Module):
    """Calls the model with one argument, so that its others keep their defaults instead of becoming inputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        return self.model(x)


@final
class _Proxy(fx.Proxy):
    """Knows how many values it stands for, if these are a tuple or list: ``f(*sizes)`` asks for that first."""

    def __len__(self) -> int:
        assert isinstance(self.tracer, Tracer)
        count = self.tracer.count(self.node)
        return super().__len__() if count is None else count


@final
class Tracer(fx.Tracer):
    """Traces into opened modules; one that cannot be traced becomes a leaf, and ``closed`` says why.

    ``example``, a meta tensor, tells how many values a submodule returns where forward iterates over them.
    """

    def __init__(self, leaves: Collection[str], opened: Collection[str], example: Tensor) -> None:
        super().__init__()
        self.proxy_buffer_attributes = True
        self.leaves, self.opened, self.example = leaves, opened, example
        self.closed: dict[str, str] = {}
        self.known: dict[fx.Node, Any] = {}
        self.running = False

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Everything but the top level and opened modules."""
        path = module_qualified_name.removeprefix(ROOT).removeprefix(".")
        if not path:
            return False
        return path in self.leaves or not (path in self.opened or is_opened(m))

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Trace into an opened module, and take back what was recorded if that fails."""
        if self.running:
            return forward(*args, **kwargs)
        path = self.path_of_module(m)
        if path == ROOT or self.is_leaf_module(m, path):
            return super().call_module(m, forward, args, kwargs)
        before, stack = set(self.graph.nodes), self.module_stack.copy()
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception as error:  # noqa: BLE001 - a forward may raise anything when it meets a proxy
            self.closed[path.removeprefix(f"{ROOT}.")] = f"it cannot be traced ({where(error)}): {error}"
            for node in reversed(list(self.graph.nodes)):
                if node not in before:
                    self.graph.erase_node(node)
            self.module_stack = stack
            return self.create_proxy("call_module", path, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        """A node of its own for every use of a parameter: a shared one might be taken back."""
        return attr_val if self.running else super().getattr(attr, attr_val, {})

    def create_arg(self, a: Any) -> Any:
        """Refuse tensors that forward makes itself: they would be frozen into the graph, on one device."""
        argument = super().create_arg(a)
        if isinstance(a, Tensor) and isinstance(argument, fx.Node) and str(argument.target).startswith("_tensor_const"):
            raise TypeError(f"forward makes a tensor of shape {tuple(a.shape)} that does not depend on its input")
        return argument

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """A stand-in for what a node gives."""
        return _Proxy(node, self)

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """Iterate over the values of a tuple or list, such as sizes; how many there are is seen on the meta device."""
        count = self.count(obj.node)
        if count is None:
            return super().iter(obj)
        return iter([self.create_proxy("call_function", operator.getitem, (obj, k), {}) for k in range(count)])

    def count(self, node: fx.Node) -> int | None:
        """Number of values that a node gives, if these are a tuple or list."""
        value = self._value(node)
        return len(value) if isinstance(value, tuple | list) else None

    def _value(self, node: fx.Node) -> Any:
        """What a node of the graph so far gives on the meta device."""
        self.running = True
        try:
            with torch.no_grad(), torch.device("meta"):
                for other in self.graph.nodes:
                    if other not in self.known:
                        self.known[other] = self._run(other)
                    if other is node:
                        break
        finally:
            self.running = False
        return self.known[node]

    def _run(self, node: fx.Node) -> Any:
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), self.known.__getitem__)
        target: Any = node.target
        match node.op:
            case "placeholder":
                return self.example
            case "call_module":
                return self.root.get_submodule(target)(*args, **kwargs)
            case "get_attr":
                *parents, leaf = target.split(".")
                return getattr(self.root.get_submodule(".".join(parents)), leaf)
            case "call_method":
                return getattr(args[0], target)(*args[1:], **kwargs)
            case _:
                return target(*args, **kwargs)


def where(error: Exception) -> str:
    """File, line and function of the last frame that is neither torch's nor of this folder."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/torch/" not in f.filename and Path(f.filename).parent != Path(__file__).parent]
    return f"{own[-1].filename}:{own[-1].lineno} in {own[-1].name}" if own else "inside torch"
