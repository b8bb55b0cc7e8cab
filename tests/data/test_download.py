"""Downloads, through torchvision and real HTTP, against a server of our own and against nobody."""

import functools
import hashlib
import http.server
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torchvision

from localgrad.data import CIFAR10, STL10, SVHN, DataError


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def proxies(monkeypatch, address: str | None) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        for spelling in (name, name.upper()):
            monkeypatch.delenv(spelling, raising=False)
        if address is not None and name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, address)
    # urllib keeps the proxies of its first call for the life of the process.
    monkeypatch.setattr(urllib.request, "_opener", None)


@pytest.fixture
def server(tmp_path: Path, monkeypatch) -> Iterator[tuple[Path, str]]:
    proxies(monkeypatch, None)
    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def nobody(monkeypatch) -> None:
    """Every connection goes to a proxy that is not there: refused at once, whatever network the machine has."""
    proxies(monkeypatch, "http://127.0.0.1:9")


@pytest.mark.parametrize(("spec", "lack"), [(CIFAR10, "cifar-10-python.tar.gz"), (SVHN, "train_32x32"), (STL10, "stl")])
def test_failed_download_says_all(tmp_path: Path, nobody, spec, lack: str):
    root, began, before = tmp_path / "new", time.monotonic(), socket.getdefaulttimeout()
    data = spec(root, download=True)
    assert data.problems() == []
    with pytest.raises(DataError) as raised:
        data.load()
    text = str(raised.value)
    assert f"{data.name}: no complete set of files under root='{root}'" in text
    assert "The download by torchvision failed: URLError: <urlopen error" in text
    assert lack in text
    assert "To do: put the published files there (http" in text and "download=True" not in text
    assert list(root.iterdir()) == []
    assert time.monotonic() - began < 30
    assert socket.getdefaulttimeout() == before


def test_root_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"The download by torchvision failed: NotADirectoryError"):
        CIFAR10(tmp_path / "file" / "root", download=True).load()


def test_fetched_verified_and_moved(tmp_path: Path, publish, server, monkeypatch, capfd):
    folder, url = server
    publish.svhn(folder / "train_32x32.mat", 5)
    publish.svhn(folder / "test_32x32.mat", 4)
    published = {
        part: [
            f"{url}/{part}_32x32.mat",
            f"{part}_32x32.mat",
            hashlib.md5((folder / f"{part}_32x32.mat").read_bytes(), usedforsecurity=False).hexdigest(),
        ]
        for part in ("train", "test")
    }
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", published)
    root = tmp_path / "root"
    images = SVHN(root, download=True).load()
    assert (len(images.train), len(images.test)) == (5, 4)
    assert sorted(path.name for path in root.iterdir()) == ["test_32x32.mat", "train_32x32.mat"]
    assert len(SVHN(root).load().train) == 5

    published["test"][2] = "0" * 32
    with pytest.raises(DataError, match=r"torchvision failed: RuntimeError: File not found or corrupted"):
        SVHN(tmp_path / "other", download=True).load()
    assert list((tmp_path / "other").iterdir()) == []


def test_files_that_are_there_are_not_fetched(tmp_path: Path, publish, nobody):
    publish.cifar10_python(tmp_path)
    assert len(CIFAR10(tmp_path, download=True).load().train) == 10
