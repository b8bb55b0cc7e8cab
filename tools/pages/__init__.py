"""Pages of the documentation that are made from the code, so that they are complete and cannot fall behind it.

``made()`` gives all of them; ``stage.py`` puts them beside the pages that people write.
"""

from collections.abc import Mapping

from tools.pages.api import api_pages
from tools.pages.command_line import command_line_page
from tools.pages.recipes import recipe_pages


def made() -> Mapping[str, str]:
    """Markdown by path below the folder of pages."""
    return {**recipe_pages(), "reference/command-line.md": command_line_page(), **api_pages()}
