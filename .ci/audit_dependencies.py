"""Fail where an installed library has a known vulnerability that known_vulnerabilities.yaml does not answer for.

    python .ci/audit_dependencies.py [options of pip-audit, such as -s osv]

Runs in the environment that is audited, with pip-audit. Where the service cannot be asked (offline, or an index without
such data), it says that nothing was audited and ends well: that is no reason to hold a change back.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

ANSWERED = Path(__file__).with_name("known_vulnerabilities.yaml")
PROBE = "numpy"
OWN = "assay"


def main(options: list[str]) -> int:
    """0 where nothing is wrong or nothing could be asked; 1 with what is wrong."""
    checked = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, timeout=300)
    if checked.returncode:
        print(f"libraries that do not fit together:\n{checked.stdout}")
        return 1
    there = installed()
    probe, why = ask({PROBE: there[PROBE]}, options)
    if not [one for one in probe if "vulns" in one]:
        print(f"dependency audit: NOT RUN, as nothing is known of {PROBE} there ({why})")
        return 0
    found, why = ask(there, options)
    if not found:
        print(f"dependency audit: NOT RUN ({why})")
        return 0
    wrong, told = judged(found, yaml.safe_load(ANSWERED.read_text(encoding="utf-8")) or {})
    print("\n".join([*wrong, f"dependency audit: {told}"]))
    return int(bool(wrong))


def installed() -> dict[str, str]:
    """Library -> version, as the index knows it: without the label of a build, such as +cpu."""
    named = {one.metadata["Name"]: one.version.partition("+")[0] for one in metadata.distributions()}
    return {name: version for name, version in sorted(named.items()) if name and name != OWN}


def ask(libraries: dict[str, str], options: list[str]) -> tuple[list[dict[str, Any]], str]:
    """What pip-audit tells of each library; nothing, and why, where it could not ask."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.write("".join(f"{name}=={version}\n" for name, version in libraries.items()))
        pins.flush()
        command = ["-m", "pip_audit", "--requirement", pins.name, "--no-deps", "--disable-pip", "--format=json"]
        try:
            done = subprocess.run(
                [sys.executable, *command, "--progress-spinner=off", "--timeout=10", *options],
                capture_output=True,
                text=True,
                timeout=600,
            )
            found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        except subprocess.TimeoutExpired:
            return [], "no answer in time"
        except (ValueError, KeyError):
            return [], (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1][:200]
    skipped = [one["skip_reason"] for one in found if "skip_reason" in one]
    return found, skipped[0] if skipped else ""


def judged(found: list[dict[str, Any]], answered: dict[str, str]) -> tuple[list[str], str]:
    """What is wrong, a line each, and a line on the whole."""
    wrong, open_ids = [], set()
    audited = [one for one in found if "vulns" in one]
    for one in audited:
        for vulnerability in one["vulns"]:
            names = {vulnerability["id"], *vulnerability.get("aliases", [])}
            open_ids |= names
            if not any(answered.get(name) for name in names):
                fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
                wrong.append(f"{one['name']} {one['version']}: {vulnerability['id']}, fixed in {fixed}")
    gone = [name for name in answered if name not in open_ids]
    wrong += [f"{name}: no longer there; take it out of {ANSWERED.name}" for name in gone]
    skipped = [one["name"] for one in found if "vulns" not in one]
    left_out = f", not known there: {', '.join(skipped)}" if skipped else ""
    return wrong, f"{len(audited)} libraries, {len(open_ids & answered.keys())} answered for{left_out}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
