"""What the sets with published files share: look under the root, download where asked to, say what is missing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from localgrad.data.augment import Augment
from localgrad.data.checks import statistics_problems
from localgrad.data.download import download
from localgrad.data.errors import DataError, missing_extra
from localgrad.data.files import Form, Source, find

DEFAULT_ROOT = "data"


@dataclass(frozen=True)
class Published:
    """A set as its authors publish it. ``calls`` are the keywords of ``torchvision.datasets.<torchvision>`` that fetch
    all of it; None where nothing does. ``sources`` says where the files come from."""

    name: str
    forms: tuple[Form, ...]
    sources: tuple[str, ...]
    torchvision: str | None = None
    calls: tuple[dict[str, object], ...] = ()


class Spec(Protocol):
    """The fields of a data spec that reads published files."""

    @property
    def augment(self) -> Augment: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...
    @property
    def image(self) -> tuple[int, int, int]: ...


def root_text(root: str | Path | None) -> str:
    """A root as plain text, so that specs compare and save alike however it was given. None is ``"data"``."""
    return DEFAULT_ROOT if root is None else str(root)


def problems(published: Published, spec: Spec, root: str, *, fetch: bool) -> list[str]:
    """What would make reading fail, as far as it can be seen without reading: a file list and the numbers given."""
    found = statistics_problems(spec.mean, spec.std, spec.image[0]) + spec.augment.problems(*spec.image[1:])
    source, looked = find(Path(root).expanduser(), published.forms)
    if source is None and fetch:
        found += missing_extra("torchvision", "download=True")
    elif source is None:
        offer = "" if published.torchvision is None else ", or set download=True"
        found.append(_missing(published, root, looked) + f"\nTo do: {_by_hand(published)}{offer}.")
    return [f"{published.name}: {problem}" for problem in found]


def locate(published: Published, root: str, *, fetch: bool) -> Source:
    """The files under ``root``, fetched first where they are not there and ``fetch`` is set. Raises ``DataError``."""
    folder = Path(root).expanduser()
    source, looked = find(folder, published.forms)
    said = None
    if source is None and fetch and published.torchvision is not None:
        said = download(published.torchvision, published.calls, folder)
        source, looked = find(folder, published.forms)
    if source is None:
        tried = "" if said is None else f"\nThe download by torchvision failed: {said}"
        raise DataError(f"{published.name}: {_missing(published, root, looked)}{tried}\nTo do: {_by_hand(published)}.")
    return source


def _missing(published: Published, root: str, looked: list[str]) -> str:
    places = "\n".join(f"  {place}" for place in looked)
    return f"no complete set of files under root={root!r} ({Path(root).expanduser().absolute()}). Looked for:\n{places}"


def _by_hand(published: Published) -> str:
    return f"put the published files there ({' or '.join(published.sources)})"
