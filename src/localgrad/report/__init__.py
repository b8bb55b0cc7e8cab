"""One HTML page about runs, from ``run.json``, ``metrics.jsonl`` and ``comparison.json`` only; imports no torch."""

from localgrad.report.page import write_report as write_report
