"""The Parquet tables Assay writes: their columns, and nothing else. Each can be read alone, years later."""

from __future__ import annotations

import pyarrow as pa

GROUP, CATEGORY = "group", "category"
NEWER = (GROUP, CATEGORY, "normal_groups", "anomaly_groups")
"""Columns that older tables lack; their samples are taken for independent, and for those of one category."""

SCORES = pa.schema(
    [
        ("model", pa.string()),  # content hash of the model folder
        ("dataset", pa.string()),  # content hash of the dataset
        ("sample", pa.string()),
        ("sample_hash", pa.string()),  # of the decoded uint8 pixels
        ("label", pa.int8()),  # 0 normal, 1 anomalous
        ("defect", pa.string()),  # "normal" or the kind
        ("attack", pa.string()),  # the name of the entry in the suite, such as pgd-linf
        ("parameters", pa.string()),  # hash of the attack and its parameters
        ("norm", pa.string()),
        ("epsilon", pa.float64()),  # pixel scale
        ("regime", pa.string()),  # evasion (anomalies) or false_alarm (normals); `both` is their union
        ("direction", pa.int8()),  # +1 raises the score, -1 lowers it
        ("clean_score", pa.float64()),
        ("adversarial_score", pa.float64()),
        ("rounded_score", pa.float64()),  # after rounding to 8 bits and re-projecting into the ball
        ("selection_score", pa.float64()),  # adversarial_score; of a random score another draw of it
        ("linf", pa.float64()),
        ("l2", pa.float64()),
        ("l1", pa.float64()),
        ("patch", pa.float64()),  # share of the image's area of the smallest square around all that was changed
        ("forwards", pa.int64()),
        ("backwards", pa.int64()),
        ("broken_at", pa.int64()),  # forwards after which the score first crossed the threshold; -1 never or unknown
        ("seconds", pa.float64()),
        ("seed", pa.int64()),
        (
            GROUP,
            pa.string(),
        ),  # the physical part, whose images are not independent; the sample itself where it has none
        (CATEGORY, pa.string()),  # the kind of product, where the dataset has several
    ]
)

DEPLOYED = pa.schema(
    [
        ("model", pa.string()),
        ("dataset", pa.string()),
        ("sample", pa.string()),
        ("sample_hash", pa.string()),
        ("label", pa.int8()),
        ("defect", pa.string()),
        ("attack", pa.string()),  # the entry of the suite that made the image, on the audited detector
        ("norm", pa.string()),
        ("epsilon", pa.float64()),
        ("direction", pa.int8()),
        ("audited_clean_score", pa.float64()),  # of the audited detector
        ("audited_score", pa.float64()),  # of the same image under attack
        ("clean_score", pa.float64()),  # of the deployed file, on its own scale
        ("adversarial_score", pa.float64()),
        ("rounded_score", pa.float64()),
        ("seed", pa.int64()),
        (GROUP, pa.string()),
    ]
)
"""The images of SCORES, scored by the file that is deployed in place of the audited detector."""

CORRUPTED = pa.schema(
    [
        ("model", pa.string()),
        ("dataset", pa.string()),
        ("sample", pa.string()),
        ("sample_hash", pa.string()),
        ("label", pa.int8()),
        ("defect", pa.string()),
        ("corruption", pa.string()),
        ("severity", pa.int8()),  # 1 to 5
        ("clean_score", pa.float64()),
        ("score", pa.float64()),
        ("seconds", pa.float64()),
        ("seed", pa.int64()),
        (GROUP, pa.string()),
    ]
)

VALIDATION_SCORES = pa.schema(
    [
        ("sample", pa.string()),
        ("label", pa.int8()),
        ("clean_score", pa.float64()),
        ("adversarial_score", pa.float64()),  # after the attack of the search space's evaluation
        (GROUP, pa.string()),
    ]
)
"""The validation images as a trial's kept epoch scores them."""

