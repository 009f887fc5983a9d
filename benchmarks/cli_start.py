"""How long `assay --help` takes, beside an interpreter that does nothing.

    .venv/bin/python benchmarks/cli_start.py        a few seconds

Target: median of 7 below 0.6 s. Rivals in the same run, in turns with it: `python -c pass`, what any command line in
Python takes, and `python -c "import torch"`, what a command line that imports what it may need takes at least.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 7
TARGET = 0.6
COMMANDS = {
    "assay --help": [str(Path(sys.executable).parent / "assay"), "--help"],
    "python -c pass": [sys.executable, "-c", "pass"],
    'python -c "import torch"': [sys.executable, "-c", "import torch"],
}


def main() -> None:
    """Measure, print a table and the result."""
    seconds: dict[str, list[float]] = {label: [] for label in COMMANDS}
    for _ in range(RUNS + 1):
        for label, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[label].append(time.perf_counter() - started)
    print(f"median of {RUNS} after a first run; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    medians = {label: statistics.median(found[1:]) for label, found in seconds.items()}
    ours = medians["assay --help"]
    for label, value in medians.items():
        print(f"{label:<28}{value:8.3f} s   ratio {value / ours:6.2f}")
    print(f"target {TARGET} s: {'met' if ours <= TARGET else 'MISSED'}")
    print(f"RESULT seconds={ours:.3f}")


if __name__ == "__main__":
    main()
