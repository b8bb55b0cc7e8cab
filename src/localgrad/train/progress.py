"""What a person sees while a run trains: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Reporter(Protocol):
    """Receives steps and lines; never influences the training."""

    def step(self, done: int) -> None:
        """``done`` mini-batches of this epoch are trained."""
        ...

    def line(self, text: str) -> None:
        """A line to keep."""
        ...

    @contextmanager
    def epoch(self, title: str, steps: int) -> Iterator[None]:
        """An epoch of ``steps`` mini-batches runs inside the block."""
        ...


@final
class Silent:
    """Says nothing."""

    def step(self, done: int) -> None:
        """Nothing."""

    def line(self, text: str) -> None:
        """Nothing."""

    @contextmanager
    def epoch(self, title: str, steps: int) -> Iterator[None]:
        """Nothing."""
        yield


@final
class OnConsole:
    """A progress bar on a terminal, only the kept lines elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._bar: Progress | None = None

    def step(self, done: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done)

    def line(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def epoch(self, title: str, steps: int) -> Iterator[None]:
        """Show a bar inside the block, on a terminal."""
        if not self.console.is_terminal:
            yield
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True) as bar:
            bar.add_task(title, total=steps)
            self._bar = bar
            try:
                yield
            finally:
                self._bar = None
