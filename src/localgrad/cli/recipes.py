"""Finding recipes: functions that return a Run, in the package or in a user's own file."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import localgrad.recipes
from localgrad.cli.load import blamed, load_module
from localgrad.errors import LocalgradError, did_you_mean, nearest
from localgrad.train import Run

Recipe = Callable[..., Run]


def public_functions(module: ModuleType) -> dict[str, Recipe]:
    """The recipes that a module defines: its public functions whose return annotation is Run."""
    return {
        name: function
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and function.__module__ == module.__name__
        and not name.startswith("_")
        and inspect.signature(function, eval_str=True).return_annotation is Run
    }


def built_in() -> dict[str, Recipe]:
    """All recipes of the package by name, such as ``digits.auglocal``."""
    found: dict[str, Recipe] = {}
    for info in pkgutil.iter_modules(localgrad.recipes.__path__):
        if info.ispkg:  # makes recipes, or finds them
            continue
        module = importlib.import_module(f"localgrad.recipes.{info.name}")
        found |= {f"{info.name}.{name}": function for name, function in public_functions(module).items()}
    return found


def find_recipe(reference: str) -> Recipe:
    """The recipe that ``name``, ``file.py:function`` or ``package.module:function`` refers to.

    Raises LocalgradError that names the nearest ones, or what the file has.
    """
    if ":" not in reference:
        recipes = built_in()
        if reference in recipes:
            return recipes[reference]
        if reference.endswith(".py"):
            raise LocalgradError(f"recipe {reference!r} names a file only: say which function, {reference}:FUNCTION.")
        raise LocalgradError(
            # Not all of them: there are hundreds.
            " ".join(filter(None, [f"recipe {reference!r} is unknown.", did_you_mean(reference, recipes)]))
            + " `localgrad recipes` lists all; your own is FILE.py:FUNCTION."
        )
    where, _, name = reference.rpartition(":")
    module = load_module(where)
    functions = {key: value for key, value in vars(module).items() if inspect.isfunction(value)}
    if name not in functions:
        own = [key for key, value in functions.items() if value.__module__ == module.__name__]
        raise LocalgradError(f"{where} has no function {name!r}. {nearest(name, own)}")
    return functions[name]


def absolute(reference: str) -> str:
    """The reference as it can be found again from any folder: a file's path made absolute."""
    where, colon, name = reference.rpartition(":")
    return f"{Path(where).resolve()}:{name}" if colon and where.endswith(".py") else reference


def call_recipe(recipe: Recipe, reference: str, arguments: dict[str, object]) -> Run:
    """The recipe's Run. Raises LocalgradError when it fails or returns something else."""
    with blamed(f"recipe {reference} raised an exception"):
        run = recipe(**arguments)
    if not isinstance(run, Run):
        raise LocalgradError(f"recipe {reference}: expected it to return a localgrad.Run, got {type(run).__name__}.")
    return run
