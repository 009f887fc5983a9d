"""A detector made by a user's function, named `module:attribute`. It runs the user's code."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from assay import shelves
from assay.errors import AssayError, ModelError
from assay.models.loaders._outside import Outside, weights_hash
from assay.runtime.provenance import own_code

FILE = None
OTHER_CODE = "is other code than when its model was made; pass its card again to make a model of the present code"


def factory(manifest: Mapping[str, Any], content: bytes) -> nn.Module:
    """What `module:attribute` returns when called without arguments: an nn.Module or any callable images -> scores.

    Raises ModelError if the call fails, or if its code or weights no longer match the manifest.
    """
    name = manifest["detector"]
    code = manifest.get("code_sha256") or own_code(name)
    try:
        if (current := own_code(name)) and current != code:  # before running any of it
            raise ModelError(OTHER_CODE)
        make = shelves.load("loaders", name)
        if isinstance(make, nn.Module):
            raise ModelError("is a detector; name a function without arguments that returns it")
        if needed := _required(make):
            raise ModelError(f"needs {', '.join(needed)}; name a function without arguments that returns the detector")
        with torch.random.fork_rng(devices=[]):
            torch.seed()  # random, untrained weights then differ every time and are found below
            made = make()
    except ModelError:
        raise
    except KeyboardInterrupt:
        raise
    except AssayError as error:
        raise ModelError(f"does not make a detector: {error}") from error
    except BaseException as error:  # the code is the user's and may raise anything, even an exit
        raise ModelError(f"does not make a detector: {type(error).__name__}: {error}") from error
    if not callable(made):
        raise ModelError(f"returns a {type(made).__name__}; return an nn.Module, or any callable images -> scores")
    detector = Outside(made, manifest["higher_is"])
    if own_code(name) != code:
        raise ModelError(OTHER_CODE)
    if manifest.get("weights_sha256", weights := weights_hash(detector)) != weights:
        raise ModelError("makes other weights than when its model was made; let it load trained weights from a file")
    return detector


def _required(make: Any) -> list[str]:
    """The names of the parameters without a default."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # some built-in callables have no signature
        return []
    given = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is inspect.Parameter.empty and p.kind not in given]
