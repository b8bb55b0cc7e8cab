"""Tables of the papers that need no training: what every method costs, computed."""

from localgrad.paper_tables.auglocal_flops import auglocal_flops as auglocal_flops
from localgrad.paper_tables.every_method import every_method as every_method
from localgrad.paper_tables.gndgl_speedups import gndgl_speedups as gndgl_speedups
from localgrad.paper_tables.memories import MEMORY_ROWS as MEMORY_ROWS
from localgrad.paper_tables.memories import Memories as Memories
from localgrad.paper_tables.memories import memories as memories
