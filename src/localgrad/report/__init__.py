"""One HTML page about runs, from the files in their folders only; imports no torch."""

from localgrad.report.page import write_report as write_report
