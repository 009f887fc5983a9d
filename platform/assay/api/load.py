"""A model of the store as an nn.Module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from assay import consent
from assay.api.arguments import StoreLike, store_of
from assay.errors import InputError
from assay.store import references
from assay.store.trials_table import Trial

if TYPE_CHECKING:
    from torch import nn


def load(model: str | Trial, *, store: StoreLike = None, allow_import: Sequence[str] = ()) -> nn.Module:
    """A model: images (B, C, H, W) in [0, 1] -> scores (B,), higher is more anomalous; in eval mode, weights frozen.

    model: a hash or its beginning, `SWEEP:best`, or a trial of a sweep. allow_import: installed modules the store may
    name (docs/security.md). Raises UnknownName, InputError or ModelError.

    >>> detector = assay.load("demo:best", store=store)
    >>> detector(torch.zeros(2, 1, 16, 16)).shape
    torch.Size([2])
    """
    from assay.models import model_folder

    consent.allow(allow_import)
    place = store_of(store)
    if isinstance(model, Trial):
        if not model.model:
            raise InputError(f"trial {model.number} is {model.state} and has no model")
        return model_folder.load(place, model.model).detector
    hashes = references.models(place, model)
    if len(hashes) != 1:
        raise InputError(f"'{model}' names {len(hashes)} models; load them one by one: {', '.join(hashes)}")
    return model_folder.load(place, hashes[0]).detector
