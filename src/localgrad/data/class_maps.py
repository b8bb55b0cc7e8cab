"""Which classes of one data set are classes of another: pure data and a pure function over class names."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from localgrad.data.errors import DataError

SYNONYMS = {"automobile": "car"}
"""Names of one thing. CIFAR-10 and STL-10 share nine classes, eight by name and this one; CIFAR-10's frog and STL-10's
monkey have no partner (methods.md 11.4)."""


@final
@dataclass(frozen=True)
class ClassMap:
    """``partners[t]`` is the index, in ``source``, of class t of ``target``; None where it has none.

    ``source`` are the classes that a network learnt, ``target`` those of the set that it is tested on.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    partners: tuple[int | None, ...]

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(source name, target name) of all classes that both sets have, in the target's order."""
        found = zip(self.target, self.partners, strict=True)
        return tuple((self.source[partner], name) for name, partner in found if partner is not None)

    @property
    def only_source(self) -> tuple[str, ...]:
        """Classes that the network knows and the other set does not have."""
        return tuple(name for index, name in enumerate(self.source) if index not in self.partners)

    @property
    def only_target(self) -> tuple[str, ...]:
        """Classes of the other set that the network has never seen."""
        return tuple(name for name, partner in zip(self.target, self.partners, strict=True) if partner is None)


def match_classes(source: Sequence[str], target: Sequence[str], where: str) -> ClassMap:
    """Pair classes by name: capitals, ``_`` and ``-`` make no difference, then ``SYNONYMS`` do not either.

    Order does not matter. Numbers are names only where both sets have the same ones, such as digits.

    Raises ``DataError`` that begins with ``where`` and lists both sets' classes when fewer than two are shared, and
    when two classes of one set have the same name.
    """
    for name, classes in (("the network's classes", source), ("the other set's classes", target)):
        twice = [one for one, count in Counter(map(_plain, classes)).items() if count > 1]
        if twice:
            raise DataError(f"{where}: {name} cannot be told apart by name, these occur twice: {', '.join(twice)}.")
    same = set(map(_plain, source)) == set(map(_plain, target))
    exact = {_plain(name): index for index, name in enumerate(source) if same or not name.strip().isdigit()}
    similar = {_known_as(name): index for name, index in exact.items()}
    partners = [exact.get(_plain(name)) for name in target]
    for place, name in enumerate(target):
        partner = similar.get(_known_as(name))
        if partners[place] is None and partner not in partners:
            partners[place] = partner
    found = ClassMap(tuple(source), tuple(target), tuple(partners))
    if len(found.pairs) < 2:
        shared = ", ".join(name for _, name in found.pairs) or "none"
        raise DataError(
            f"{where}: the classes do not correspond, so there is no accuracy without training (shared by name: "
            f"{shared}).\nThe network's {len(source)} classes: {_few(source)}.\nThe other set's {len(target)} classes: "
            f"{_few(target)}."
        )
    return found


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _known_as(name: str) -> str:
    plain = _plain(name)
    return SYNONYMS.get(plain, plain)


def _few(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
