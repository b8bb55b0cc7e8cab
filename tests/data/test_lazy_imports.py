"""``import localgrad.data`` loads no optional package, and says what to install where one is missing."""

import subprocess
import sys

OPTIONAL = ("torchvision", "sklearn", "scipy", "PIL", "kornia")


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_no_optional_package_and_a_missing_one_is_said():
    """One process for both, as importing torch takes seconds."""
    code = (
        f"OPTIONAL = {OPTIONAL}"
        + """
import sys, tempfile
from localgrad.data import CIFAR10, SVHN, DataError, Digits, ImageFolder, StreamedFolder
print([name for name in OPTIONAL if name in sys.modules])
for name in OPTIONAL:
    sys.modules[name] = None
root = tempfile.mkdtemp()
for data in (Digits(), SVHN(root), CIFAR10(root, download=True), ImageFolder(root), StreamedFolder(root)):
    print(data.problems()[0].splitlines()[0])
    try:
        data.load()
    except DataError as error:
        assert str(error).startswith(data.problems()[0])
"""
    )
    lines = python(code).splitlines()
    install = 'which is not installed: pip install "localgrad[data]"'
    assert lines == [
        "[]",
        f"digits: reading scikit-learn's copy needs the package sklearn, {install}",
        f"svhn: reading .mat files needs the package scipy, {install}",
        f"cifar10: download=True needs the package torchvision, {install}",
        f"reading an image folder needs the package PIL, {install}",
        f"reading an image folder needs the package PIL, {install}",
    ]
