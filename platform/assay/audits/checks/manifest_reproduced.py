"""The clean AUROC on the validation split is the one the manifest names: this is the detector that was trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.audits.checks._context import Context
from assay.audits.checks._result import CheckResult, not_applicable, result
from assay.contracts import Images
from assay.data import splits
from assay.metrics import detection
from assay.models import model_folder
from assay.models.scoring import clean_scores

ORDER = 21
APART = 1e-4
ON_ANOTHER_DEVICE = 2
"""Pairs of a normal and an anomaly that may change places where a GPU made one of the figures, as it sums otherwise."""


def manifest_reproduced(context: Context) -> CheckResult:
    """The clean AUROC on the validation split is the manifest's (Carlini et al., sec. on clean accuracy)."""
    validation = context.validation or validation_of(context.manifest)
    if validation is None:
        return not_applicable("manifest_reproduced", "the model's manifest names no clean AUROC on a validation split")
    stated = float(context.manifest["figures"]["clean_auroc"])
    measured = detection.auroc(validation.labels, clean_scores(context.detector, validation, context.device))
    allowed, anomalies = APART, int(validation.labels.sum())
    if context.device != "cpu" or context.manifest.get("environment", {}).get("hardware", {}).get("gpus"):
        allowed = max(APART, ON_ANOTHER_DEVICE / (anomalies * (len(validation) - anomalies)))
    evidence = (
        f"clean AUROC on the {len(validation)} validation images is {measured:.4f}, {stated:.4f} in the model's "
        f"manifest; they may differ by {allowed:.2g}"
    )
    apart = abs(measured - stated)
    # A random score reproduces nothing to the fourth digit; `averaged_over_draws` says what it takes instead.
    required = not context.facts.stochastic
    return result("manifest_reproduced", apart <= allowed, evidence, apart, allowed, len(validation), required=required)


def validation_of(manifest: Mapping[str, Any]) -> Images | None:
    """The validation split on which a manifest gives the clean AUROC; None where it gives none."""
    figures, item = manifest.get("figures", {}), manifest.get("dataset", {}).get("item")
    if item is None or figures.get("split") != "validation" or "clean_auroc" not in figures:
        return None
    return splits.training_data(model_folder.dataset_of(item)).validation
