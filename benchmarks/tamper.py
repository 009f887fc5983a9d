"""Does `assay verify` find every changed byte of a signed audit and its model, and say nothing of an untouched copy?

    .venv/bin/python benchmarks/tamper.py                about 1 minute on 2 cores

A toy model is audited, approved and signed in a store of its own, and the store is moved. Then one byte at a random
place of a file is changed at a time: once in every file of the audit's folder and of the model's, signatures included,
and in files drawn at random until --changes have been tried. A change counts as found when `assay verify` exits with 3
and names the file (of a signature: says that it is damaged). After each, the file is put back. An untouched store that
`assay verify` finds fault with is a false alarm: where it was signed, where it was moved to, both folders by their path
alone, and once more after all changes were taken back.

Target: RESULT found=100 tried=100 false_alarms=0 (as many as there are files, where these are more than 100).

Rival in the same run: the check of the model's content against the hash it is named by, which needs no signature.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
import toy_audit

from assay.audits import audit, suite
from assay.cli import main as assay
from assay.store.store import Store

GATE = {
    "name": "clean",
    "metric": "auroc",
    "attack": "clean",
    "at_least": 0.6,
    "why": "It must have learned something.",
}
POLICY = {"name": "toy", "version": 1, "why": "to be signed", "gates": [GATE]}
POLICY["minimum_samples"] = {"normals": 5, "anomalies": 5}


def main() -> None:
    """Sign, move, change bytes, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ASSAY_CACHE"] = f"{folder}/cache"
        measure(Path(folder), options.changes, np.random.default_rng(options.seed))


def measure(folder: Path, changes: int, rng: np.random.Generator) -> None:
    """The whole run in a folder of its own."""
    public = folder / "public.pem"
    model, name = signed(folder / "made", folder / "key.pem", public)
    alarms = [verify(folder / "made", name, public)]
    root = Path(shutil.move(folder / "made", folder / "moved" / "store"))
    paths = [root / "audits" / name, root / "models" / model]
    alarms += [verify(root, what, public) for what in (name, model, *map(str, paths))]

    files = sorted(path for each in paths for path in each.rglob("*") if path.is_file() and path.stat().st_size)
    drawn = [*files, *(files[i] for i in rng.integers(0, len(files), max(0, changes - len(files))))]
    found = rival = 0
    for path in drawn:
        content = path.read_bytes()
        at, other = int(rng.integers(len(content))), int(rng.integers(1, 256))
        path.write_bytes(content[:at] + bytes([content[at] ^ other]) + content[at + 1 :])
        code, told = verify(root, name, public)
        where = "signature" if path.suffix == ".sig" else path.relative_to(paths[path.is_relative_to(paths[1])])
        noticed = code == 3 and str(where) in told
        found, rival = found + noticed, rival + (verify(root, model)[0] == 3)
        if not noticed:
            print(f"not found: byte {at} of {path.relative_to(root)}, {content[at]} to {content[at] ^ other}: {told}")
        path.write_bytes(content)
    alarms += [verify(root, name, public)]
    print(f"{len(files)} files, each changed at least once; {len(alarms)} looks at an untouched store")
    print(f"rival, the model's content hash alone: found {rival} of {len(drawn)}")
    print(f"RESULT found={found} tried={len(drawn)} false_alarms={sum(code != 0 for code, _ in alarms)}")


def signed(root: Path, private: Path, public: Path) -> tuple[str, str]:
    """Make a store with a toy model and its audit, approved and signed; returns the model's hash and the audit's id."""
    curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(["openssl", "genpkey", *curve, "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    beside = private.parent
    store = Store(root)
    model = toy_audit.write_model(store, toy_audit.pictures(beside / "images"))
    name = audit.run(store, model, suite.read(toy_audit.write_suite(beside / "tiny.yaml")))
    (beside / "policy.yaml").write_text(yaml.safe_dump(POLICY))
    people = ["--reviewer", "Jane Doe", "--author", "Max Roe"]
    words = ["approve", name, "--policy", str(beside / "policy.yaml"), "--key", str(private), *people]
    code, told = run(root, words)
    if code:
        raise SystemExit(f"the toy was not approved: {told}")
    return model, name


def verify(root: Path, what: str, public: Path | None = None) -> tuple[int, str]:
    """Exit code and output of `assay verify`."""
    return run(root, ["verify", what, *(["--key", str(public)] if public else [])])


def run(root: Path, words: list[str]) -> tuple[int, str]:
    """Exit code and output of a command of Assay's on a store."""
    result = CliRunner().invoke(assay, [*words, "--store", str(root)])
    return result.exit_code, result.output


if __name__ == "__main__":
    main()
