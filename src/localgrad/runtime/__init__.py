"""Runtimes move data between units; what a unit does with it is ``Unit.step``."""

from localgrad.runtime.greedy import Greedy as Greedy
from localgrad.runtime.queued import Queued as Queued
from localgrad.runtime.queued import Tick as Tick
from localgrad.runtime.sequential import Sequential as Sequential
from localgrad.runtime.sequential import Step as Step
