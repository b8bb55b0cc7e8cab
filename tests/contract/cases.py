"""Every exported method as test cases. A new method is tested with its defaults; add a row here for other choices.

An invariant that does not hold for a method stands in ``NOT_FOR`` with the reason.
"""

from typing import Any

import pytest

from localgrad import Backbone, LocalNetwork, localize, methods
from localgrad.method import Method

from ..conftest import tiny_resnet

CHOICES: dict[str, list[dict[str, Any]]] = {
    "DGL": [{}, {"head": "auglocal"}, {"head": "cnn"}, {"head": "1c2f"}, {"head": "gndgl-1c2f"}],
    "AugLocal": [{"depth": 3}, {"depth": 2, "tail": "strict", "selection": "conv3x3"}],
}
ONE_UNIT = {"Backprop", "Checkpointing"}
NOT_FOR: dict[tuple[str, str], str] = {}


def modules_of(method: Method) -> int:
    """One module per block of ``tiny_resnet()``, or one."""
    return 1 if type(method).__name__ in ONE_UNIT else 7


def localized(method: Method, backbone: Backbone | None = None, **keywords: Any) -> LocalNetwork:
    """The tiny network cut into as many units as the method takes."""
    return localize(backbone or tiny_resnet(), method, modules_of(method), **keywords)


def every_method(invariant: str) -> pytest.MarkDecorator:
    """Parametrise a test over all methods for which ``invariant`` holds."""
    cases = []
    for name in sorted(methods.__all__):
        reason = NOT_FOR.get((name, invariant))
        marks = [pytest.mark.skip(reason=reason)] if reason else []
        for keywords in CHOICES.get(name, [{}]):
            words = "-".join(str(value) for value in keywords.values())
            case = getattr(methods, name)(**keywords)
            cases.append(pytest.param(case, id=f"{name}({words})", marks=marks))
    return pytest.mark.parametrize("method", cases)
