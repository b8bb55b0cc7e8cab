"""A trained network as timm's ``features_only=True`` shows one. Nothing here is imported by ``import localgrad``.

Raises LocalgradError where timm is not installed.
"""

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from localgrad.adapters.stages import Stage, StageMaps, stage_maps
from localgrad.errors import LocalgradError
from localgrad.network import LocalNetwork

try:
    from timm.models import FeatureInfo
except ImportError as error:
    raise LocalgradError(
        f'localgrad.adapters.timm needs the package timm ({error}): pip install "localgrad[models]"'
    ) from error

WHO = "feature_extractor"


@final
class FeatureExtractor(nn.Module):
    """``forward`` gives a list of maps_BCHW, one per stage asked for, the finest first.

    ``feature_info`` is timm's own: ``channels()``, ``reduction()``, ``module_name()`` of these, ``info`` of all stages.
    """

    def __init__(self, body: StageMaps) -> None:
        super().__init__()
        self.body = body
        info = [{"num_chs": one.channels, "reduction": one.reduction, "module": one.name} for one in body.stages]
        self.feature_info = FeatureInfo(info, out_indices=body.kept)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps_BCHW for images x_BCHW."""
        maps: list[Tensor] = self.body(x)
        return maps


def feature_extractor(
    model: LocalNetwork | nn.Module,
    example: Tensor | None = None,
    *,
    out_indices: Sequence[int] | None = None,
    cuts: Sequence[str] = (),
    trained: int | None = None,
    freeze_batchnorm: bool = False,
) -> FeatureExtractor:
    """A trained network's feature maps, stage by stage, with timm's ``feature_info``.

    ``model`` and ``example`` are as for ``adapters.torchvision.detection_backbone``, and it is copied. ``out_indices``
    are places of stages in their order, from 0 or, negative, from the end (None: all). Where a stage's map lies inside
    a block, such as that before a ResNet's max-pooling, ``cuts`` names the submodule: ``cuts=["act1"]``. ``trained`` is
    how many of them, from the last, train (None: all); ``freeze_batchnorm`` keeps BatchNorm as it is in training mode.
    The last map is what the network's pooling reads: behind the final convolution where there is one.

    Raises LocalgradError for networks without feature maps (ViT, perceptrons), networks that cannot be cut and places
    that there are not.
    """

    def choose(stages: Sequence[Stage]) -> Sequence[int]:
        if out_indices is None:
            return range(len(stages))
        places = [index + len(stages) if index < 0 else index for index in out_indices]
        if not places or places != sorted(set(places)) or places[0] < 0 or places[-1] >= len(stages):
            names = ", ".join(f"{place} {one.name}" for place, one in enumerate(stages))
            raise LocalgradError(
                f"{WHO}: out_indices must be different places of stages in their order, got {list(out_indices)}. There "
                f"are: {names}."
            )
        return places

    return FeatureExtractor(
        stage_maps(WHO, model, example, choose, cuts=cuts, trained=trained, freeze_batchnorm=freeze_batchnorm)
    )
