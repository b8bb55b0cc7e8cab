"""What `import localgrad` gives, and what it does not load."""

import subprocess
import sys
from types import ModuleType

import localgrad

NAMES = {
    "Adam", "Audit", "Backbone", "Batch", "Greedy", "LocalNetwork", "LocalgradError", "Partition", "Precision",
    "Queued", "Run", "RunError", "SGD", "Sequential", "Span", "Step", "Tick", "__version__", "audit", "backbones",
    "cost", "data", "equal_blocks", "equal_macs", "equal_memory", "keep_freed_memory", "load", "localize", "methods",
    "partition", "train",
}  # fmt: skip
EXTRAS = ("torchvision", "timm", "sklearn", "scipy", "matplotlib", "PIL", "lightning")


def test_public_names() -> None:
    """A new name is a promise: it goes in here on purpose."""
    assert set(localgrad.__all__) == NAMES
    given = {
        name
        for name, value in vars(localgrad).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert given == {name for name in NAMES if callable(getattr(localgrad, name))}


def test_names_that_scripts_rely_on() -> None:
    assert {"resnet20", "resnet32", "resnet44", "resnet56", "resnet110"} <= set(dir(localgrad.backbones))
    assert {"AugLocal", "Backprop", "Checkpointing", "DGL", "DGSSL", "PredSim"} <= set(localgrad.methods.__all__)
    assert all(hasattr(localgrad.methods, name) for name in localgrad.methods.__all__)


def test_import_loads_no_extra() -> None:
    code = f"import sys, localgrad; print([name for name in {EXTRAS} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")
