"""Where models of anomalib get the weights of their backbone from: a file, the hub of their library, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import torch
from pydantic import AfterValidator
from torch import Tensor, nn


def _known(value: str) -> str:
    if value not in ("random", "hub") and not Path(value).is_file():
        raise ValueError(f"there is no file {value}; write random, hub (downloads them), or a file of weights")
    return value


Weights = Annotated[str, AfterValidator(_known)]
"""Of a backbone: `random`, `hub` (downloads them), or a file in the names of timm or torchvision."""


@contextmanager
def backbone_weights(weights: str) -> Iterator[None]:
    """Where models made meanwhile get the weights of their backbone: `random` and files download nothing."""
    if weights == "hub":
        yield
        return
    import timm
    from torchvision.models import WeightsEnum, get_model

    file = {} if weights == "random" else {"pretrained": True, "pretrained_cfg_overlay": {"file": weights}}
    create = timm.create_model

    def create_model(*args: Any, **kwargs: Any) -> nn.Module:
        made: nn.Module = create(*args, **{**kwargs, "pretrained": False, **(file if kwargs.get("pretrained") else {})})
        return made

    def state_of(self: Any, *args: Any, **kwargs: Any) -> Mapping[str, Tensor]:
        name = type(self).__name__.removesuffix("_Weights").lower()
        state: Mapping[str, Tensor] = torch.load(weights, weights_only=True) if file else get_model(name).state_dict()
        return state

    with (
        mock.patch.object(timm, "create_model", create_model),
        mock.patch.object(WeightsEnum, "get_state_dict", state_of),
    ):
        yield
