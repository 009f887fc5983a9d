"""How many cores and how much memory this process may use, which in a container or a batch job is not the machine's."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
UNLIMITED = 2**60  # version 1 of cgroups says no limit as a number about as large as a page count can be


def cores(root: Path = CGROUPS, own: Path = OWN) -> int:
    """The cores that this process may use at once, at least 1: its affinity and the quotas of its control groups.

    A share of a core counts as a whole one. root, own: where control groups are mounted and where this process's are.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min([affinity, *_quotas(root, own)])))


def memory(root: Path = CGROUPS, own: Path = OWN) -> int:
    """The bytes of memory that this process and its children may use: the machine's or its control groups' limit."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = []
    for folder in _folders(root, own, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limits += [int(word) for word in _words(folder / name) if word.isdigit()]
    return min([machine, *(limit for limit in limits if 0 < limit < UNLIMITED)])


def _quotas(root: Path, own: Path) -> Iterator[float]:
    """The quotas of CPU time, in cores, of the process's control group and those around it."""
    for folder in _folders(root, own, "cpu"):
        period = _words(folder / "cpu.cfs_period_us")
        words = _words(folder / "cpu.max") or [*_words(folder / "cpu.cfs_quota_us"), *period]
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
            yield int(words[0]) / int(words[1])


def _folders(root: Path, own: Path, controller: str) -> Iterator[Path]:
    """The folders of the process's control group and those around it: in version 2, and of one controller in version 1.

    In a container the group's path may be the host's and its files lie at the mount itself, so that counts in any case.
    """
    for line in own.read_text().splitlines() if own.exists() else ["0::/"]:
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        mount = root / names if names and (root / names).exists() else root / controller if names else root
        inner = mount / path.lstrip("/")
        yield from (inner, *(folder for folder in inner.parents if folder == mount or mount in folder.parents))


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:  # not there, or not ours to read
        return []