CERTIFIED = pa.schema(
    [
        ("model", pa.string()),
        ("dataset", pa.string()),
        ("sample", pa.string()),
        ("sample_hash", pa.string()),
        ("label", pa.int8()),
        ("defect", pa.string()),
        ("norm", pa.string()),
        ("radius", pa.float64()),  # pixel scale
        ("lower", pa.float64()),  # the score stays between these two in the whole ball
        ("upper", pa.float64()),
        ("confidence", pa.float64()),  # of all the bounds of the audit at once
        ("seconds", pa.float64()),
        ("seed", pa.int64()),
        (GROUP, pa.string()),
    ]
)

WORST_CASE = pa.schema(
    [
        ("model", pa.string()),
        ("sample", pa.string()),
        ("label", pa.int8()),
        ("defect", pa.string()),
        ("norm", pa.string()),
        ("epsilon", pa.float64()),  # the budget: any attack of this norm up to it
        ("clean_score", pa.float64()),
        ("score", pa.float64()),  # the one furthest in the attacker's direction
        ("rounded_score", pa.float64()),  # the furthest of those after rounding to 8 bits; maybe of another attack
        ("attack", pa.string()),  # that won, clean where none got beyond the clean image
        ("attack_epsilon", pa.float64()),  # at which it won
        (GROUP, pa.string()),
    ]
)
"""One row per sample and budget it was attacked at."""

COST = pa.schema(
    [
        ("attack", pa.string()),  # an entry of the suite, or any: all of that knowledge together
        ("norm", pa.string()),
        ("epsilon", pa.float64()),
        ("knowledge", pa.string()),
        ("samples", pa.int64()),
        ("forwards", pa.int64()),  # of all samples at this epsilon
        ("backwards", pa.int64()),
        ("seconds_per_sample", pa.float64()),
        ("at_risk", pa.int64()),  # samples on the right side of the threshold when clean
        ("broken", pa.int64()),  # of these, pushed across it at this epsilon or a smaller one
        ("share_broken", pa.float64()),  # NaN where none is at risk
        ("timed", pa.int64()),  # of the broken, those whose time of crossing is known; the quartiles are over these
        ("queries_25", pa.float64()),  # forward passes to the crossing, those at smaller epsilons included
        ("queries_50", pa.float64()),
        ("queries_75", pa.float64()),
        ("seconds_25", pa.float64()),  # seconds to the crossing, pro rata of the passes
        ("seconds_50", pa.float64()),
        ("seconds_75", pa.float64()),
    ]
)

MINIMAL = pa.schema(
    [
        ("model", pa.string()),
        ("dataset", pa.string()),
        ("sample", pa.string()),
        ("sample_hash", pa.string()),
        ("label", pa.int8()),
        ("defect", pa.string()),
        ("norm", pa.string()),
        ("threshold", pa.float64()),
        ("clean_score", pa.float64()),
        ("clean_correct", pa.bool_()),
        ("epsilon", pa.float64()),  # smallest found that turns the decision; 0 if wrong already, inf if none was found
        ("largest", pa.float64()),  # up to here it was looked for
        ("forwards", pa.int64()),
        ("backwards", pa.int64()),
        ("seconds", pa.float64()),
        ("seed", pa.int64()),
        (GROUP, pa.string()),
    ]
)

