"""Figures of the least robust seed of training, as the model's manifest has them, for gates on `worst_seed`.

A model that robustly trains with one seed and not with another was lucky. A search space with `seeds:` trains its best
configuration several times; their figures are of validation images, under the sweep's attack, and not the audit's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from assay.approval.figure import FigureName
from assay.errors import DataError
from assay.hashing import digest
from assay.metrics import groups, intervals
from assay.models import model_folder
from assay.store.audit_reader import Audit
from assay.store.figures import Figure
from assay.store.score_matrix import ALL, SEED, SEED_CLEAN

OBJECTIVES = {SEED_CLEAN: "clean_auroc", SEED: "robust_auroc"}


def figures(audit: Audit, confidence: float) -> list[Figure]:
    """The figures there are, with their bounds; none where the model was trained with a single seed.

    Raises DataError where the audit's manifest is not that of its model, or holds no figures in its `seeds`.
    """
    content = audit.folder.read("manifest.json")
    if not model_folder.names(str(audit.info["model"]), digest(content)):
        raise DataError(
            f"{audit.folder.place('manifest.json')} is not that of model {audit.info['model']}, so it was changed; "
            "restore it from models/ or run the same audit again"
        )
    manifest: Mapping[str, Any] = json.loads(content)
    told, counts = manifest.get("seeds"), groups.of_split(manifest["dataset"], "validation")
    if not told or counts is None or int(told["trained"]) < 2:
        return []
    found = []
    for attack, objective in OBJECTIVES.items():
        if objective in told["worst"]:
            value = float(told["worst"][objective])
            lower, upper = bounds(value, *counts, int(told["trained"]), confidence)
            of = _name(attack, manifest["evaluation"])
            found.append(Figure(*_fields(of), value, lower, upper, confidence, *counts))
    return found


def bounds(value: float, normals: int, anomalies: int, seeds: int, confidence: float) -> tuple[float, float]:
    """Of the least AUROC of several seeds, each measured on so many independent images, without their scores.

    The wider of two closed forms, as a seed may misrank a few images wholly. The upper bound is too low where that of
    any seed is, so the error is divided among them (Bonferroni), and the second form is the exact one, which far out in
    the tail is wider than Wilson's; the lower bound is too high only where that of the truly worst seed is.
    """
    divided, few = 1 - (1 - confidence) / seeds, min(normals, anomalies)
    lower = min(form(value, normals, anomalies, confidence)[0] for form in (intervals.newcombe, intervals.auroc))
    above = intervals.newcombe(value, normals, anomalies, divided)[1]
    return lower, max(above, intervals.clopper_pearson(value * few, few, divided)[1])


def _name(attack: str, evaluation: Mapping[str, Any]) -> FigureName:
    if attack == SEED_CLEAN:
        return FigureName(SEED_CLEAN, "", 0.0, "", ALL, "auroc")
    return FigureName(SEED, str(evaluation.get("norm", "linf")), float(evaluation["epsilon"]), "both", ALL, "auroc")


def _fields(name: FigureName) -> tuple[str, str, float, str, str, str]:
    return name.attack, name.norm, name.epsilon, name.regime, name.defect, name.metric
