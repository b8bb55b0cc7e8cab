"""What a LocalNetwork needs: multiply-accumulates, memory, time; predicted or measured, in one table."""

from localgrad.cost.document import macs_data as macs_data
from localgrad.cost.document import memory_data as memory_data
from localgrad.cost.grid import MacsGrid as MacsGrid
from localgrad.cost.grid import macs_grid as macs_grid
from localgrad.cost.macs import Macs as Macs
from localgrad.cost.macs import NodeMacs as NodeMacs
from localgrad.cost.macs import macs as macs
from localgrad.cost.measure import Memory as Memory
from localgrad.cost.measure import live as live
from localgrad.cost.memory import memory as memory
from localgrad.cost.speedups import Speedups as Speedups
from localgrad.cost.speedups import speedups as speedups
from localgrad.cost.table import CostRow as CostRow
from localgrad.cost.table import cost_table as cost_table
from localgrad.cost.time import StepTime as StepTime
from localgrad.cost.time import step_times as step_times
