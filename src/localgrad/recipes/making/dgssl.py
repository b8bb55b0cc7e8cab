"""Recipes of DGSSL, DGSSL-LLM and SimCLR, which is DGSSL of one module."""

from pathlib import Path
from typing import Any

from localgrad.data import Views
from localgrad.errors import LocalgradError
from localgrad.losses import PairSimilarity
from localgrad.methods import DGSSL, Calibrated, Given, PairSelection, Running, read_calibration
from localgrad.methods.dgssl import Head
from localgrad.methods.dgssl_selection import Difficulty, Thresholds
from localgrad.recipes.making.setting import Recipe, Setting
from localgrad.train import Run

NORMALISED: dict[str, Any] = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010)}
"""The thesis' normalisation of CIFAR-10 (figure A.2)."""

WITH_VIEWS: dict[str, Any] = {"views": Views(), "knn_every": 1, "linear_every": 100}
"""The thesis' augmentation (figure A.2); kNN after each epoch (A.3), linear evaluation after every 100 (A.4, A.5)."""


def thresholds_from(calibration: Path | None, alphas: tuple[float, ...], betas: tuple[float, ...]) -> Thresholds:
    """Thresholds of a calibration's file, those given, or running quantiles. Raises LocalgradError for both at once."""
    if calibration is not None and (alphas or betas):
        raise LocalgradError(
            f"thresholds are read from calibration={calibration} or given as alphas and betas: leave one of them out."
        )
    if calibration is not None:
        return Calibrated(read_calibration(calibration))
    return Given(alphas, betas) if alphas or betas else Running()


def pair_selection(
    thresholds: Thresholds,
    ratio: float,
    negative_ratio: float | None,
    difficulty: Difficulty,
    negatives: bool,
    keep_positive: bool,
    similarity: PairSimilarity,
    pretrained: Path | None,
) -> PairSelection:
    """The selection that the options of a DGSSL-LLM recipe say; negative pairs have the ratio of positive ones."""
    return PairSelection(
        thresholds,
        ratio,
        ratio if negative_ratio is None else negative_ratio,
        difficulty,
        similarity,
        pretrained=pretrained,
        negatives=negatives,
        keep_positive=keep_positive,
    )


def simclr(at: Setting) -> Recipe:
    """SimCLR at a setting."""

    def simclr(
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """SimCLR, contrastive learning without labels, end to end."""
        return at.run(DGSSL(), 1, epochs, seed, data_root, download, data_options=NORMALISED, run_options=WITH_VIEWS)

    return at.named(simclr)


def dgssl(at: Setting, own_head: Head = "1c2f") -> Recipe:
    """DGSSL at a setting, with the head of its experiments there."""

    def dgssl(
        modules: int = at.modules,
        head: Head = own_head,
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """DGSSL, SimCLR module by module.

        Args:
            modules: the thesis' K
            head: the projection head of all modules but the last, with a convolution or without
        """
        return at.run(
            DGSSL(head), modules, epochs, seed, data_root, download, data_options=NORMALISED, run_options=WITH_VIEWS
        )

    return at.named(dgssl)


def dgssl_llm(at: Setting, own_head: Head = "1c2f") -> Recipe:
    """DGSSL-LLM at a setting, with the head of its experiments there."""

    def dgssl_llm(
        modules: int = at.modules,
        ratio: float = 0.95,
        negative_ratio: float | None = None,
        difficulty: Difficulty = "increasing",
        negatives: bool = True,
        keep_positive: bool = True,
        calibration: Path | None = None,
        alphas: tuple[float, ...] = (),
        betas: tuple[float, ...] = (),
        similarity: PairSimilarity = "own",
        pretrained: Path | None = None,
        head: Head = own_head,
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """DGSSL-LLM, DGSSL whose modules learn from easy pairs.

        Args:
            modules: the thesis' K
            ratio: sample ratio, the share of pairs that the module before the last keeps; earlier ones its powers
            negative_ratio: the same for negative pairs; ratio by default
            difficulty: whether later modules get harder pairs, or easier ones
            negatives: select negative pairs too; false is positive pairs alone
            keep_positive: keep the positive in the denominator; false is algorithm 7 as printed
            calibration: file of `localgrad calibrate`, the thesis' thresholds; running quantiles without it
            alphas: thresholds of positive pairs instead, one per module
            betas: thresholds of negative pairs instead, one per module
            similarity: whose similarities are compared with the thresholds
            pretrained: folder of a SimCLR run, with similarity pretrained
            head: the projection head of all modules but the last, with a convolution or without
        """
        thresholds = thresholds_from(calibration, alphas, betas)
        chosen = pair_selection(
            thresholds, ratio, negative_ratio, difficulty, negatives, keep_positive, similarity, pretrained
        )
        return at.run(
            DGSSL(head, selection=chosen),
            modules,
            epochs,
            seed,
            data_root,
            download,
            data_options=NORMALISED,
            run_options=WITH_VIEWS,
        )

    return at.named(dgssl_llm)
