"""PredSim (Nokland & Eidnes 2019, "Training neural networks with local error signals", arXiv 1901.06656).

Each unit learns from a linear classifier on its pooled output ("pred"), from the similarities between the samples of a
batch ("sim"), or from both.
"""

from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal, assert_never, final, get_args

from torch import nn

from localgrad.auxnets import PooledDecoder, SimilarityNet, Truncated, pooled_first, pooled_shape, views_of
from localgrad.blocks import ConvBNReLU
from localgrad.errors import LocalgradError, nearest
from localgrad.losses import SimilarityMatching, cross_entropy
from localgrad.method import Method, unit_name
from localgrad.methods.matching import enlarged, reference
from localgrad.methods.options import check_aux_pool, check_effect, check_match
from localgrad.objective import Objective, UnitSpec
from localgrad.partition import Cut, EqualMacs, PaperTable
from localgrad.spec import AuxSpec, Backbone, Initialiser, Partition, Shape, Span

LocalLoss = Literal["predsim", "pred", "sim"]
"""What a unit learns from: cross-entropy of a linear classifier, similarity matching, or a mix of the two."""

Framework = Literal["layerwise", "blockwise"]
"""Whose training the method follows:

``layerwise``: its own paper. The backbone's classifier is a unit of its own, trained by cross-entropy on detached
features; the weights of it and of the local classifiers start at zero, convolutions of the similarity branch as PyTorch
makes them; up to 4096 features are classified; in ``predsim`` the classifier's loss counts (1 - beta) too.

``blockwise``: the comparison in AugLocal and InfoPro (methods.md 12, row 36). The last module trains jointly with the
classifier by cross-entropy of weight 1, nothing starts at zero, all that is built starts as the backbone's parts do, up
to 512 features are classified.
"""

MAX_FEATURES: dict[Framework, int] = {"layerwise": 4096, "blockwise": 512}


def keep_default(module: nn.Module) -> None:
    """Keep the weights that PyTorch drew when it made the layers."""


def zero_output(module: nn.Module) -> None:
    """Set the weights of the last linear layer to zero; hidden layers before it would never learn, biases stay."""
    layers = [part for part in module.modules() if isinstance(part, nn.Linear)]
    for part in layers[-1:]:
        nn.init.zeros_(part.weight)


@final
@dataclass(frozen=True)
class ClassifierAlone:
    """The spans of another cut and an empty one: the classifier becomes a unit of its own."""

    hidden: Cut

    def __call__(self, backbone: Backbone) -> Partition:
        """The spans. Raises what the other cut raises."""
        partition, blocks = self.hidden(backbone), len(backbone.blocks)
        return Partition((*partition.spans, Span(blocks, blocks)), f"{partition.origin}, classifier alone")


