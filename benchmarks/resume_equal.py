"""Whether a sweep that was killed and resumed ends as the uninterrupted one: same choices, same figures, same weights.

    .venv/bin/python benchmarks/resume_equal.py        about a minute on 2 cores

Target: equal=1. Three COBRA trials on real images (monocrystalline ELPV cells of 32 px), one at a time, two of them
drawn at random and one by TPE, with early stopping, through the command line. The rival is the same sweep, not
interrupted, in the same run; the other one is killed with SIGKILL twice, in the middle of its first and of its second
trial, and resumed each time.
Compared are configurations, every report (figures and losses, to the last bit), which epoch was kept, how each trial
ended, and the SHA-256 of the weights of those that were completed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from assay.models import model_folder
from assay.store import trial_log
from assay.store.store import Store
from assay.store.trial_log import Record

NAME = "resume-equal"
SPACE = f"""
name: {NAME}
trainable: cobra
dataset: {{name: elpv, cells: mono, image_size: 32}}
fixed: {{epochs: 6, backbone: {{name: small_resnet, width: 8}}}}
space:
  pseudo_anomaly: {{choice: [{{cutpaste: {{area: {{uniform: [0.1, 0.5]}}}}}}, perlin]}}
  adversary.epsilon: {{uniform: [0, 4/255]}}
evaluation: {{attack: pgd, epsilon: 2/255, steps: 5, every: 1}}
objectives: {{clean_auroc: max, robust_auroc: max}}
search: {{sampler: tpe, trials: 3, seed: 7, startup: 2}}
stop_early: {{scheduler: asha, grace: 3, reduction: 2}}
resources: {{concurrent: 1}}
tracking: {{wandb: false}}
"""
ASSAY = str(Path(sys.executable).parent / "assay")


def main() -> None:
    """Run both sweeps, compare them, print a table and the result."""
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "space.yaml"
        file.write_text(SPACE)
        whole, killed = Store(f"{folder}/whole"), Store(f"{folder}/killed")
        subprocess.run(command(whole, str(file)), check=True, stdout=subprocess.DEVNULL)
        expected = facts(whole)
        counts = (2, len(expected[0]["reports"]) + 2)  # in the middle of the first trial, and of the second
        for count, arguments in zip(counts, ([str(file)], ["--resume", NAME]), strict=True):
            kill_in_the_middle(command(killed, *arguments), killed, count)
            print(f"killed after {reports(killed)} of {sum(len(trial['reports']) for trial in expected)} reports")
        subprocess.run(command(killed, "--resume", NAME), check=True, stdout=subprocess.DEVNULL)
        found = facts(killed)
    print("then resumed to its end\n")
    row = "{:<7}{:<12}{:<9}{:<9}{:<26}{:<18}{}".format
    print(row("trial", "how", "state", "reports", "clean, robust AUROC kept", "weights", "parameters"))
    for number, (one, other) in enumerate(zip(expected, found, strict=True)):
        for how, trial in (("whole", one), ("resumed", other)):
            kept = ", ".join(f"{trial['kept'][name]:.6f}" for name in ("clean_auroc", "robust_auroc"))
            parameters = json.dumps(trial["parameters"])
            weights = str(trial["weights"])[:16]
            print(row(number, how, trial["state"], len(trial["reports"]), kept, weights, parameters))
        for key in one:
            if one[key] != other[key]:
                print(f"       different: {key}")
    print(f"\nRESULT equal={int(expected == found)} trials={len(found)}")


def command(store: Store, *arguments: str) -> list[str]:
    """The command line of a sweep in that store."""
    return [ASSAY, "sweep", *arguments, "--store", str(store.root)]


def reports(store: Store) -> int:
    """How many reports the log holds so far."""
    return sum(event["event"] == "report" for event in trial_log.read(store, NAME))


def kill_in_the_middle(line: list[str], store: Store, count: int) -> None:
    """Start the sweep and kill it, its driver at once and Ray's processes with it, soon after so many reports."""
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        while reports(store) < count:
            if process.poll() is not None:
                raise SystemExit(f"the sweep ended before it could be killed (exit code {process.returncode})")
            time.sleep(0.02)
        time.sleep(0.2)  # into the next epoch
        process.send_signal(signal.SIGKILL)


def facts(store: Store) -> list[dict[str, Any]]:
    """All that must be equal of every trial."""
    records = trial_log.records(trial_log.read(store, NAME))
    return [of_trial(store, record) for _, record in sorted(records.items())]


def of_trial(store: Store, record: Record) -> dict[str, Any]:
    """Of one trial: what was chosen, what was reported, how it ended and what was kept; no times, no attempts."""
    compared = ("epoch", "values", "losses", "kept", "seed", "done")
    hashes = [report["model"] for report in record.reports if report["model"]]
    return {
        "parameters": record.parameters,
        "assignment": record.assignment,
        "state": record.state,
        "reports": [{key: report[key] for key in compared} for report in record.reports],
        "kept": record.kept,
        "weights": model_folder.read_manifest(store, hashes[-1])["weights_sha256"] if hashes else None,
    }


if __name__ == "__main__":
    main()