METRICS = pa.schema(
    [
        # clean, an entry of the suite, worst (per-sample worst case over all), worst_8bit (the same of the scores after
        # rounding to 8 bits, as a camera delivers them), a corruption, or certified (the proven floor under worst);
        # with `deployed:` before it, of the same images on the deployed file
        ("attack", pa.string()),
        ("norm", pa.string()),  # of the threat model, "corruption", or "" for clean
        ("epsilon", pa.float64()),  # 0 for clean; of a corruption its severity
        ("regime", pa.string()),  # evasion, false_alarm, both, natural (a corruption), or "" for clean
        # all, one defect kind against all normals, or worst_kind (the worst of them, `anomalies` those of the rarest);
        # where a dataset has several categories, kinds are against the normals of their own, and there is one category,
        # and worst_category
        ("defect", pa.string()),
        # auroc, average_precision, fpr95, miss_rate, false_alarm_rate, curve_area (under the AUROC over epsilon), or
        # decisions_differ (share of the samples that the deployed file decides otherwise)
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("lower", pa.float64()),  # bounds of the bootstrap interval
        ("upper", pa.float64()),
        ("confidence", pa.float64()),
        ("normals", pa.int64()),
        ("anomalies", pa.int64()),
        ("normal_groups", pa.int64()),  # how many groups hold the normals: as many as there are normals if independent
        ("anomaly_groups", pa.int64()),
    ]
)

CHECKS = pa.schema(
    [
        ("check", pa.string()),
        ("passed", pa.bool_()),
        ("required", pa.bool_()),  # a required check that fails makes the audit INVALID
        ("evidence", pa.string()),  # one sentence for a person, with the figures
        ("value", pa.float64()),
        ("limit", pa.float64()),
        ("samples", pa.int64()),
    ]
)

WORST = pa.schema(
    [
        ("sample", pa.string()),
        ("label", pa.int8()),
        ("defect", pa.string()),
        ("attack", pa.string()),
        ("norm", pa.string()),
        ("epsilon", pa.float64()),
        ("clean_score", pa.float64()),
        ("adversarial_score", pa.float64()),
        ("shift", pa.float64()),  # how far the attacker moved the score his way, >= 0
        ("clean_png", pa.binary()),
        ("adversarial_png", pa.binary()),
    ]
)

EXPLANATIONS = pa.schema(
    [
        ("sample", pa.string()),
        ("label", pa.int8()),
        ("defect", pa.string()),
        ("score", pa.float64()),
        ("place", pa.int64()),  # among the anomalies, 1 the lowest score
        ("anomalies", pa.int64()),  # that were ranked
        ("pixel_auroc", pa.float64()),  # of this map against its mask; NaN without one
        ("image_png", pa.binary()),
        ("map_png", pa.binary()),  # black 0, white the map's own largest value
        ("mask_png", pa.binary()),  # null without a mask
    ]
)

LOCALISATION = pa.schema(
    [
        ("defect", pa.string()),  # all, or one kind
        ("metric", pa.string()),  # pixel_auroc or aupro
        ("value", pa.float64()),
        ("lower", pa.float64()),  # bounds of the bootstrap over images, NaN where these are too few
        ("upper", pa.float64()),
        ("confidence", pa.float64()),
        ("images", pa.int64()),  # anomalies whose mask marks a part of them
        ("regions", pa.int64()),  # connected parts of these masks
        ("left_out", pa.int64()),  # anomalies without such a mask
        ("normals", pa.int64()),  # whose pixels count among the false alarms of aupro
    ]
)

BANK_SCORES = pa.schema(
    [
        ("model", pa.string()),
        ("dataset", pa.string()),
        ("sample", pa.string()),
        ("sample_hash", pa.string()),
        ("label", pa.int8()),
        ("defect", pa.string()),
        ("share", pa.float64()),  # of the deployed bank's rows that were kept
        ("rows", pa.int64()),
        ("norm", pa.string()),
        ("epsilon", pa.float64()),
        ("clean_score", pa.float64()),
        ("adversarial_score", pa.float64()),  # NaN where the score has no gradient
        ("seconds_25", pa.float64()),  # to score an image, quartiles over repeated passes
        ("seconds_50", pa.float64()),
        ("seconds_75", pa.float64()),
        ("seed", pa.int64()),
        (GROUP, pa.string()),
    ]
)

