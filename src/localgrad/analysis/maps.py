"""Feature maps: where in an image the features behind every unit, or every block, say something.

``channel-mean`` is the mean over all channels (MLAAN, arXiv 2406.16633, Fig. 5). ``grad-cam`` weighs channels by what
they do for one class (Selvaraju et al. 2017): here for the logit of the unit's own head, the network's on the last
unit, so every unit is asked about its own decision. No gradient crosses a border.

Legend: B images, C channels, H height, W width, N tokens.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from typing import Literal, final

import torch
from torch import Tensor, nn

from localgrad.errors import LocalgradError
from localgrad.network import LocalNetwork
from localgrad.rng import seeded
from localgrad.spec import Shape
from localgrad.unit import Unit, spans
from localgrad.update import Precision

Kind = Literal["channel-mean", "grad-cam"]
Of = Literal["unit", "block"]
Target = Literal["label", "predicted"]
"""Whose logit Grad-CAM follows: the image's label, or the class that the unit's own head takes it for."""


@final
@dataclass(frozen=True)
class FeatureMap:
    """Maps of all images behind one unit or block, as they are: see ``normalised``.

    ``name`` is the unit's or the block's, ``unit`` the place of the unit in the network, from 0. ``shape`` is that of
    one sample's features. ``map_BHW`` is float32 on the CPU; None where there is no map, and
    ``missing`` says why. ``classes_B`` are the classes that Grad-CAM was asked about, ``predicted_B`` those that the
    unit's own head takes the images for; None for another kind.
    """

    name: str
    unit: int
    shape: Shape
    map_BHW: Tensor | None
    missing: str = ""
    classes_B: Tensor | None = None
    predicted_B: Tensor | None = None


def channel_mean(h_BCHW: Tensor) -> Tensor:
    """map_BHW: the mean over channels."""
    return h_BCHW.float().mean(1)


def grad_cam(h_BCHW: Tensor, gradient_BCHW: Tensor) -> Tensor:
    """map_BHW: ReLU of the sum of channels, each weighted by the mean over positions of a logit's gradient."""
    weight_BC = gradient_BCHW.float().mean((2, 3))
    return torch.einsum("bc,bchw->bhw", weight_BC, h_BCHW.float()).relu()


def normalised(map_BHW: Tensor, *, from_zero: bool = False) -> Tensor:
    """Every map by itself in [0, 1]: its least value (``from_zero``: 0) becomes 0, its greatest 1; a flat one 0."""
    low_B11 = torch.zeros_like(map_BHW[:, :1, :1]) if from_zero else map_BHW.amin((1, 2), keepdim=True)
    range_B11 = map_BHW.amax((1, 2), keepdim=True) - low_B11
    return torch.where(range_B11 > 0, (map_BHW - low_B11) / range_B11.clamp(min=torch.finfo(map_BHW.dtype).tiny), 0.0)


def positions(h: Tensor, axis: int, where: str, skip_tokens: int = 0) -> Tensor | None:
    """h_BCHW of features with channels on ``axis`` of a sample; None for vectors, which have no positions.

    Tokens (B, N, C) are a square grid, row by row, behind ``skip_tokens`` class tokens and registers. Raises
    LocalgradError that begins with ``where`` when they are none.
    """
    h = h.movedim(axis + 1, 1)
    if h.ndim == 4:
        return h
    if h.ndim != 3:
        return None
    count = h.shape[2] - skip_tokens
    side = isqrt(max(count, 0))
    if count < 1 or side * side != count:
        told = f"{h.shape[2]} tokens" + (f" without the first {skip_tokens}" if skip_tokens else "")
        fitting = [n for n in range(1, 6) if h.shape[2] - n >= 9 and isqrt(h.shape[2] - n) ** 2 == h.shape[2] - n]
        advice = [f" Those behind the first {n} (class tokens, registers) do: skip_tokens={n}." for n in fitting[:1]]
        raise LocalgradError(f"{where}: {told} form no square grid, so there is no map.{''.join(advice)}")
    return h[:, :, skip_tokens:].reshape(*h.shape[:2], side, side)


def feature_maps(
    net: LocalNetwork,
    x_BCHW: Tensor,
    labels_B: Tensor | None = None,
    *,
    kind: Kind = "channel-mean",
    of: Of = "unit",
    target: Target = "label",
    skip_tokens: int = 0,
    precision: Precision = Precision.FLOAT32,
) -> tuple[FeatureMap, ...]:
    """Maps of the images behind every unit (``of="block"``: every block), in the order of the network.

    In evaluation mode; weights, gradients, modes and random state are left as they were. Grad-CAM of a block is about
    the logit of the head of the unit that it belongs to. A unit without classifier has no Grad-CAM, and says so.

    Raises LocalgradError when Grad-CAM has no labels to ask about or the network learnt without, when features are not
    finite, when tokens form no grid, and when there is not one map.
    """
    _check(net, labels_B, kind, target)
    axes = (0, *net.backbone.channel_axes())
    device = next(net.parameters()).device
    found: list[FeatureMap] = []
    h = x_BCHW.clone()  # the first block may work in place
    with _evaluating(net), seeded(0, device):
        for start, members in spans(net.unit_list()):
            traces = []
            for unit in members:
                with precision.autocast(device):
                    traces.append(_trace(unit, h, every=of == "block", graph=kind == "grad-cam"))
            features = [trace.top for trace in traces]
            for place, (unit, trace) in enumerate(zip(members, traces, strict=True), start):
                asked = _Asked(None, None, [None] * len(trace.kept))
                if kind == "grad-cam":
                    with precision.autocast(device):
                        asked = _ask(net, unit, trace, features, None if target == "predicted" else labels_B)
                for offset, (own, gradient) in enumerate(zip(trace.kept, asked.gradients, strict=True)):
                    index = trace.first + offset
                    name = _block_name(net, unit, index) if of == "block" else unit.name
                    found.append(_map(name, place, own, gradient, axes[index], kind, asked, skip_tokens))
            h = torch.cat([feature.detach() for feature in features], 1) if len(features) > 1 else features[0].detach()
    if all(one.map_BHW is None for one in found):
        told = "; ".join(f"{one.name}: {one.missing}" for one in found)
        raise LocalgradError(f"maps: {net.backbone.name} has no {kind} map. {told}.")
    if skip_tokens and not any(len(one.shape) == 2 for one in found):
        raise LocalgradError(f"maps: skip_tokens={skip_tokens}, but no features of {net.backbone.name} are tokens.")
    return tuple(found)


