"""InfoPro's reconstruction loss (Wang et al. 2021, section 3; methods.md 5).

Legend: B batch, C channels of the image, H height, W width.
"""

from typing import Any, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from localgrad.errors import LocalgradError
from localgrad.losses.precision import full
from localgrad.losses.types import Outputs
from localgrad.spec import Batch

# The bound in the gradient of PyTorch's kernel: 1e-12, written in single precision.
_LEAST_SLOPE = 9.999999960041972e-13


@final
class _SigmoidBCE(torch.autograd.Function):
    """``BCELoss(sigmoid(logits), target)``, the mean, with PyTorch's bounds: logarithms of at least -100, and a divisor
    of at least 1e-12 in the gradient.

    Not ``binary_cross_entropy_with_logits``: where the sigmoid rounds to 1 the two differ, and the papers' code trains
    with this one. Not ``binary_cross_entropy`` either: that is refused under autocast, and of logits that are no
    numbers it makes an error (on CUDA one that ends the process) instead of a loss that is no number.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        p = logits.sigmoid()
        ctx.save_for_backward(p, target)
        log_p, log_q = p.log().clamp_(min=-100), p.neg().log1p_().clamp_(min=-100)
        return -torch.lerp(log_q, log_p, target).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        p, target = ctx.saved_tensors
        slope = p * (1 - p)
        return (p - target).mul_(slope / slope.clamp(min=_LEAST_SLOPE)).mul_(grad / p.numel()), None


def reconstruction(outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
    """Mean binary cross-entropy of a decoder's image against ``batch.image`` (image_BCHW in [0, 1]), in nats.

    ``outputs["logits"]`` (logits_BCHW) is the decoded image before its sigmoid, which is part of the equation.
    Computed in float32 at least. Raises LocalgradError when decoder and image differ in shape.
    """
    assert batch.image is not None  # declared by `needs`, checked where the batch enters
    logits_BCHW = full(outputs["logits"])
    if logits_BCHW.shape != batch.image.shape:
        raise LocalgradError(
            f"reconstruction: the decoder makes images of shape {tuple(logits_BCHW.shape[1:])}, Batch.image has "
            f"{tuple(batch.image.shape[1:])}. Make the network for such images: image={tuple(batch.image.shape[1:])}."
        )
    loss: Tensor = _SigmoidBCE.apply(logits_BCHW, batch.image.to(logits_BCHW.dtype))
    return {"bce": loss}