@final
@dataclass(frozen=True)
class PredSim:
    """Local error signals: linear classifiers and similarity matching, per unit.

    ``beta`` is the share of similarity matching in "predsim": beta * sim + (1 - beta) * pred. ``max_features`` bounds
    the features that a local classifier reads: None is 4096 layer-wise (the paper takes 2048 for VGG8b and VGG11b on
    CIFAR, 1024 on MNIST) and 512 block-wise.

    A last span without blocks makes the classifier a unit of its own, a last span with blocks trains jointly with it;
    ``framework`` decides which of the two is made by default. So ``modules=K`` gives K + 1 units layer-wise and K
    block-wise; ``modules=1`` is backpropagation in both, since one module has no border.

    ``match`` is a method whose auxiliary networks the block-wise classifiers shall cost as much as, on its units:
    ``PredSim(framework="blockwise", match=AugLocal(depth=6))`` (AugLocal, table 9). A conv3x3, BatchNorm and ReLU is
    put in front of the pooling, as wide as that takes; what the paper put there is not known.

    ``aux_pool`` averages p x p features before classifier and similarity convolution where the map is larger than 8x8
    (``auxnets.PooledFirst``); vectors are left as they are.

    Similarities are taken within what one backward pass sees: under gradient accumulation within each part.

    Raises LocalgradError for beta outside [0, 1], max_features below 1, unknown words, and ``match`` where there is no
    classifier to enlarge or the framework is another.
    """

    loss: LocalLoss = "predsim"
    beta: float = 0.99
    max_features: int | None = None
    framework: Framework = "layerwise"
    match: Method | None = None
    aux_pool: int = 1

    def __post_init__(self) -> None:
        for name, choices in (("loss", get_args(LocalLoss)), ("framework", get_args(Framework))):
            word = getattr(self, name)
            if word not in choices:
                raise LocalgradError(f"PredSim: {name} {word!r} is unknown. {nearest(str(word), choices)}")
        if type(self.beta) not in (int, float) or not (isfinite(self.beta) and 0 <= self.beta <= 1):
            raise LocalgradError(
                f"PredSim: beta is the share of similarity matching and must be between 0 and 1, got {self.beta!r}."
            )
        if self.max_features is not None and (type(self.max_features) is not int or self.max_features < 1):
            raise LocalgradError(
                f"PredSim: max_features must be a whole number of at least 1, or None for {MAX_FEATURES['layerwise']} "
                f"layer-wise and {MAX_FEATURES['blockwise']} block-wise, got {self.max_features!r}."
            )
        if self.loss != "predsim":
            check_effect(self, ["beta"], f"with loss={self.loss!r}")
        if self.loss == "sim":
            check_effect(self, ["max_features"], "with loss='sim', which classifies nothing")
        check_match("PredSim", self.match)
        check_aux_pool(self)
        if self.match is not None and (self.framework != "blockwise" or self.loss == "sim"):
            raise LocalgradError(
                "PredSim: match enlarges the local classifiers of framework='blockwise' with loss 'predsim' or 'pred', "
                f"got framework={self.framework!r}, loss={self.loss!r}. Leave match out."
            )

    @property
    def needs(self) -> frozenset[str]:
        """Labels."""
        return frozenset({"y"})

    @property
    def reach(self) -> int:
        """Each loss updates its own unit."""
        return 1

    def cut(self, backbone: Backbone, modules: int | None) -> Cut:
        """The papers' table for ``modules``, one module per block by default; layer-wise the classifier on top."""
        count = len(backbone.blocks) if modules is None else modules
        if self.framework == "blockwise" or modules == 1:
            return PaperTable(count)
        return ClassifierAlone(PaperTable(count) if backbone.source is None else EqualMacs(count))

    def units(self, backbone: Backbone, partition: Partition) -> tuple[UnitSpec, ...]:
        """One unit per span. Raises LocalgradError for neuron groups and outputs that are neither map nor vector."""
        if any(span.groups for span in partition.spans):
            raise LocalgradError("partition: this method trains spans whole, got spans with neuron groups.")
        layerwise, classes = self.framework == "layerwise", backbone.num_classes
        decoders: tuple[AuxSpec, ...] | None = None
        if self.match is not None and len(partition) > 1:
            compared = reference(self.match, backbone, partition)
            partition = compared.partition
            decoders = enlarged(compared, lambda shape, width: self._behind_conv(shape, width, classes))
        initialise: Initialiser = keep_default if layerwise else backbone.initialise_aux or backbone.initialise
        views, last = views_of(backbone), partition.spans[-1]
        units = []
        for j, span in enumerate(partition.spans[:-1]):
            name = unit_name(backbone, span.stop, span.start)
            decoder = None if decoders is None else decoders[j]
            view = views[span.stop - 1]
            seen = self.objectives(view.shape, classes, name, decoder=decoder)
            objectives = tuple(replace(objective, aux=view.of(objective.aux)) for objective in seen)
            units.append(UnitSpec(j, name, span, objectives, initialise=initialise))
        alone = layerwise and len(last) == 0
        weight = 1 - self.beta if alone and self.loss == "predsim" else 1.0
        task = Objective("task", backbone.head, cross_entropy, weight)
        units.append(
            UnitSpec(
                len(units),
                unit_name(backbone, last.stop, last.start),
                last,
                (task,),
                initialise=initialise,
                initialise_head=zero_output if alone else None,
            )
        )
        return tuple(units)

    def objectives(
        self, shape: Shape, num_classes: int, name: str = "", *, decoder: AuxSpec | None = None
    ) -> tuple[Objective, ...]:
        """The losses of a unit ``name`` whose output has ``shape``: (C, H, W), or (F,).

        ``decoder`` takes the place of the local classifier. Raises LocalgradError for any other shape.
        """
        if len(shape) not in (1, 3):
            raise LocalgradError(
                f"PredSim: unit {name!r} has an output of shape {tuple(shape)} per sample; its local losses read "
                "feature maps (C, H, W) and vectors (F,). Cut the network elsewhere."
            )
        both = self.loss == "predsim"
        pool = self.aux_pool if len(shape) == 3 else 1
        read = pooled_shape(shape, pool)
        classifier = decoder or pooled_first(self._decoder(read, num_classes), shape, pool)
        pred = Objective("pred", classifier, cross_entropy, 1 - self.beta if both else 1.0)
        matching = SimilarityMatching(num_classes)
        similarity = pooled_first(SimilarityNet(read), shape, pool)
        sim = Objective("sim", similarity, matching, self.beta if both else 1.0, pairs=True)
        match self.loss:
            case "predsim":
                return (sim, pred)
            case "pred":
                return (pred,)
            case "sim":
                return (sim,)
            case _:
                assert_never(self.loss)

    def _decoder(self, shape: Shape, num_classes: int) -> PooledDecoder:
        most = MAX_FEATURES[self.framework] if self.max_features is None else self.max_features
        return PooledDecoder(shape, num_classes, most, zero=self.framework == "layerwise")

    def _behind_conv(self, shape: Shape, width: int, num_classes: int) -> AuxSpec:
        """The local classifier behind a convolution to ``width`` channels."""
        channels, *size = pooled_shape(shape, self.aux_pool)
        aux = Truncated((ConvBNReLU(channels, width),), self._decoder((width, *size), num_classes))
        return pooled_first(aux, shape, self.aux_pool)
