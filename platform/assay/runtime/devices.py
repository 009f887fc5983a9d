"""The device that work is done on, as far as this machine has it."""

from __future__ import annotations

from assay.errors import InputError


def here(device: str, address: str | None = None) -> str:
    """The device of what this machine does itself: `cpu` on the head of a cluster that has no GPU.

    address: the cluster that does the rest. Raises InputError for a GPU that is not there where there is none.
    """
    import torch

    if device == "cpu" or torch.cuda.is_available():
        return device
    if address is not None:
        return "cpu"
    why = f"torch {torch.__version__} sees none"
    if torch.version.cuda is None:
        why += ", as it is built for CPUs alone: install one with CUDA (pip install torch), or"
    else:
        why += ": look at `nvidia-smi` and CUDA_VISIBLE_DEVICES, in a container give --gpus all; or"
    raise InputError(f"device '{device}' needs a GPU and this machine has 0; {why} take --device cpu")
