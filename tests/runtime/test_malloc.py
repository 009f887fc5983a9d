"""What a trial frees is kept for its next tensors, given back between trials, and left alone where someone said so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from assay.runtime import malloc as kept_memory

kept = kept_memory.keep() if "keep" in sys.argv else False
import torch

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20

counts = []
for _ in range(60):  # at first the heap grows
    before = faults()
    torch.ones(64 * 2**18)
    counts.append(faults() - before)
faults_a_tensor = sum(counts[30:]) / 30
most = held()
kept_memory.give_back()
print(kept, faults_a_tensor, most - held())
"""


def run(*arguments: str, **variables: str) -> tuple[bool, float, float]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    kept, faults, given_back = done.stdout.split()
    return kept == "True", float(faults), float(given_back)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc's malloc can be told")
def test_a_tensor_of_64_mb_is_made_of_memory_that_was_there_and_that_can_be_given_back() -> None:
    kept, faults, given_back = run("keep")
    assert kept
    assert faults < 2000  # of 16,384 pages
    assert given_back > 50
    kept, faults, given_back = run()
    assert not kept
    assert faults > 10_000, "the C library keeps memory by itself; then nothing is gained"
    assert given_back < 50


@pytest.mark.parametrize("variable", ["MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_who_set_the_c_library_up_is_not_overruled(variable: str) -> None:
    value = "glibc.malloc.trim_threshold=131072" if variable == "GLIBC_TUNABLES" else "131072"
    assert not run("keep", **{variable: value})[0]
