"""Reading what ``localgrad export`` wrote: a plain network again."""

from pathlib import Path
from typing import Any

from torch import nn

from localgrad import backbones
from localgrad.auxnets import ConvFC
from localgrad.blocks import PooledFeatures
from localgrad.errors import LocalgradError
from localgrad.grouping import with_groups, with_head
from localgrad.network import build_model
from localgrad.spec import Backbone, Span
from localgrad.train.checkpoint import load_weights
from localgrad.train.weights import read_exported


def load(path: str | Path) -> nn.Module:
    """The exported network with its weights, in evaluation mode: a plain ``nn.Module``.

    Raises LocalgradError when the file is damaged, of another program, or of a network that is not one of localgrad's
    own; the weights of such a file can be read with safetensors and loaded into the network they came from.
    """
    path = Path(path)
    facts, weights = read_exported(path)
    name = facts.pop("constructor", None)
    if name not in backbones.__all__:
        raise LocalgradError(
            f"{path} holds weights of {facts.get('name')!r}, which localgrad cannot build. Build it yourself and load "
            "the weights: model.load_state_dict(safetensors.torch.load_file(path))."
        )
    spans, head = facts.pop("grouped_spans", []), facts.pop("changed_head", None)
    arguments = {key: tuple(v) if isinstance(v, list) else v for key, v in facts.items() if key not in ("kind", "name")}
    backbone: Backbone = getattr(backbones, str(name))(**arguments)
    model, _ = build_model(changed(backbone, spans, head, path), seed=0)
    load_weights(model, weights, str(path))
    return model.eval()


def changed(backbone: Backbone, spans: Any, head: Any, path: Path) -> Backbone:
    """The backbone with the neuron groups and the head that a method gave it, as facts of the file say."""
    if head is not None:
        fields = {key: tuple(v) if isinstance(v, list) else v for key, v in head.items() if key != "kind"}
        kinds: dict[str, Any] = {kind.__name__: kind for kind in (ConvFC, PooledFeatures)}
        if head.get("kind") not in kinds:
            raise LocalgradError(f"{path} has a head of kind {head.get('kind')!r}, which this version cannot build.")
        backbone = with_head(backbone, kinds[head["kind"]](**fields))
    return with_groups(backbone, [Span(start, stop, tuple(groups)) for start, stop, groups in spans])