BANK_SIZE = pa.schema(
    [
        ("share", pa.float64()),
        ("rows", pa.int64()),
        ("norm", pa.string()),
        ("epsilon", pa.float64()),
        ("clean_auroc", pa.float64()),
        ("clean_lower", pa.float64()),
        ("clean_upper", pa.float64()),
        ("robust_auroc", pa.float64()),  # under one short attack: too good; NaN where none could be made
        ("robust_lower", pa.float64()),
        ("robust_upper", pa.float64()),
        ("confidence", pa.float64()),
        ("normals", pa.int64()),
        ("anomalies", pa.int64()),
        ("seconds_25", pa.float64()),
        ("seconds_50", pa.float64()),
        ("seconds_75", pa.float64()),
    ]
)
"""One row per size of the neighbour bank."""

IMPORTANCE = pa.schema(
    [
        ("objective", pa.string()),
        ("parameter", pa.string()),
        ("importance", pa.float64()),  # share of the sum over all parameters, 0 to 1; NaN where too few trials
        ("lower", pa.float64()),  # bounds of the bootstrap over trials
        ("upper", pa.float64()),
        ("chance", pa.float64()),  # what a parameter without any effect stays below, with that confidence
        ("confidence", pa.float64()),
        ("trials", pa.int64()),  # complete ones that have the parameter
        ("complete", pa.int64()),
    ]
)

FIDELITY = pa.schema(
    [
        ("model", pa.string()),
        ("trial", pa.int64()),
        ("audit", pa.string()),
        ("suite", pa.string()),
        ("limit", pa.int64()),  # samples of each class that were attacked, null for all
        ("metric", pa.string()),  # clean_auroc or robust_auroc
        ("norm", pa.string()),  # of the sweep's own attack
        ("epsilon", pa.float64()),
        ("cheap", pa.float64()),  # the sweep's figure, on validation
        ("cheap_lower", pa.float64()),
        ("cheap_upper", pa.float64()),
        ("audited", pa.float64()),  # the audit's, on test, worst case over its attacks; NaN where it has no such budget
        ("audited_lower", pa.float64()),
        ("audited_upper", pa.float64()),
        ("gap", pa.float64()),  # cheap less audited
        ("gap_lower", pa.float64()),
        ("gap_upper", pa.float64()),
        ("confidence", pa.float64()),
    ]
)
"""Two rows per model of a sweep that was audited."""

RUNGS = pa.schema(
    [
        ("rung", pa.string()),  # its attack, and the part of the images that it has
        ("passed", pa.int64()),  # trials measured at it
        ("stopped", pa.int64()),  # those that ended there
        ("checked", pa.int64()),  # those that the full attack measured as well
        ("correlation", pa.float64()),  # Spearman's, of both figures of the checked; NaN for too few
        ("regret", pa.float64()),  # the best checked that was stopped less the best that went on; NaN where one lacks
        ("misled", pa.string()),  # trials that fall far under the full attack, in words
    ]
)
"""One row per lower rung of a sweep's fidelity ladder."""

TRIALS = [
    ("trial", pa.int64()),
    ("state", pa.string()),  # complete, pruned, failed, running
    ("pareto", pa.bool_()),
    ("epoch", pa.int64()),  # the epoch that was kept
    ("epochs", pa.int64()),  # epochs trained
    ("model", pa.string()),  # content hash of the model folder, "" if none
    ("seed", pa.int64()),
    ("seconds", pa.float64()),
    ("attempts", pa.int64()),
    ("failure", pa.string()),  # kind of failure, "" if none
    ("message", pa.string()),
    ("parameters", pa.string()),  # JSON of what varied
    ("config", pa.string()),  # JSON of the whole configuration
    ("detector", pa.string()),  # the trainable
    ("rung", pa.string()),  # "" or the lower rung of the fidelity ladder on which it stopped
]
"""Fixed columns of trials.parquet; `objective.<name>` (float), its 95 % bounds `lower.<name>` and `upper.<name>`, and
`parameter.<key>` columns follow them."""

NEWER_OF_TRIALS = ("detector", "rung")
"""Columns of TRIALS that older tables lack."""
