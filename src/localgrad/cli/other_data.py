"""Data sets by the word that follows ``--data``: where another set lies that a trained network is tested on."""

from collections.abc import Callable, Mapping
from pathlib import Path

from localgrad.data import CIFAR10, CIFAR100, KMNIST, MNIST, STL10, SVHN, Data, Digits, FashionMNIST, ImageFolder, Seen
from localgrad.errors import LocalgradError, nearest

Make = Callable[[str | None, bool], Data]

PUBLISHED: Mapping[str, Make] = {
    "cifar10": lambda root, fetch: CIFAR10(root, download=fetch),
    "cifar100": lambda root, fetch: CIFAR100(root, download=fetch),
    "stl10": lambda root, fetch: STL10(root, download=fetch),
    "svhn": lambda root, fetch: SVHN(root, download=fetch),
    "mnist": lambda root, fetch: MNIST(root, download=fetch),
    "fashion-mnist": lambda root, fetch: FashionMNIST(root, download=fetch),
    "kmnist": lambda root, fetch: KMNIST(root, download=fetch),
}
"""Sets with a root, which lie in memory."""
DIGITS, FOLDER = "digits", "folder"
WORDS = (*PUBLISHED, DIGITS, FOLDER)


def check_word(word: str, root: Path | None, download: bool) -> None:
    """Raise LocalgradError for a word that names no set, and for options that it does not take."""
    verb = "localgrad evaluate RUN --data"
    if word not in WORDS:
        raise LocalgradError(f"{verb} {word}: there is no such data set. {nearest(word, WORDS)}")
    if word == FOLDER and root is None:
        raise LocalgradError(f"{verb} folder: say which with --data-root DIR, which holds train/ and test/ (or val/).")
    if word == DIGITS and root is not None:
        raise LocalgradError(f"{verb} digits: scikit-learn carries this set: leave --data-root out.")
    if download and word not in PUBLISHED:
        raise LocalgradError(f"{verb} {word}: nothing can be downloaded: leave --download out.")


def other_data(word: str, root: Path | None, download: bool, like: Seen) -> Data:
    """The spec of the other set. Images of a folder are read in the size that ``like`` has."""
    check_word(word, root, download)
    if word == DIGITS:
        return Digits()
    if word == FOLDER:
        # Its own statistics would be computed and not used.
        return ImageFolder(str(root), (3, *like.image[1:]), mean=(0.0,) * 3, std=(1.0,) * 3)
    return PUBLISHED[word](None if root is None else str(root), download)


def file_name(word: str, data: Data, *, probing: bool) -> str:
    """The file in the run's folder: per set one of the network's own accuracies, and one of probes of its features."""
    kind = "transfer-probe" if probing else "transfer"
    return f"{kind}-{word}-{data.name}.json" if word == FOLDER else f"{kind}-{word}.json"
