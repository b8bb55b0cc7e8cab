"""``localgrad reproduce``: the rows of a paper's table, ours beside theirs."""

from localgrad.reproduction.entries import Entry as Entry
from localgrad.reproduction.entries import Reproduction as Reproduction
from localgrad.reproduction.figures import Figure as Figure
from localgrad.reproduction.figures import choose as choose
from localgrad.reproduction.figures import figures_of as figures_of
from localgrad.reproduction.request import Request as Request
from localgrad.reproduction.running import reproduce as reproduce
from localgrad.reproduction.terminal import table as table
