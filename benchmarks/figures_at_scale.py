"""Figures of many scores: the time of the bootstrap, of writing ten million rows, and the memory of a report of them.

    python benchmarks/figures_at_scale.py        3 minutes, 0.6 GB of disk in a temporary folder

1. All figures of 10,000 samples x 40 attack settings with 2,000 draws: every setting in three regimes, the worst case,
   the worst case at 8 bits. Target: at most 20 s. Rival: one call of each scikit-learn metric per draw, timed on a few
   draws and extrapolated.
2. 10 million rows of SCORES (250,000 samples x 40 settings) written in 40 parts, from arrays to files on disk. Target:
   at least 1 million rows a second. Rival: `pyarrow.Table.from_pylist` of dictionaries, on a few rows.
3. Figures, worst case, costs and report of these rows, in a process of its own. Target: a peak of at most 1 GB. With
   50 draws, for time; resamples are made in blocks, so more of them need more time and hardly more memory.
"""

from __future__ import annotations

import io
import os
import resource
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from assay.metrics import attack_cost, detection, worst_case
from assay.reports import page as report
from assay.store import parquet, score_matrix
from assay.store.audit_reader import Audit
from assay.store.schemas import SCORES
from assay.store.score_matrix import SCORE, ScoreMatrix, Setting
from assay.store.store import Store

ATTACKS = {f"{name}-{norm}": norm for norm in ("linf", "l2") for name in ("noise", "pgd", "apgd", "square")}
EPSILONS = {"linf": [1 / 255, 2 / 255, 3 / 255, 4 / 255, 8 / 255], "l2": [0.1, 0.25, 0.5, 0.75, 1.0]}
SLICES = 5
THRESHOLD, KINDS = 1.0, ["crack", "stain"]


