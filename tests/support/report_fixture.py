"""Builds an audit folder as `assay audit` leaves it, from made-up scores that behave like real ones."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from assay.metrics import attack_cost, worst_case
from assay.store import score_matrix
from assay.store.schemas import CHECKS, METRICS, SCORES, TRIALS, WORST

HOSTILE = "<script>alert(1)</script>.png"
MODEL = "3f9c1b7a5e2d4c6080a1b2c3d4e5f60718293a4b5c6d7e8f9012a3b4c5d6e7f8"
THRESHOLD = 0.55
ATTACKS = {  # name: (attack, knowledge, strength, forwards, backwards, parameters)
    "pgd": ("pgd", "white-box", 0.9, 41, 40, {"steps": 40, "restarts": 2}),
    "square": ("square", "score", 0.55, 500, 0, {"queries": 500}),
    "noise <i>&$x$": ("noise", "none", 0.03, 10, 0, {"draws": 10}),
}
EPSILONS = {"linf": (1 / 255, 2 / 255, 4 / 255), "l2": (0.125, 0.25, 0.5)}
DEFECTS = ("crack", 'broken "cell" & <b>')
KNOWN = {"model": MODEL, "dataset": "d" * 64, "seed": 0}


def build(folder: Path) -> Path:
    """An undecided audit in `folder`: two defect kinds, three attacks, two norms, three budgets, 60 samples."""
    generator = np.random.default_rng(7)
    labels = np.repeat([0, 1], 30)
    clean = np.where(labels, generator.normal(0.68, 0.11, 60), generator.normal(0.38, 0.09, 60))
    defects = np.where(labels == 0, "normal", np.where(np.arange(60) % 3 == 0, DEFECTS[1], DEFECTS[0]))
    ids = np.array([f"cell{number:04d}.png" for number in range(60)], dtype=object)
    ids[45] = HOSTILE
    scores, metrics, worst = [], [], {}
    for attacked, key in [(clean, ("clean", "", 0.0))]:
        metrics += _figures(key, labels, defects, clean, attacked)
    for norm, epsilons in EPSILONS.items():
        for epsilon in epsilons:
            best = np.zeros(60)
            for name, (_, _, strength, forwards, backwards, _) in ATTACKS.items():
                reach = strength * 0.35 * epsilon / epsilons[-1]
                shift = np.abs(generator.normal(reach, reach / 4, 60))
                best = np.maximum(best, shift)
                moved = clean + shift * np.where(labels, -1, 1)
                metrics += _figures((f"{name}-{norm}", norm, epsilon), labels, defects, clean, moved)
                scores += [
                    {
                        **KNOWN,
                        "sample": ids[i], "sample_hash": f"{i:064x}", "label": labels[i], "defect": defects[i],
                        "attack": f"{name}-{norm}", "parameters": "p", "norm": norm, "epsilon": epsilon,
                        "regime": "evasion" if labels[i] else "false_alarm", "direction": -1 if labels[i] else 1,
                        "clean_score": clean[i], "adversarial_score": moved[i], "rounded_score": moved[i],
                        "linf": epsilon, "l2": epsilon, "forwards": forwards, "backwards": backwards, "seconds": 0.01,
                        "broken_at": forwards // 2 if (moved[i] > THRESHOLD) != labels[i] else -1,
                    }
                    for i in range(60)
                ]  # fmt: skip
            worst[norm, epsilon] = clean + best * np.where(labels, -1, 1)
            metrics += _figures(("worst", norm, epsilon), labels, defects, clean, worst[norm, epsilon])
    parts = {}
    for name in sorted({row["attack"] for row in scores}):
        rows = [row for row in scores if row["attack"] == name]
        _write(folder / "scores" / name / "part-0.parquet", rows, SCORES)
        parts[name] = [pa.Table.from_pylist(rows, schema=SCORES)]
    matrix = score_matrix.read(pa.concat_tables(part for [part] in parts.values()))
    pq.write_table(worst_case.table(matrix), folder / "worst_case.parquet")
    knowledge = {entry["name"]: entry["knowledge"] for entry in _info()["suite"]["attacks"]}
    pq.write_table(attack_cost.table(parts, threshold=THRESHOLD, knowledge=knowledge), folder / "cost.parquet")
    _write(folder / "metrics.parquet", metrics, METRICS)
    _write(folder / "checks.parquet", _checks(), CHECKS)
    pictured = [(i, "linf", 2 / 255) for i in (45, 33, 2)] + [(36, "l2", 0.5)]
    pictures = [_picture(i, generator, ids, labels, defects, clean, worst[n, e], n, e) for i, n, e in pictured]
    _write(folder / "worst.parquet", pictures, WORST)
    _write(folder / "trials.parquet", *_trials(generator))
    (folder / "audit.yaml").write_text(yaml.safe_dump(_info(), sort_keys=False, allow_unicode=True))
    (folder / "manifest.json").write_text(json.dumps(_manifest()))
    return folder


def verdict(word: str) -> dict[str, object]:
    """A `verdict.json` for the audit that `build` makes."""
    decisions = {"PASS": ["PASS", "PASS"], "FAIL": ["PASS", "FAIL"], "INVALID": ["NOT RUN", "NOT RUN"]}
    figures = [
        ("clean-auroc", "clean AUROC at least 0.85", 0.981, 0.942, 1.0, 0.85),
        ("robust-auroc", "worst-case AUROC at L∞ 2/255 at least 0.60", 0.644, 0.512, 0.776, 0.6),
    ]
    gates = [
        {
            "name": name, "text": text, "value": value, "lower": lower, "upper": upper, "limit": limit,
            "decision": decision, "why": f"the lower bound {lower:.3f} is compared with {limit:.3f}",
            "purpose": "parts must be sorted right",
        }
        for (name, text, value, lower, upper, limit), decision in zip(
            figures, decisions.get(word, ["PASS", "INCONCLUSIVE"]), strict=True
        )
    ]  # fmt: skip
    return {
        "verdict": word, "audit": _info()["audit"], "model": MODEL, "gates": gates,
        "policy": {"name": "solar <cells>", "version": 3, "hash": "ab" * 32},
        "checks": {
            "passed": ["clean_reproduced", "gradients_nonzero"],
            "failed": ["ball_respected"] if word == "INVALID" else [], "missing": [],
        },
        "reasons": ["Check ball_respected failed: <it left>"] if word == "INVALID" else [],
        "created": "2026-02-03T09:30:00+00:00",
    }  # fmt: skip


def _figures(key, labels, defects, clean, attacked):
    attack, norm, epsilon = key
    regimes = {"": clean} if attack == "clean" else {
        "evasion": np.where(labels, attacked, clean),
        "false_alarm": np.where(labels, clean, attacked),
        "both": attacked,
    }  # fmt: skip
    rows = []
    for regime, scores in regimes.items():
        for defect in ("all", *DEFECTS):
            normals = scores[labels == 0]
            anomalies = scores[(labels == 1) & ((defects == defect) | (defect == "all"))]
            above = float((anomalies[:, None] > normals).mean())
            figures = {"auroc": (above, min(len(normals), len(anomalies)))}
            if defect == "all":
                figures["miss_rate"] = (float((anomalies <= THRESHOLD).mean()), len(anomalies))
                figures["false_alarm_rate"] = (float((normals > THRESHOLD).mean()), len(normals))
            for metric, (value, count) in figures.items():
                half = 1.96 * np.sqrt(value * (1 - value) / count)
                rows.append(
                    {
                        "attack": attack, "norm": norm, "epsilon": epsilon, "regime": regime, "defect": defect,
                        "metric": metric, "value": value, "lower": max(0.0, value - half),
                        "upper": min(1.0, value + half), "confidence": 0.95, "normals": len(normals),
                        "anomalies": len(anomalies),
                    }
                )  # fmt: skip
    return rows


def _checks() -> list[dict[str, object]]:
    return [
        {
            "check": "clean_reproduced", "passed": True, "required": True, "value": 2e-7, "limit": 1e-4, "samples": 60,
            "evidence": "The clean AUROC is within 2e-7 of the one the sweep recorded.",
        },
        {
            "check": "ball_respected", "passed": True, "required": True, "value": 0.0, "limit": 1e-6, "samples": 1080,
            "evidence": "No adversarial image leaves its ball or [0, 1].",
        },
        {
            "check": "gradients_nonzero", "passed": True, "required": True, "value": 0.0, "limit": 0.0, "samples": 60,
            "evidence": "Every sample has a finite gradient that is not zero.",
        },
        {
            "check": "restarts_converged", "passed": False, "required": False, "value": 0.008, "limit": 0.005,
            "samples": 60, "evidence": "Doubling the restarts moves the worst-case AUROC by 0.008 <at L∞ 2/255>.",
        },
    ]  # fmt: skip


def _trials(generator: np.random.Generator) -> tuple[list[dict[str, object]], pa.Schema]:
    rows: list[dict[str, object]] = []
    for trial in range(24):
        trained_at = generator.uniform(0, 6)
        clean = 0.97 - 0.03 * trained_at - abs(generator.normal(0, 0.03))
        robust = 0.25 + 0.08 * trained_at - abs(generator.normal(0, 0.06))
        state = "complete" if trial % 4 else ("failed" if trial == 8 else "pruned")
        rows.append(
            {
                "trial": trial, "state": state, "epoch": 40, "epochs": 60, "model": MODEL if trial == 17 else "",
                "seed": trial, "seconds": 88.0, "attempts": 1, "failure": "", "message": "", "parameters": "{}",
                "config": "{}", "objective.clean_auroc": None if state == "failed" else clean,
                "objective.robust_auroc": None if state == "failed" else robust,
                "parameter.adversary.epsilon": trained_at / 255, "parameter.loss.opposite": generator.uniform(0, 2),
                "parameter.pseudo_anomaly": generator.choice(["cutpaste", "perlin", "<rotation>"]),
                "parameter.pseudo_anomaly.area": generator.uniform(0.02, 0.15) if trial % 3 else None,
            }
        )  # fmt: skip
    done = [row for row in rows if row["state"] == "complete"]
    for row in rows:
        row["pareto"] = row in done and not any(
            other["objective.clean_auroc"] > row["objective.clean_auroc"]
            and other["objective.robust_auroc"] > row["objective.robust_auroc"]
            for other in done
        )
    extra = [
        (name, pa.string() if name == "parameter.pseudo_anomaly" else pa.float64()) for name in rows[0] if "." in name
    ]
    return rows, pa.schema([*TRIALS, *extra])


def _picture(i, generator, ids, labels, defects, clean, moved, norm, epsilon):
    across, down = np.meshgrid(np.arange(64), np.arange(64))
    pixels = (110 + 30 * np.sin(across / 5) + 20 * (down % 16 == 0) - 60 * ((across + down) % 61 < 2)).astype(int)
    change = generator.choice([-2, 2], (64, 64)) if norm == "linf" else np.rint(generator.normal(0, 3, (64, 64)))
    return {
        "sample": ids[i], "label": labels[i], "defect": defects[i], "attack": f"pgd-{norm}", "norm": norm,
        "epsilon": epsilon, "clean_score": clean[i], "adversarial_score": moved[i], "shift": abs(moved[i] - clean[i]),
        "clean_png": _png(pixels), "adversarial_png": _png(pixels + change),
    }  # fmt: skip


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def _info() -> dict[str, object]:
    attacks = [
        {
            "name": f"{name}-{norm}",
            "attack": attack,
            "norm": norm,
            "knowledge": knowledge,
            "epsilons": list(epsilons),
            "parameters": parameters,
        }
        for name, (attack, knowledge, _, _, _, parameters) in ATTACKS.items()
        for norm, epsilons in EPSILONS.items()
    ]
    return {
        "audit": "elpv-mono-64-standard-3f9c1b7a",
        "created": "2026-02-03T09:12:44+00:00",
        "model": MODEL,
        "sweep": "elpv-mono-64",
        "trial": 17,
        "suite": {
            "name": "standard", "version": 1, "why": "White-box & query attacks.", "attacks": attacks,
            "headline": {"norm": "linf", "epsilon": 2 / 255},
            "threats": {"grey-levels": {"norm": "linf", "epsilons": [2 / 255], "why": "nobody sees it <b>"}},
        },
        "left_out": [{"attack": "transfer-linf", "why": "no other model was given"}],
        "findings": [{"name": "stochastic", "text": "the score is random <i>"}],
        "notes": ["apgd-linf: memory ran out"],
        "dataset": {
            "name": "elpv", "hash": "d" * 64, "image_size": 64, "channels": 1,
            "counts": {"train": {"normal": 900, "anomalous": 0}, "test": {"normal": 30, "anomalous": 30}},
            "validation_anomalies": "labelled",
            "licence": "CC BY-NC-SA 4.0", "notes": {"dropped_uncertain": 401, "remark": "<img src=x onerror=alert(1)>"},
        },
        "threshold": {"value": THRESHOLD, "false_alarm_rate": 0.05, "source": "validation normals", "count": 80},
        "seed": 0,
        "samples": {"normals": 30, "anomalies": 30},
        "command": f"assay audit models/{MODEL} --suite standard --seed 0",
        "environment": {
            "python": "3.11.9", "platform": "Linux-6.1-x86_64", "versions": {"torch": "2.13.0", "ray": "2.60.0"},
            "assay": "0.1.0",
            "git": "c81e2fa", "code_hash": "c0de" * 16,
        },
        "seconds": 412.5,
    }  # fmt: skip


def _manifest() -> dict[str, object]:
    return {
        "trainable": "cobra", "seed": 17, "dataset": {"name": "elpv"}, "weights_sha256": "f00d" * 16,
        "parameters": {"epochs": 60, "backbone": {"name": "small_resnet", "width": 16}, "adversary": {"steps": 10}},
        "sweep": {"name": "elpv-mono-64", "trial": 17, "epoch": 40}, "threshold": {"value": THRESHOLD},
        "figures": {"clean_auroc": 0.934, "robust_auroc": 0.702}, "spec": {},
        "evaluation": {"attack": "pgd", "epsilon": 2 / 255, "steps": 10},
        "environment": {"versions": {"torch": "2.13.0"}},
    }  # fmt: skip


def _write(path: Path, rows: list[dict[str, object]], schema: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
