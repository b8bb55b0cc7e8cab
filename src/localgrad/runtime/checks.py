"""What a runtime checks where a user's batch, optimiser or mode enters it; nothing behind it checks again."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from localgrad.count import weightless_copy
from localgrad.errors import LocalgradError, nearest
from localgrad.in_backward import InBackward
from localgrad.network import LocalNetwork
from localgrad.runtime.units import largest_reach
from localgrad.spec import Batch, Shape
from localgrad.unit import Unit, forward_units, spans
from localgrad.update import Precision

Mode = Literal["unit", "fused"]
"""Whether every unit has an optimiser of its own, or one optimiser steps for all of them."""


def check_settings(
    net: object,
    optimizer: object,
    update: str,
    precision: str,
    accumulate: int,
    clip: float | None,
    workers: int,
    *,
    who: str = "Sequential",
) -> None:
    """Raise LocalgradError for what the runtime ``who`` cannot be made with."""
    for name, word, words in (("update", update, get_args(Mode)), ("precision", precision, [*Precision])):
        if word not in words:
            raise LocalgradError(f"{who}: {name} {str(word)!r} is unknown. {nearest(str(word), words)}")
    if not isinstance(net, LocalNetwork):
        raise LocalgradError(f"{who}: net must be what localize(model, method) returns, got {type(net).__name__}.")
    if isinstance(optimizer, InBackward):
        check_in_backward(net, update, precision, accumulate, clip, who)
    if not callable(optimizer):
        raise LocalgradError(
            f"{who}: optimizer must be a function of parameters, called once per unit, got "
            f"{type(optimizer).__name__}. Give optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1)."
        )
    for name, number in (("accumulate", accumulate), ("workers", workers)):
        if type(number) is not int:
            raise LocalgradError(f"{who}: {name} must be a whole number, got {number!r}.")
    if accumulate < 1:
        raise LocalgradError(f"{who}: accumulate must be at least 1, got {accumulate}.")
    if clip is not None and not clip > 0:
        raise LocalgradError(f"{who}: clip bounds a gradient norm and must be above 0, got {clip}.")
    if update == "fused" and clip is not None:
        raise LocalgradError(f"{who}: clip is per unit; update='fused' has one optimiser for all units.")
    if workers < 1:
        raise LocalgradError(f"{who}: workers must be at least 1, got {workers}.")
    if workers > 1 and next(net.parameters()).device.type != "cpu":
        raise LocalgradError(
            f"{who}: workers={workers} are threads of the CPU, the network is on "
            f"{next(net.parameters()).device}. Leave workers out."
        )


def check_in_backward(
    net: LocalNetwork, update: str, precision: str, accumulate: int, clip: float | None, who: str
) -> None:
    """Raise LocalgradError for what an optimiser cannot do that sees one gradient at a time."""
    refused = {
        "update='fused'": update == "fused",
        "precision float16": precision == Precision.FLOAT16,
        f"accumulate={accumulate}": accumulate != 1,
        f"clip={clip}": clip is not None,
        "losses that go down several units": largest_reach(net.unit_list()) > 1,
        "auxiliary networks that follow their own unit": any(map(follows_itself, net.unit_list())),
    }
    for setting, given in refused.items():
        if given:
            raise LocalgradError(
                f"{who}: InBackward updates every parameter in the first backward pass that reaches it, so it cannot "
                f"be used with {setting}. Leave one of the two out."
            )


def follows_itself(unit: Unit) -> bool:
    """Whether a part of an auxiliary network moves towards weights of its own unit, as they were before the step."""
    span = unit.span
    return any(
        follow.rate is not None
        and (follow.block is None or follow.other is not None or span.start <= follow.block < span.stop)
        for follow in unit.spec.follows
    )


def check_engine(net: LocalNetwork, precision: Precision, workers: int) -> None:
    """Raise LocalgradError for what units that work together (neuron groups, cascades) cannot run with."""
    units = net.unit_list()
    cascades, groups = largest_reach(units) > 1, len(spans(units)) < len(units)
    if cascades and groups:
        raise LocalgradError("Sequential: a network can have neuron groups or cascades, not both.")
    for unit in units:
        if unit.spec.reach > unit.spec.index + 1:
            raise LocalgradError(
                f"unit {unit.name!r}: a cascade of {unit.spec.reach} units ends at unit {unit.spec.index} (from 0), "
                f"where only {unit.spec.index + 1} units are. Give shorter cascades or more modules."
            )
    for place, unit in enumerate(units):
        if not unit.spec.objectives and not any(
            later.spec.index - later.spec.reach < unit.spec.index for later in units[place + 1 :]
        ):
            raise LocalgradError(
                f"unit {unit.name!r}: it has no objective, and no cascade of a later unit reaches it. Give it one."
            )
    if cascades and precision is Precision.FLOAT16:
        raise LocalgradError(
            "Sequential: a cascade's gradient crosses units, and float16 scales each unit's gradients by a factor of "
            "its own. Use bfloat16 or float32."
        )
    followed = any(follow.rate is not None for unit in units for follow in unit.spec.follows)
    if workers > 1 and (cascades or groups or followed):
        what = "cascades" if cascades else "neuron groups" if groups else "units that follow each other's weights"
        raise LocalgradError(f"Sequential: workers={workers} step units on their own; {what} work together. Use 1.")


def check_optimizer(made: object, parameters: Sequence[nn.Parameter], *, who: str = "Sequential") -> None:
    """Raise LocalgradError unless the user's function gave an optimiser of these parameters and no others."""
    if not isinstance(made, Optimizer):
        raise LocalgradError(
            f"{who}: optimizer must return a torch.optim.Optimizer, got {type(made).__name__}. "
            "Give optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1)."
        )
    own = set(map(id, parameters))
    foreign = sum(id(parameter) not in own for group in made.param_groups for parameter in group["params"])
    if foreign:
        raise LocalgradError(
            f"{who}: optimizer must use the parameters it is given, those of one unit; got {foreign} others."
        )