def samples(count: int) -> dict[str, Any]:
    """Ids, labels, defects and clean scores of so many samples, every second one anomalous."""
    labels = np.arange(count) % 2
    defects = np.where(labels == 1, np.array(KINDS)[np.arange(count) // 2 % 2], "normal").astype(object)
    ids = np.array([f"cell{number:07d}.png" for number in range(count)], dtype=object)
    hashes = np.array([f"{number:064x}" for number in range(count)], dtype=object)
    clean = np.random.default_rng(0).normal(2.0 * labels)
    return {"sample": ids, "sample_hash": hashes, "label": labels, "defect": defects, "clean_score": clean}


def moved(clean: np.ndarray, toward: np.ndarray, epsilon_place: int, rng: np.random.Generator) -> np.ndarray:
    """Scores after an attack."""
    return clean + toward * np.abs(rng.normal(0.3 * (epsilon_place + 1), 0.2, len(clean)))


def bootstrap_seconds() -> tuple[float, float, int]:
    """Seconds of the whole table of figures, those of the rival, and how many figures with a bootstrap it has."""
    given = samples(10_000)
    rng, toward = np.random.default_rng(1), 1 - 2 * given["label"]
    scores = {
        Setting(attack, norm, epsilon): moved(given["clean_score"], toward, place, rng)
        for attack, norm in ATTACKS.items()
        for place, epsilon in enumerate(EPSILONS[norm])
    }
    values = {SCORE: scores, "rounded_score": scores}
    labels = given["label"].astype(np.int8)
    defects = np.where(labels == 1, "crack", "normal").astype(object)  # one kind: figures of kinds are not asked for
    settings = tuple(sorted(scores))
    matrix = ScoreMatrix("m", "d", given["sample"], labels, defects, given["clean_score"], settings, values)
    started, cpu = time.perf_counter(), time.process_time()
    table = detection.table(matrix, threshold=THRESHOLD, replicates=2000)
    ours = time.perf_counter() - started
    print(f"processor time of the figures {time.process_time() - cpu:.1f} s")

    figures = sum(metric == "auroc" for metric in table["metric"].to_pylist())
    draws, one = 20, scores[settings[0]]
    started = time.perf_counter()
    for _ in range(draws):
        drawn = np.concatenate([rng.choice(np.flatnonzero(labels == label), 5000) for label in (0, 1)])
        y, s = labels[drawn], one[drawn]
        roc_auc_score(y, s), average_precision_score(y, s), roc_curve(y, s)
    return ours, (time.perf_counter() - started) / draws * 2000 * figures, figures


def columns(given: dict[str, Any], attack: str, norm: str, rows: slice, rng: np.random.Generator) -> dict[str, Any]:
    """The columns of SCORES of one part: an attack at all its epsilons on a slice of the samples."""
    part = {name: values[rows] for name, values in given.items()}
    count, toward = len(part["label"]), 1 - 2 * part["label"]
    scores = np.concatenate([moved(part["clean_score"], toward, place, rng) for place in range(5)]).astype(np.float32)
    repeated = {name: np.tile(values, 5) for name, values in part.items()}
    epsilon = np.repeat(EPSILONS[norm], count)
    repeated |= {"epsilon": epsilon, "adversarial_score": scores.astype(float), "rounded_score": scores.astype(float)}
    repeated |= {"direction": np.tile(toward, 5), "regime": np.where(repeated["label"] == 1, "evasion", "false_alarm")}
    repeated |= {"broken_at": rng.integers(1, 100, 5 * count), "forwards": np.full(5 * count, 100)}
    repeated |= {name: epsilon * rng.uniform(0.9, 1, 5 * count) for name in ("linf", "l2", "l1")}
    once = {"model": "m" * 64, "dataset": "d" * 64, "attack": attack, "parameters": "0123456789ab", "norm": norm}
    once |= {"backwards": 100, "seconds": 0.01, "seed": 0}
    return dict.fromkeys(SCORES.names, 0.0) | repeated | once | {"group": repeated["sample"]}


def write(folder: Path, count: int) -> tuple[float, float]:
    """Write 40 rows for each of so many samples; returns the rows a second, and those of the rival."""
    given, rng, store, seconds, rows = samples(count), np.random.default_rng(2), Store(folder), 0.0, 0
    size = len(given["label"]) // SLICES
    for attack, norm in ATTACKS.items():
        for part in range(SLICES):
            made = columns(given, attack, norm, slice(part * size, (part + 1) * size), rng)
            started = time.perf_counter()
            table = parquet.table(made, SCORES)
            store.write(f"scores/{attack}/part-{part}.parquet", parquet.dump(table))
            seconds += time.perf_counter() - started
            rows += len(table)
    few = table.slice(0, 20_000).cast(SCORES).to_pylist()
    started = time.perf_counter()
    pq.write_table(pa.Table.from_pylist(few, schema=SCORES), io.BytesIO())
    return rows / seconds, len(few) / (time.perf_counter() - started)


def tables_of(folder: Path, replicates: int) -> float:
    """Make the figures, worst case and costs of the scores in a folder, as an audit does; the seconds of reading."""
    started = time.perf_counter()
    store, keys = Store(folder), Audit(folder).parts("scores")
    files = {name: [key for key in keys if key.startswith(f"scores/{name}/")] for name in ATTACKS}
    matrix = score_matrix.read(parquet.parts(store, keys, score_matrix.columns()))
    read = time.perf_counter() - started
    found = detection.table(matrix, threshold=THRESHOLD, replicates=replicates)
    (folder / "metrics.parquet").write_bytes(parquet.dump(found))
    (folder / "worst_case.parquet").write_bytes(parquet.dump(worst_case.table(matrix)))
    half = len(matrix.samples) // 2
    del matrix
    knowledge = {name: "white-box" if "pgd" in name else "score" if "square" in name else "none" for name in ATTACKS}
    spent = {name: parquet.parts(store, of_attack, attack_cost.COLUMNS) for name, of_attack in files.items()}
    (folder / "cost.parquet").write_bytes(
        parquet.dump(attack_cost.table(spent, threshold=THRESHOLD, knowledge=knowledge))
    )
    info = yaml.safe_load((folder / "audit.yaml").read_text())
    info["suite"]["attacks"] = [
        {"name": name, "attack": name.partition("-")[0], "norm": norm, "knowledge": knowledge[name], "parameters": {}}
        | {"epsilons": EPSILONS[norm]}
        for name, norm in ATTACKS.items()
    ]
    info["samples"] = {"normals": half, "anomalies": half}
    info["threshold"]["value"] = THRESHOLD
    (folder / "audit.yaml").write_text(yaml.safe_dump(info))
    return read


def report_of(folder: Path) -> None:
    """Figures, worst case, costs and report of the scores in a folder; prints the seconds and the peak memory in MB."""
    started = time.perf_counter()
    read = tables_of(folder, 50)
    page = Path(report.write(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{read:.1f} {time.perf_counter() - started:.1f} {peak:.0f} {page.stat().st_size / 2**20:.2f}")


def main() -> None:
    """Measure, print and compare with the targets."""
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    ours, rival, figures = bootstrap_seconds()
    print(
        f"2,000 draws over 10,000 samples, {figures} figures of each metric: {ours:.1f} s; scikit-learn {rival:.0f} s"
    )
    fixture = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "support" / "report_fixture.py"))
    with tempfile.TemporaryDirectory() as name:
        folder = fixture["build"](Path(name))
        shutil.rmtree(folder / "scores")
        speed, plain = write(folder, 250_000)
        megabytes = sum(file.stat().st_size for file in folder.glob("scores/*/*")) / 2**20
        print(f"10 million rows in 40 parts, {megabytes:.0f} MB: {speed:,.0f} rows a second; from_pylist {plain:,.0f}")
        command = [sys.executable, __file__, str(folder)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    read, whole, peak, page = map(float, told)
    print(f"figures and report: {whole:.0f} s, of them {read:.0f} to read; peak {peak:.0f} MB, report {page:.1f} MB")
    met = {"20 s": ours <= 20, "1,000,000 rows a second": speed >= 1e6, "1 GB": peak <= 1024}
    for target, kept in met.items():
        print(f"target {target}: {'met' if kept else 'MISSED'}")
    print(f"RESULT bootstrap_seconds={ours:.1f} rows_per_second={speed:.0f} report_mb={peak:.0f}")


if __name__ == "__main__":
    report_of(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
