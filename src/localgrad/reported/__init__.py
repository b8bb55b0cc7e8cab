"""What the papers report, row by row: a copy of the collected figures, and ways to look them up."""

from localgrad.reported.rows import PAPERS as PAPERS
from localgrad.reported.rows import Row as Row
from localgrad.reported.rows import rows as rows
from localgrad.reported.tables import find_table as find_table
from localgrad.reported.tables import place_of as place_of
from localgrad.reported.tables import table_name as table_name
from localgrad.reported.tables import tables as tables
