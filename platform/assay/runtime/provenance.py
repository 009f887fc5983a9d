"""What made a result: interpreter, library versions, git commit, hash of the source code. No host or user name."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

from assay import __version__, consent
from assay.runtime import allowance

LIBRARIES = ("torch", "ray", "optuna", "numpy", "pyarrow", "scipy", "safetensors", "pydantic")

OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")
"""What git sets for the hooks of somebody's repository; Assay, run by one, is not asked about that repository."""


class Hardware(TypedDict):
    """The kind of processor, the cores and GB of memory that may be used, the kind of each GPU."""

    processor: str
    cores: int
    memory_gb: int
    gpus: list[str]


class Environment(TypedDict):
    """What made a result. versions: of LIBRARIES, None for one that is not installed; git: None without a checkout."""

    assay: str
    python: str
    platform: str
    versions: dict[str, str | None]
    code_hash: str
    git: str | None
    hardware: Hardware


@functools.cache
def environment() -> Environment:
    """Versions, git commit and code hash of this process, for a manifest."""
    return {
        "assay": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in LIBRARIES},
        "code_hash": code_hash(),
        "git": git_commit(),
        "hardware": hardware(),
    }


def hardware() -> Hardware:
    """The kind of processor, cores and GB that may be used, and the kinds of GPU that torch sees where it is in use."""
    torch = sys.modules.get("torch")
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())] if torch else []
    return {
        "processor": _processor(),
        "cores": allowance.cores(),
        "memory_gb": round(allowance.memory() / 2**30),
        "gpus": gpus,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


@functools.cache
def code_hash() -> str:
    """SHA-256 over all source files of the packages `assay` and `trainables`, by name and content."""
    total = hashlib.sha256()
    for package in ("assay", "trainables"):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            root = Path(folder)
            for file in sorted([*root.rglob("*.py"), *root.rglob("*.yaml")]):
                total.update(f"{package}/{file.relative_to(root).as_posix()}\0".encode())
                total.update(file.read_bytes())
    return total.hexdigest()


def own_code(name: str) -> str:
    """SHA-256 of the file that holds a user's own `module:attribute`; "" for a shelf's item, as `code_hash` has it.

    Nothing is imported: the name may come from a store.
    """
    module, colon, _ = name.partition(":")
    file = (getattr(sys.modules.get(module), "__file__", None) or consent.source(name)) if colon else None
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def git_commit() -> str | None:
    """The commit of the source checkout this code runs from, with `+changes` if it is dirty; None without one.

    Installed in a virtual environment within somebody's repository, it must not take that repository's commit.
    """
    here = Path(__file__).parent.parent
    asked = {name: value for name, value in os.environ.items() if name not in OF_A_HOOK}
    try:
        run = functools.partial(
            subprocess.run, cwd=here, env=asked, capture_output=True, text=True, timeout=10, check=True
        )
        top = Path(run(["git", "rev-parse", "--show-toplevel"]).stdout.rstrip("\n"))
        if (top / "platform" / "assay").resolve() != here.resolve():
            return None
        run(["git", "ls-files", "--error-unmatch", "__init__.py"])
        commit = run(["git", "rev-parse", "HEAD"]).stdout.strip()
        changed = run(["git", "status", "--porcelain", "--", str(here)]).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changed else "")


def version(name: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
