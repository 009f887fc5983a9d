"""Huge pages for large tensors on a CPU: the system then hands over their memory by 2 MB at a time, not by 4 KB.

A batch of 64 colour images at 224 pixels is 38 MB, and most of the time of making such a tensor goes into 10,000 page
faults. PyTorch asks for huge pages where this variable is set before its first tensor (Linux).
"""

from __future__ import annotations

import os

VARIABLE = "THP_MEM_ALLOC_ENABLE"


def wanted() -> dict[str, str]:
    """The variable for this process's children: as it is set already, else on."""
    return {VARIABLE: os.environ.get(VARIABLE, "1")}


def ask() -> None:
    """Ask for them in this process, unless the environment says otherwise."""
    os.environ.update(wanted())