@final
@dataclass(frozen=True)
class _Trace:
    """Outputs of blocks of a unit that are ``kept``, the last ones up to its end; ``top`` is what a head reads.

    ``first`` counts the blocks of the network up to the first one kept, which is 1 for its first block.
    """

    kept: list[Tensor]
    top: Tensor
    first: int


@final
@dataclass(frozen=True)
class _Asked:
    """Gradients of a logit at the features kept; without a classifier None, as its classes."""

    classes_B: Tensor | None
    predicted_B: Tensor | None
    gradients: Sequence[Tensor | None]


def _trace(unit: Unit, h_in: Tensor, *, every: bool, graph: bool) -> _Trace:
    """Run the body block by block. With ``graph`` all that follows the first block kept can be differentiated."""
    blocks = list(unit.body)
    start = 0 if every else len(blocks) - 1
    kept: list[Tensor] = []
    h = h_in
    if not blocks:  # a classifier of its own reads what the units before made
        h = h.detach().requires_grad_(graph)
        return _Trace([] if every else [h], h.clone(), unit.span.stop)
    for index, block in enumerate(blocks):
        with torch.set_grad_enabled(graph and index > start):
            h = block(h)
        if index < start:
            continue
        if index == start:
            h = h.detach().requires_grad_(graph)
        kept.append(h)
        with torch.set_grad_enabled(graph):
            h = h.clone()  # what follows may work in place
    return _Trace(kept, h, unit.span.start + start + 1)


@torch.enable_grad()
def _ask(net: LocalNetwork, unit: Unit, trace: _Trace, features: Sequence[Tensor], labels_B: Tensor | None) -> _Asked:
    """The gradient of the logit of the label (None: of the predicted class) of the unit's own head."""
    logits_BK = net.class_logits(unit, trace.top, features)
    if logits_BK is None or not trace.kept:
        return _Asked(None, None, [None] * len(trace.kept))
    predicted_B = logits_BK.argmax(1)
    classes_B = predicted_B if labels_B is None else labels_B.to(predicted_B.device)
    # In evaluation mode no sample reads another, so the gradient of the sum is each one's own.
    chosen = logits_BK.float().gather(1, classes_B[:, None]).sum()
    return _Asked(classes_B.cpu(), predicted_B.cpu(), torch.autograd.grad(chosen, trace.kept, materialize_grads=True))


def _map(
    name: str, unit: int, h: Tensor, gradient: Tensor | None, axis: int, kind: Kind, asked: _Asked, skip_tokens: int
) -> FeatureMap:
    shape = tuple(h.shape[1:])
    h = h.detach()
    if not h.isfinite().all():
        raise LocalgradError(f"maps: features of {name!r} are not finite: has the network diverged?")
    h_BCHW = positions(h, axis, f"maps: block {name!r}", skip_tokens)
    if h_BCHW is None:
        size = "x".join(map(str, shape))
        return FeatureMap(name, unit, shape, None, f"features of shape {size} have no positions")
    if kind == "channel-mean":
        return FeatureMap(name, unit, shape, channel_mean(h_BCHW).cpu())
    if gradient is None:
        return FeatureMap(name, unit, shape, None, "no classifier")
    gradient_BCHW = positions(gradient, axis, f"maps: block {name!r}", skip_tokens)
    assert gradient_BCHW is not None
    made_BHW = grad_cam(h_BCHW, gradient_BCHW).cpu()
    if not made_BHW.isfinite().all():
        raise LocalgradError(f"maps: the gradient at {name!r} is not finite: has the network diverged?")
    return FeatureMap(name, unit, shape, made_BHW, "", asked.classes_B, asked.predicted_B)


def _block_name(net: LocalNetwork, unit: Unit, index: int) -> str:
    name = net.backbone.block_names[index - 1]
    return f"{name}.g{unit.spec.group}" if len(unit.span.groups) > 1 else name


def _check(net: LocalNetwork, labels_B: Tensor | None, kind: Kind, target: Target) -> None:
    if kind == "channel-mean":
        return
    if not net.classifies:
        raise LocalgradError(
            f"maps: Grad-CAM asks for a class, and {net.backbone.name} learnt without labels: no unit has a "
            "classifier. Take kind='channel-mean'."
        )
    classes = net.backbone.num_classes
    if target == "label" and labels_B is None:
        raise LocalgradError("maps: Grad-CAM of the labels needs labels_B. Give them, or take target='predicted'.")
    if labels_B is not None and len(labels_B) and not 0 <= int(labels_B.min()) <= int(labels_B.max()) < classes:
        raise LocalgradError(
            f"maps: expected labels from 0 to {classes - 1}, got {int(labels_B.min())} to {int(labels_B.max())}."
        )


@contextmanager
def _evaluating(net: LocalNetwork) -> Iterator[None]:
    """Evaluation mode; every module's own mode is restored."""
    before: dict[nn.Module, bool] = {part: part.training for part in (*net.modules(), *net.units.modules())}
    net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in before.items():
            part.training = mode
