"""How soon `assay ui` answers on a store with a sweep of 5,000 trials, while the sweep goes on and when it rests.

    python benchmarks/ui.py                       1 minute
    python benchmarks/ui.py --trials 500          a short run, to see that it works

Target: 0.3 s, the median over the requests for the sweep's page and the first page, half of them after a new event in
its log. The trials have 10 reports each. The server is a process of its own, asked over HTTP as a browser asks; its
peak memory is that of the process, the importance of parameters included, which is computed aside. The first answer,
for which all of the log is read, is told beside it. The rival is what a person has without the page: `assay trials`.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import yaml

from assay.store.store import Store
from assay.store.trial_log import TrialLog

NAME, REPORTS, TARGET = "watched", 10, 0.3
ASSAY = str(Path(sys.executable).parent / "assay")
SPEC = {
    "name": NAME,
    "trainable": "cobra",
    "objectives": {"clean_auroc": "max", "robust_auroc": "max"},
    "resources": {"cpu": 1.0, "gpu": 0.0},
    "budget": {"cpu_hours": 500.0},
}


def main() -> None:
    """Measure, print and compare with the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5000, help="trials that have ended")
    parser.add_argument("--requests", type=int, default=20, help="for each page, unchanged and changed")
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        log = write(store, options.trials)
        size = sum(path.stat().st_size for path in store.path(f"sweeps/{NAME}/log").iterdir()) / 2**20
        print(f"{options.trials} ended trials of {REPORTS} reports, a log of {size:.0f} MB")
        command = [ASSAY, "ui", "--store", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                address = re.findall(r"http://\S+/", server.stdout.readline())[0]
                times = asked(address, log, options)
                peak = peak_mb(server.pid)
            finally:
                server.terminate()
        started = time.perf_counter()
        subprocess.run([ASSAY, "trials", NAME, "--store", folder], check=True, stdout=subprocess.DEVNULL)
        print(f"assay trials {NAME}: {time.perf_counter() - started:.2f} s")
        log.close()
    seconds = statistics.median(times)
    print(f"all requests: median {seconds:.3f} s, slowest {max(times):.3f} s")
    print(f"target {TARGET} s: {'met' if seconds <= TARGET else 'MISSED'}")
    print(f"RESULT seconds={seconds:.3f} peak_mb={peak:.0f}")


def write(store: Store, trials: int) -> TrialLog:
    """The store of a sweep with so many trials that have ended; its log is open for more."""
    spec = {**SPEC, "search": {"trials": trials + 1000, "sampler": "tpe"}}
    store.write(f"sweeps/{NAME}/spec.yaml", yaml.safe_dump(spec).encode())
    log, random = TrialLog(store, NAME), np.random.default_rng(0)
    sync, os.fsync = os.fsync, lambda handle: None  # fifty thousand lines, each safe from a power cut, take a while
    for number in range(trials):
        trial(log, number, random)
    os.fsync = sync
    return log


def trial(log: TrialLog, number: int, random: np.random.Generator) -> None:
    """All events of one trial of three parameters, two of which matter."""
    weight, epsilon, kind = random.random(), random.random() * 8 / 255, str(random.choice(["cutpaste", "perlin"]))
    parameters = {"loss.weight": weight, "adversary.epsilon": epsilon, "pseudo_anomaly": kind}
    asked = {"assignment": {}, "parameters": parameters, "distributions": {}, "attributes": {}}
    log.append({"event": "ask", "trial": number, **asked})
    log.append({"event": "begin", "trial": number})
    end = {"clean_auroc": 0.95 - 5 * epsilon, "robust_auroc": 0.4 + 10 * epsilon + 0.1 * weight}
    for epoch in range(1, REPORTS + 1):
        values = {name: float(value * epoch / REPORTS + random.normal(0, 0.02)) for name, value in end.items()}
        intervals = {name: [value - 0.05, value + 0.05] for name, value in values.items()}
        log.append(
            {
                "event": "report", "trial": number, "epoch": epoch, "epochs": REPORTS, "values": values,
                "kept": {"epoch": epoch, **values}, "intervals": intervals, "losses": {"all": 1.0}, "seed": number,
                "attempts": 1, "seconds": 60.0 * epoch, "done": epoch == REPORTS, "model": "",
            }
        )  # fmt: skip
    log.append({"event": "end", "trial": number, "state": "complete", "failure": "", "message": ""})


def asked(address: str, log: TrialLog, options: argparse.Namespace) -> list[float]:
    """The seconds of every request after the first of each page."""
    times, random, number = [], np.random.default_rng(1), options.trials
    pages = {"the sweep": f"{address}sweeps/{NAME}", "the first page": address}
    for name, page in pages.items():
        print(f"{name}, first request: {timed(page):.2f} s")
    wait_for_importance(pages["the sweep"])
    for name, page in pages.items():
        still = [timed(page) for _ in range(options.requests)]
        growing = []
        for _ in range(options.requests):
            trial(log, number, random)
            number += 1
            time.sleep(0.6)  # a local store is looked at twice a second
            growing.append(timed(page))
        for what, found in (("unchanged", still), ("after a new trial", growing)):
            print(f"{name}, {what}: median {statistics.median(found):.3f} s, slowest {max(found):.3f} s")
        times += [*still, *growing]
    return times


def timed(page: str) -> float:
    """The seconds of one request."""
    started = time.perf_counter()
    with urllib.request.urlopen(page, timeout=120) as answer:
        answer.read()
    return time.perf_counter() - started


def wait_for_importance(page: str) -> None:
    """Until the page has it: it is computed aside, once until a tenth more trials are complete."""
    started = time.perf_counter()
    while b"Being computed" in urllib.request.urlopen(page, timeout=120).read():
        time.sleep(0.5)
    print(f"importance of parameters there after {time.perf_counter() - started:.1f} s")


def peak_mb(process: int) -> float:
    """The largest memory a process has had."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


if __name__ == "__main__":
    main()
