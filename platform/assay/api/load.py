"""A model of the store as an nn.Module that scores tensors, files and arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from assay.api.arguments import StoreLike
from assay.store.trials_table import Trial

if TYPE_CHECKING:
    from assay.api.score import Detector


def load(model: str | Trial, *, store: StoreLike = None, allow_import: Sequence[str] = ()) -> Detector:
    """A model: images (B, C, H, W) in [0, 1] -> scores (B,), higher is more anomalous; in eval mode, weights frozen.

    Its method `score` takes image files, a folder or arrays, and gives decisions as well. model: a service, a hash or
    its beginning, `SWEEP:best`, or a trial of a sweep. allow_import: installed modules the store may name
    (docs/security.md). Raises UnknownName, InputError or ModelError.

    >>> detector = assay.load("demo:best", store=store)
    >>> detector(torch.zeros(2, 1, 16, 16)).shape
    torch.Size([2])
    >>> len(detector.score(f"{images}/good").scored)
    60
    """
    from assay.api.score import opened

    return opened(model, store=store, allow_import=allow_import)
