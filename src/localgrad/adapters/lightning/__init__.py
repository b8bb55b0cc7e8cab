"""PyTorch Lightning: a module that trains a LocalNetwork, and a callback for a LightningModule of your own.

For the package ``lightning`` (``import lightning as L``); the older package ``pytorch_lightning`` does not take its
classes. Raises LocalgradError where it is not installed.
"""

from localgrad.errors import LocalgradError

try:
    import lightning.pytorch  # noqa: F401
except ImportError as error:
    raise LocalgradError(
        f'localgrad.adapters.lightning needs the package lightning ({error}): pip install "localgrad[lightning]"'
    ) from error

from localgrad.adapters.lightning.callback import LocalLearning as LocalLearning
from localgrad.adapters.lightning.module import LocalLightningModule as LocalLightningModule

__all__ = ["LocalLearning", "LocalLightningModule"]