def check_single_row(net: LocalNetwork, shape: Shape) -> None:
    """Raise LocalgradError when some unit cannot train on a batch of one image of ``shape`` (C, H, W).

    A BatchNorm after pooling would see a single value per channel, a loss over pairs no pair. Runs a copy on the meta
    device: computes nothing.
    """
    for unit in net.unit_list():
        for objective in unit.spec.objectives:
            if objective.pairs:
                raise LocalgradError(
                    f"Batch: the loss {objective.name!r} of unit {unit.name!r} compares the images of a batch with "
                    "each other, and a batch, or a part of it under accumulate, is one image. Give at least two images "
                    "per part, or drop the last short batch."
                )
    copies = weightless_copy(net, "meta").train().unit_list()
    x = torch.empty((1, *shape), device="meta", dtype=next(net.parameters()).dtype)
    name = copies[0].name
    with torch.no_grad():
        try:
            for unit, h, features in forward_units(copies, x):
                name = unit.name
                unit.outputs(h, features)
        except ValueError as error:
            raise LocalgradError(
                f"Batch: unit {name!r} has a BatchNorm that sees a single value per channel when a batch, or "
                "a part of it under accumulate, is one image. Give at least two images per part, or drop the last "
                "short batch."
            ) from error


def check_trainable(batch: Batch, parts: int, *, call: str = "Sequential.step") -> None:
    """Raise LocalgradError for fields that cannot be split, and outside of gradient mode."""
    if parts > 1 and batch.pair_similarity is not None:
        raise LocalgradError("Batch.pair_similarity holds all pairs of a batch: it cannot be split, use accumulate=1.")
    if not torch.is_grad_enabled():
        raise LocalgradError(f"{call} trains: call it outside of torch.no_grad() and torch.inference_mode().")


