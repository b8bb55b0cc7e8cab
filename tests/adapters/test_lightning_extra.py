"""What the adapter says where Lightning is not installed."""

import sys

import pytest

from localgrad import LocalgradError


def test_error_without_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("localgrad.adapters.lightning")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.delitem(sys.modules, "lightning.pytorch", raising=False)
    with pytest.raises(LocalgradError, match=r'needs the package lightning .*pip install "localgrad\[lightning\]"'):
        import localgrad.adapters.lightning  # noqa: F401
