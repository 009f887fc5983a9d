"""Which choice bought the robustness: every loss with every pseudo-anomaly of `search_spaces/ablation.yaml`, in pairs.

    python benchmarks/ablation.py --out ablation-runs                every seed; what is there is not run again
    python benchmarks/ablation.py --out ablation-runs --seeds 0 1    some of them, so that others can run beside
    python benchmarks/ablation.py --out ablation-runs --table FILE --seeds   the tables of what is there

A seed is a split of the data and a training: two cells of the same seed saw the same images, so their difference is
taken seed by seed and its interval (Student's t) is over seeds. The detector is that of the last epoch: no figure chose
it. Robust AUROC is of the worst score of each test image over ATTACKS, normals raised and anomalies lowered. The cell
called best is chosen on validation images, and compared with the baseline on test images.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import torch
from scipy import stats

from assay import shelves
from assay.config import reader, space
from assay.config.search_space import Spec
from assay.contracts import Images
from assay.data import splits
from assay.metrics import detection
from assay.models.scoring import clean_scores
from assay.sweeps.evaluation import attacked_scores

SPACE = "search_spaces/ablation.yaml"
SEEDS = (0, 1, 2, 3, 4)
BASELINE = ("none", "cutpaste")
ATTACKS: list[dict[str, Any]] = [
    {"attack": "pgd", "steps": 20, "restarts": 2},
    {"attack": "apgd", "steps": 50},
    {"attack": "neighbours", "steps": 30},
]
LOSSES = {
    "none": "classification only",
    "nt_xent": "NT-Xent",
    "supcon": "SupCon",
    "cobra_as_released": "COBRA, as released",
    "cobra": "COBRA, fixed",
}


def assignments(whole: Spec) -> list[dict[str, Any]]:
    """Every combination of the search space's choices."""
    options = [[(key, value) for value in domain.corners()] for key, domain in whole.domains.items()]
    return [dict(combination) for combination in itertools.product(*options)]


def cell(whole: Spec, assignment: dict[str, Any], seed: int) -> dict[str, Any]:
    """One training and its figures on validation and test images."""
    started = time.monotonic()
    item: Any = shelves.load("trainables", "cobra")
    made: Any = shelves.load("datasets", "elpv")
    parameters = {key: value for key, value in whole.plain()["dataset"].items() if key != "name"}
    dataset = made(**shelves.bind(made, parameters | {"split_seed": seed}))
    run = item(splits.training_data(dataset), seed=seed, **shelves.bind(item, whole.config(assignment)))
    for _ in range(run.epochs):
        run.train_epoch()
    trained = time.monotonic()
    detector, test, validation = run.detector(), splits.test_images(dataset), splits.training_data(dataset).validation
    threat = {"norm": "linf", "epsilon": whole.evaluation.epsilon}
    by_attack = {attack["attack"]: attacked_scores(detector, test, attack | threat, seed) for attack in ATTACKS}
    return {
        **{key: str(value) for key, value in space.parameters(assignment).items() if ".of." not in key},
        "seed": seed,
        "clean": detection.auroc(test.labels, clean_scores(detector, test)),
        "robust": detection.auroc(test.labels, worst(test, by_attack)),
        **{f"robust_{name}": detection.auroc(test.labels, scores) for name, scores in by_attack.items()},
        "validation_clean": detection.auroc(validation.labels, clean_scores(detector, validation)),
        "validation_robust": detection.auroc(
            validation.labels, attacked_scores(detector, validation, ATTACKS[0] | threat, seed)
        ),
        "train_seconds": trained - started,
        "seconds": time.monotonic() - started,
    }


def worst(images: Images, by_attack: dict[str, Any]) -> Any:
    """Of each image the score that is worst for the defender: a normal's highest, an anomaly's lowest."""
    scores = np.stack(list(by_attack.values()))
    return np.where(images.labels == 0, scores.max(0), scores.min(0))


def run_missing(whole: Spec, out: Path, epsilon: float, seeds: list[int]) -> None:
    """Run the cells that have no file yet, seed by seed, so that what is there is always whole seeds and a rest."""
    out.mkdir(parents=True, exist_ok=True)
    for seed, assignment in itertools.product(seeds, assignments(whole)):
        if abs(assignment["adversary.epsilon"] - epsilon) > 1e-9:
            continue
        flat = space.parameters(assignment)
        name = f"{flat['loss.pairs']}-{flat['pseudo_anomaly']}-{round(255 * epsilon)}-{seed}"
        file = out / f"{name}.parquet"
        if file.exists():
            continue
        found = cell(whole, assignment, seed)
        pq.write_table(pa.Table.from_pylist([found]), out / f"{name}.part")
        (out / f"{name}.part").rename(file)
        print(f"{name}: clean {found['clean']:.3f} robust {found['robust']:.3f}  {found['seconds']:.0f} s", flush=True)


Cells = dict[tuple[str, str], dict[int, dict[str, Any]]]
"""By loss and pseudo-anomaly, the figures of every seed."""


