"""How long `assay --help` and `import assay` take, as processes of their own, beside an interpreter that does nothing.

    .venv/bin/python benchmarks/cli_start.py        a few seconds

Targets: medians of 9 at most 0.3 s and 0.15 s. Rivals in the same run, in turns with them: `python -c pass`, what any
program in Python takes, and `python -c "import torch"`, what one that imports what it may need takes at least.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 9
COMMANDS = {
    "assay --help": [str(Path(sys.executable).parent / "assay"), "--help"],
    'python -c "import assay"': [sys.executable, "-c", "import assay"],
    "python -c pass": [sys.executable, "-c", "pass"],
    'python -c "import torch"': [sys.executable, "-c", "import torch"],
}
TARGETS = {"assay --help": 0.3, 'python -c "import assay"': 0.15}


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
    for label, value in medians.items():
        target = TARGETS.get(label)
        told = "" if target is None else f"   target {target} s: {'met' if value <= target else 'MISSED'}"
        print(f"{label:<28}{value:8.3f} s{told}")
    of_help, of_import = (medians[label] for label in TARGETS)
    print(f"RESULT help_seconds={of_help:.3f} import_seconds={of_import:.3f}")


if __name__ == "__main__":
    main()
