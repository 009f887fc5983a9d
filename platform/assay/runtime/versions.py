"""Versions that the processes of a run must share, whatever the machine: those that decide figures and file formats."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping

from assay.errors import SweepError
from assay.runtime.provenance import code_hash, version

PARTS = {
    "python": 2,
    "ray": 3,
    "torch": 3,
    "numpy": 2,
    "pyarrow": 1,
    "safetensors": 2,
    "pillow": 2,  # decodes and resizes
    "scipy": 2,
    "scikit-learn": 2,
}
"""What must be the same -> how many parts of its version: 2 of 3.11.9 is 3.11. A build label (+cpu) is no part."""

VARIABLE = "ASSAY_DRIVER_VERSIONS"
"""The environment variable that tells a worker what the driver runs."""


def here() -> dict[str, str]:
    """What this process runs, by name; `assay` is the hash of its code. Empty for what is not installed."""
    return {"assay": code_hash()[:12], "python": platform.python_version()} | {
        name: version(name) or "" for name in PARTS if name != "python"
    }


def differences(driver: Mapping[str, str], worker: Mapping[str, str]) -> list[str]:
    """What differs and must not, each with both versions: `torch 2.12.0 (the driver: 2.13.0)`."""
    return [
        f"{name} {worker.get(name) or 'not installed'} (the driver: {version or 'not installed'})"
        for name, version in driver.items()
        if _same_part(name, version) != _same_part(name, worker.get(name, ""))
    ]


def variable() -> dict[str, str]:
    """The environment that tells workers what this process runs."""
    return {VARIABLE: json.dumps(here())}


def check() -> None:
    """In a worker: raise SweepError if this process runs other versions than the driver; nothing without a driver."""
    expected = os.environ.get(VARIABLE)
    if expected and (differing := differences(json.loads(expected), here())):
        raise SweepError(refusal({"the machine of this worker": differing}))


def refusal(nodes: Mapping[str, list[str]]) -> str:
    """Why nothing runs on nodes (name -> what differs), and what to do."""
    why = "; ".join(f"{node} has {', '.join(differing)}" for node, differing in nodes.items())
    return f"{why}. Figures would depend on where a trial ran; install the same versions on every node and try again"


def _same_part(name: str, version: str) -> list[str]:
    return version.partition("+")[0].split(".")[: PARTS.get(name)]