def read(out: Path, epsilon: float) -> Cells:
    """What has been run at a training budget."""
    cells: Cells = {}
    files = sorted(map(str, out.glob("*.parquet")))
    for row in pa.dataset.dataset(files).to_table().to_pylist() if files else []:
        if abs(float(row["adversary.epsilon"]) - epsilon) < 1e-9:
            cells.setdefault((row["loss.pairs"], row["pseudo_anomaly"]), {})[row["seed"]] = row
    return cells


def interval(values: Any) -> tuple[float, float, float]:
    """Mean of a sample and the 95 % interval of the mean by Student's t."""
    found = np.asarray(values, dtype=float)
    half = stats.t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found))
    return float(found.mean()), float(found.mean() - half), float(found.mean() + half)


def margin(cells: Cells, one: tuple[str, str], other: tuple[str, str], figure: str) -> tuple[float, float, float]:
    """By how much one cell is better than another, in pairs of the seeds both have."""
    seeds = cells[one].keys() & cells[other].keys()
    return interval([cells[one][seed][figure] - cells[other][seed][figure] for seed in sorted(seeds)])


def table(cells: Cells) -> list[str]:
    """Markdown: a row a cell, best on validation first, with its margin over the baseline."""
    lines = [
        "| loss | pseudo-anomaly | clean AUROC | robust AUROC | robust, above the baseline |",
        "| --- | --- | --- | --- | --- |",
    ]
    for key in ranked(cells):
        own = [_shown(interval([row[figure] for row in cells[key].values()])) for figure in ("clean", "robust")]
        above = "the baseline" if key == BASELINE else _shown(margin(cells, key, BASELINE, "robust"), sign="+")
        lines.append(f"| {LOSSES[key[0]]} | {key[1]} | {own[0]} | {own[1]} | {above} |")
    return lines


def main_effects(cells: Cells) -> list[str]:
    """Markdown: each loss against classification alone and each pseudo-anomaly against cutpaste, over all cells."""
    lines = ["| choice | against | clean AUROC | robust AUROC |", "| --- | --- | --- | --- |"]
    names = sorted({pseudo for _, pseudo in cells})
    for axis, base, levels in ((0, "none", list(LOSSES)), (1, "cutpaste", names)):
        for level in levels:
            if level == base:
                continue
            shown = [_shown(_effect(cells, axis, level, base, figure), sign="+") for figure in ("clean", "robust")]
            lines.append(f"| {LOSSES.get(level, level)} | {LOSSES.get(base, base)} | {shown[0]} | {shown[1]} |")
    return lines


def _effect(cells: Cells, axis: int, level: str, base: str, figure: str) -> tuple[float, float, float]:
    """The mean over the other axis of the difference two levels make, a value a seed."""
    pairs = [(key, (base, key[1]) if axis == 0 else (key[0], base)) for key in cells if key[axis] == level]
    seeds = set.intersection(*(set(cells[key]) & set(cells[other]) for key, other in pairs))
    return interval(
        [np.mean([cells[a][seed][figure] - cells[b][seed][figure] for a, b in pairs]) for seed in sorted(seeds)]
    )


def ranked(cells: Cells) -> list[tuple[str, str]]:
    """The cells, the best mean robust AUROC on validation images first."""
    return sorted(cells, key=lambda key: -np.mean([row["validation_robust"] for row in cells[key].values()]))


def _shown(found: tuple[float, float, float], sign: str = "") -> str:
    mean, low, high = (f"{value:{sign}.3f}" for value in found)
    return f"{mean} [{low}, {high}]"


def main() -> None:
    """Run what is missing, then print both tables and the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the Parquet files, one a cell")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    parser.add_argument("--epsilon", type=int, default=4, help="of the training adversary, in 255ths; 0 trains plainly")
    parser.add_argument("--epochs", type=int, default=None, help="fewer, to see that it works")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", type=Path, default=None, help="markdown file to write the tables to")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    whole = reader.read(SPACE, [f"fixed.epochs={options.epochs}"] if options.epochs else [])
    run_missing(whole, options.out, options.epsilon / 255, list(options.seeds))
    cells = read(options.out, options.epsilon / 255)
    counts = {len(rows) for rows in cells.values()}
    if BASELINE not in cells or min(counts) < 2:
        print("fewer than two seeds of some cell, so no interval yet")
        return
    lines = [*table(cells), "", *main_effects(cells)]
    print("\n".join(lines))
    if options.table:
        options.table.write_text("\n".join(lines) + "\n")
    best = next(key for key in ranked(cells) if key != BASELINE)
    mean, low, high = margin(cells, best, BASELINE, "robust")
    print(
        f"RESULT best={'+'.join(best)} robust_margin={mean:.4f} lower={low:.4f} upper={high:.4f} "
        f"cells={len(cells)} seeds={min(counts)}"
    )


if __name__ == "__main__":
    main()
