"""Pages about all public names, for mkdocstrings: a directive per name, complete because it is made from the modules.

A public name is one that a package's ``__init__`` re-exports (``from x import Y as Y``), or a public class, function or
documented constant that one of the listed modules defines. Each has one home; elsewhere stands a link to it.
"""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import final

import localgrad.adapters


@final
@dataclass(frozen=True)
class Page:
    """A title, an introduction, and the modules whose names it shows."""

    title: str
    told: str
    modules: tuple[str, ...]


PAGES: Mapping[str, Page] = {
    "methods": Page("Methods", "One paper, one file, one frozen class.", ("localgrad.methods",)),
    "backbones": Page("Networks", "Functions that return a Backbone: a network as data.", ("localgrad.backbones",)),
    "data": Page("Data", "Specs of data sets, and the loaders that make batches of them.", ("localgrad.data",)),
    "train": Page("Training", "Run, train, evaluate, compare, report.", (
        "localgrad.train", "localgrad.compare", "localgrad.report", "localgrad.reported",
    )),
    "cost": Page("Costs", "Arithmetic, memory and time, predicted or measured.", ("localgrad.cost",)),
    "parts": Page("Parts of a method", "What own methods are made of: specs, cuts, losses, auxiliary networks.", (
        "localgrad.spec", "localgrad.partition", "localgrad.method", "localgrad.objective", "localgrad.update",
        "localgrad.in_backward", "localgrad.losses", "localgrad.auxnets", "localgrad.testing",
    )),
    "analysis": Page("Analysis", "What can be learned about a trained network.", ("localgrad.analysis",)),
    "adapters": Page("Adapters", "localgrad inside other libraries; not loaded by `import localgrad`.", tuple(
        f"localgrad.adapters.{module.name}" for module in pkgutil.iter_modules(localgrad.adapters.__path__)
    )),
    "localgrad": Page("localgrad", "What `import localgrad as lg` gives.", ("localgrad",)),
}  # fmt: skip
"""By file name. The first page that has a name is its home; ``localgrad`` comes last, as it repeats names of others."""


def modules() -> list[str]:
    """All modules that the pages show."""
    return [module for page in PAGES.values() for module in page.modules]


def api_pages() -> dict[str, str]:
    """Markdown by path."""
    pages, homes = {}, dict[str, str]()
    for file, page in PAGES.items():
        text = [f"# {page.title}\n", page.told, ""]
        for module in page.modules:
            text += [f"## `{module}`\n", (importlib.import_module(module).__doc__ or "").strip(), ""]
            links, entries = list[str](), list[str]()
            for name in public_names(module):
                path = home_path(module, name)
                if homes.setdefault(path, file) != file:
                    links.append(f"- `{short(module)}.{name}`: [{PAGES[homes[path]].title}]({homes[path]}.md#{path})")
                elif f"::: {path}" not in "\n".join(text + entries).splitlines():
                    entries += [f"::: {path}", "    options:", f'      heading: "{short(module)}.{name}"', ""]
            text += [*links, "", *entries]
        pages[f"reference/{file}.md"] = "\n".join(text)
    return pages


def short(module: str) -> str:
    """``lg`` for the package, as the documentation imports it."""
    return "lg" + module.removeprefix("localgrad")


def public_names(module: str) -> list[str]:
    """Names that a module re-exports or, where it is no package, defines; submodules are not among them."""
    found = importlib.import_module(module)
    names = list(exports(found)) or list(defined(found))
    return sorted((name for name in names if not isinstance(getattr(found, name), ModuleType)), key=str.lower)


def exports(module: ModuleType) -> Iterator[str]:
    """``from x import Y as Y``, without dunder names."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ImportFrom):
            yield from (name.name for name in node.names if name.asname == name.name and name.name[0] != "_")


def defined(module: ModuleType) -> Iterator[str]:
    """Public classes, functions and type aliases of a module."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_":
            yield node.name
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id[0] != "_":
            yield node.targets[0].id


def home_path(module: str, name: str) -> str:
    """The dotted path where something is defined; of ``equal_blocks``, which is a class by another name, the class."""
    found = getattr(importlib.import_module(module), name)
    if inspect.isclass(found) or inspect.isfunction(found):
        return f"{found.__module__}.{found.__qualname__}"
    for node in ast.parse(inspect.getsource(importlib.import_module(module))).body:
        if isinstance(node, ast.ImportFrom) and node.module and name in [alias.name for alias in node.names]:
            return home_path(node.module, name)
    return f"{module}.{name}"
