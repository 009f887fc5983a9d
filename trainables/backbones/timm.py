"""Any image model of timm, from a file of weights: convolutional networks, and vision transformers as feature maps."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from annotated_types import Ge, MaxLen, MinLen
from torch import Tensor, nn

from assay import shelves
from assay.errors import InputError
from trainables.backbones._normalise import Normalise
from trainables.backbones._weights import WORDS, WeightsFile, fit, read

LEVELS = 4
"""Levels of a backbone, at most."""


def timm(
    *,
    channels: int,
    model: str,
    weights: WeightsFile,
    levels: Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1), MaxLen(LEVELS)] | None = None,
    frozen: bool = True,
) -> nn.Module:
    """(B, channels, H, W) in [0, 1] -> (B, F), the mean of the last level; mean and deviation are the model's own.

    model: as in `timm.list_models()`, with the tag of the weights (`vit_small_patch14_dinov2.lvd142m`), as it decides
    mean and deviation. weights: a .safetensors file, or a .pth file of tensors only, with timm's names; `hub` downloads
    those of the tag, `random` is for tests. levels: numbers of the model's feature maps, up to four, which become this
    backbone's levels 1, 2, ...; by default the last four of a network whose maps shrink, and of a plain transformer the
    last block of each quarter. frozen: weights and running statistics do not change in training.
    A plain transformer's maps have one location for each patch, at all levels. Images must be whole patches; for other
    sizes than that of its training, position embeddings are interpolated.
    Raises InputError if timm is not installed, for an unknown name, for weights that cannot be used and for a level
    that is not there; the network raises it for images of a size that it does not take.
    """
    network = _create(model, weights)
    if weights not in WORDS and not shelves.weights_follow():
        _load(network, weights, model)
    return _Timm(network, model, channels, levels, frozen)


class _Timm(nn.Module):
    def __init__(self, network: Any, name: str, channels: int, levels: Sequence[int] | None, frozen: bool) -> None:
        super().__init__()
        config = importlib.import_module("timm.data").resolve_model_data_config(network)
        self.normalise = Normalise(channels, config["input_size"][0], config["mean"], config["std"])
        self.name, self.frozen, self.probe_side = name, frozen, config["input_size"][1]
        self.chosen = _chosen(network, name, levels)
        self.patch: tuple[int, int] | None = network.patch_embed.patch_size if _plain(network) else None
        network.prune_intermediate_layers(list(self.chosen), prune_norm=self.patch is None, prune_head=True)
        self.network = network.requires_grad_(not frozen)
        self.train()
        with torch.no_grad():
            self.features: int = self.maps(torch.zeros(1, channels, self.probe_side, self.probe_side)).shape[1]

    def train(self, mode: bool = True) -> Self:
        """Training mode, except for a frozen network, which keeps its running statistics."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def levels(self, images: Tensor, last: int = LEVELS) -> list[Tensor]:
        """The first `last` of the chosen feature maps (B, F, h, w); a transformer's are normalised by its last norm."""
        self._check(images)
        maps: list[Tensor] = self.network.forward_intermediates(
            self.normalise(images),
            indices=list(self.chosen[:last]),
            norm=self.patch is not None,
            stop_early=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        return maps

    def maps(self, images: Tensor) -> Tensor:
        """The last of the chosen feature maps, (B, features, h, w)."""
        return self.levels(images)[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, channels, H, W) in [0, 1] -> the mean of the last chosen feature map, (B, features)."""
        return self.maps(images).mean((2, 3))

    def _check(self, images: Tensor) -> None:
        height, width = images.shape[-2:]
        if not getattr(self.network, "dynamic_img_size", True) and (height, width) != (self.probe_side,) * 2:
            fits = f"images of {self.probe_side} x {self.probe_side} pixels only"
        elif self.patch and (height % self.patch[0] or width % self.patch[1]):
            low, step = height // self.patch[0] * self.patch[0], self.patch[0]
            fits = (
                f"whole patches of {self.patch[0]} x {self.patch[1]} pixels, such as {max(low, step)} or {low + step}"
            )
        else:
            return
        raise InputError(
            f"timm's {self.name} takes {fits}, and these images have {height} x {width}; change `image_size`"
        )


def _library() -> Any:
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise InputError(
            f"the backbone timm needs the library timm ({error}); install it: pip install 'assay[timm]'"
        ) from error


def _create(name: str, weights: str) -> Any:
    """The model without its classifier; from the hub only if the user says so."""
    library = _library()
    base = library.models.split_model_name_tag(name)[0]
    if not library.is_model(base):
        near = difflib.get_close_matches(base, library.list_models(), n=3)
        raise InputError(f"timm has no model '{base}'; near it: {', '.join(near) or 'none'}; see timm.list_models()")
    fetch = weights == "hub" and not shelves.weights_follow()
    try:
        network = _sized(library, name, fetch)
    except (RuntimeError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"timm's model '{name}' with weights '{weights}' cannot be had: {reason}") from error
    for method in ("forward_intermediates", "prune_intermediate_layers"):
        if not hasattr(network, method):
            raise InputError(f"timm's model '{name}' gives no feature maps (it has no {method}); choose another")
    return network


def _sized(library: Any, name: str, fetch: bool) -> Any:
    """A model that takes images of several sizes, where timm can make it so."""
    config = library.get_pretrained_cfg(name)
    if config is None or not config.fixed_input_size:
        return library.create_model(name, pretrained=fetch)
    try:
        return library.create_model(name, pretrained=fetch, dynamic_img_size=True)
    except TypeError:  # its class has no such argument: images must have the size of its training
        network = library.create_model(name, pretrained=fetch)
        network.dynamic_img_size = False
        return network


def _load(network: Any, weights: str, name: str) -> None:
    """Weights in timm's names, or in those of the model's authors where timm can translate them; no classifier."""
    state = read(Path(weights))
    translate = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if translate is not None and set(state) ^ set(network.state_dict()):
        try:
            translated: Mapping[str, Tensor] = translate(dict(state), network)
        except (LookupError, ValueError, RuntimeError, AttributeError, TypeError):
            translated = state  # not theirs either; the message lists what does not fit
        state = dict(translated)
    own = network.state_dict()
    heads = network.pretrained_cfg.get("classifier") or ()
    for head in [heads] if isinstance(heads, str) else heads:
        # The classifier is not used; one of other classes, or none, is as good.
        state = {key: value for key, value in state.items() if not key.startswith(f"{head}.")}
        state |= {key: value for key, value in own.items() if key.startswith(f"{head}.")}
    fit(network, state, weights, f"timm's {name}")


def _reductions(network: Any) -> list[int]:
    """How many times smaller than the image each of the model's feature maps is."""
    info = network.feature_info
    return [one["reduction"] for one in getattr(info, "info", info)]


def _plain(network: Any) -> bool:
    """Whether it is a plain transformer: one location for each patch, in all of its blocks."""
    return hasattr(network, "patch_embed") and len(set(_reductions(network))) == 1


def _chosen(network: Any, name: str, levels: Sequence[int] | None) -> tuple[int, ...]:
    """Numbers of the model's feature maps, ascending."""
    count = len(_reductions(network))
    if levels is None:
        quarters = tuple(sorted({max(0, count * part // LEVELS - 1) for part in range(1, LEVELS + 1)}))
        return quarters if _plain(network) else tuple(range(max(0, count - LEVELS), count))
    if max(levels) >= count:
        raise InputError(f"timm's {name} has the levels 0 to {count - 1}; level {max(levels)} is asked for")
    return tuple(sorted(set(levels)))
