"""A detector that a function of the user's own makes, named `module:attribute`. It runs the user's code."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from assay import shelves
from assay.errors import ModelError
from assay.models.loaders._outside import Outside, weights_hash
from assay.runtime.provenance import own_code

FILE = None


def factory(manifest: Mapping[str, Any], content: bytes) -> nn.Module:
    """What `module:attribute`, called without arguments, returns: an nn.Module or any callable images -> scores.

    Raises ModelError where it cannot be called, or no longer makes what the manifest says: other code, other weights.
    """
    name = manifest["detector"]
    try:
        make = shelves.load("loaders", name)
        if isinstance(make, nn.Module):
            raise ModelError("is a detector; name a function without arguments that returns it")
        if needed := _required(make):
            raise ModelError(f"needs {', '.join(needed)}; name a function without arguments that returns the detector")
        with torch.random.fork_rng(devices=[]):
            torch.seed()  # weights that were drawn, not loaded, then differ every time, and are found below
            made = make()
    except ModelError:
        raise
    except Exception as error:  # the code is the user's: whatever it raises is told
        raise ModelError(f"does not make a detector: {type(error).__name__}: {error}") from error
    if not callable(made):
        raise ModelError(f"returns a {type(made).__name__}; return an nn.Module, or any callable images -> scores")
    detector = Outside(made, manifest["higher_is"])
    if manifest.get("code_sha256", code := own_code(name)) != code:
        raise ModelError("is other code than when its model was made; name its card again, for a model of it as it is")
    if manifest.get("weights_sha256", weights := weights_hash(detector)) != weights:
        raise ModelError(
            "makes other weights than when its model was made; let it load weights that are trained and kept in a file"
        )
    return detector


def _required(make: Any) -> list[str]:
    """The names of the parameters that a call cannot do without."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # some built-in callables do not tell
        return []
    given = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is inspect.Parameter.empty and p.kind not in given]
