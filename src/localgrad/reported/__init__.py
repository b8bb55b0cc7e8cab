"""What the papers report, row by row: a copy of the collected figures, and ways to look them up."""

from localgrad.reported.rows import PAPERS as PAPERS
from localgrad.reported.rows import Row as Row
from localgrad.reported.rows import rows as rows
