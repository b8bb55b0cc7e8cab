"""Figures by matplotlib: each is a Drawing, for the page in the page's own colours or for files in those of paper."""