def check_batch(net: LocalNetwork, batch: Batch, precision: Precision = Precision.FLOAT32) -> None:
    """Raise LocalgradError when a batch does not fit the network.

    The range of labels is checked on the CPU only: elsewhere it would make every step wait for the device. Data read
    through ``localgrad.data`` was checked when it was loaded.
    """
    if not isinstance(batch, Batch):
        raise LocalgradError(f"expected a localgrad.Batch(x=..., y=...), got {type(batch).__name__}.")
    for name in ("x", "y", "image", "views", "pair_similarity"):
        value = getattr(batch, name)
        if value is not None and not isinstance(value, Tensor):
            raise LocalgradError(f"Batch.{name}: expected a torch.Tensor, got {type(value).__name__}.")
    x, y, image = batch.x, batch.y, net.backbone.image
    if x.ndim != 1 + len(image) or x.shape[1] != image[0]:
        raise LocalgradError(
            f"Batch.x: {net.backbone.name} expects (B, {image[0]}, H, W), got {tuple(x.shape)}. "
            + (
                f"Make the network with image={(x.shape[1], *image[1:])!r} or change the images."
                if x.ndim == 1 + len(image)
                else "The batch axis comes first."
            )
        )
    if len(x) == 0:
        raise LocalgradError(f"Batch.x: expected at least one image, got shape {tuple(x.shape)}.")
    for name, per_image in (("image", 1), ("views", 2)):
        value = getattr(batch, name)
        if value is not None and len(value) != per_image * len(x):
            raise LocalgradError(
                f"Batch.{name}: expected {per_image * len(x)} rows for {len(x)} images, got {len(value)}."
            )
    weight = next(net.parameters())
    reduced = () if precision is Precision.FLOAT32 else (torch.bfloat16, torch.float16)
    if x.device != weight.device or x.dtype not in (weight.dtype, *reduced):
        raise LocalgradError(
            f"Batch.x: the weights are {weight.dtype} on {weight.device}, got {x.dtype} on {x.device}. "
            "Convert images to floats and move them: x.to(device, dtype)."
        )
    missing = sorted(name for name in net.needs if getattr(batch, name) is None)
    if missing:
        raise LocalgradError(f"Batch: the method needs {', '.join(missing)}, got None. Give Batch({missing[0]}=...).")
    check_image(net, batch)
    if y is not None:
        if y.shape != (len(x),) or y.dtype != torch.int64:
            raise LocalgradError(
                f"Batch.y: expected int64 class indices of shape ({len(x)},), got {y.dtype} of shape {tuple(y.shape)}."
            )
        if y.device.type == "cpu" and len(y) and not 0 <= int(y.min()) <= int(y.max()) < net.backbone.num_classes:
            raise LocalgradError(
                f"Batch.y: labels must be in 0..{net.backbone.num_classes - 1}, got {int(y.min())}..{int(y.max())}."
            )


def check_image(net: LocalNetwork, batch: Batch) -> None:
    """Raise LocalgradError unless ``batch.image``, where it is read, is ``x`` before normalisation, in [0, 1].

    The range is checked on the CPU only, as that of labels is.
    """
    x, image = batch.x, batch.image
    if image is None or "image" not in net.needs:
        return
    if image.shape != x.shape or not image.is_floating_point() or image.device != x.device:
        raise LocalgradError(
            f"Batch.image: expected floats of shape {tuple(x.shape)} on {x.device}, as x, got {image.dtype} of shape "
            f"{tuple(image.shape)} on {image.device}. Give the pixels of x before normalisation, divided by 255."
        )
    if image.device.type == "cpu" and not 0 <= float(image.min()) <= float(image.max()) <= 1:
        raise LocalgradError(
            f"Batch.image: decoders are compared with pixels in [0, 1], got {float(image.min()):g}.."
            f"{float(image.max()):g}. Give the pixels of x before normalisation, divided by 255."
        )
