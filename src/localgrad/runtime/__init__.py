"""Runtimes move data between units; what a unit does with it is ``Unit.step``."""

from localgrad.runtime.sequential import Sequential as Sequential
from localgrad.runtime.sequential import Step as Step
