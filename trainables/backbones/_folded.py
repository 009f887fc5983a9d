"""Folds batch norms into the convolutions before them: the same function in eval mode, with less computation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Fused:
    """The folded convolutions of a network, made anew only when its weights or statistics have changed."""

    def __init__(self) -> None:
        self._of: list[tuple[int, int]] = []
        self._made: list[nn.Module] = []

    def convolutions(self, pairs: Sequence[tuple[nn.Conv2d, nn.BatchNorm2d]]) -> list[nn.Module]:
        """One for each pair of a convolution and its batch norm, both in eval mode."""
        tensors = [one for pair in pairs for part in pair for one in (*part.parameters(), *part.buffers())]
        now = [(one.data_ptr(), one._version) for one in tensors]
        if now != self._of:
            fused = [fuse_conv_bn_eval(convolution, norm) for convolution, norm in pairs]
            self._of, self._made = now, [one.requires_grad_(False) for one in fused]
        return self._made


@contextmanager
def folded(network: nn.Module, kept: Fused | None = None) -> Iterator[None]:
    """Within this context, batch norms of an eval-mode network are folded into the convolutions before them.

    A pair is a convolution `conv*` and the batch norm `bn*` beside it, or two neighbours in an `nn.Sequential`. The
    folded weights are copies, so nothing may be trained meanwhile; results equal the unfolded network's up to rounding.
    kept: the copies of an earlier block, used again where they are still true.
    """
    pairs = [(module, *names) for module in network.modules() for names in _pairs(module)]
    before = [(module, conv, getattr(module, conv), norm, getattr(module, norm)) for module, conv, norm in pairs]
    fused = (kept or Fused()).convolutions([(convolution, norm) for _, _, convolution, _, norm in before])
    for (module, conv, _, norm, _), one in zip(before, fused, strict=True):
        setattr(module, conv, one)
        setattr(module, norm, nn.Identity())
    try:
        yield
    finally:
        for module, conv, convolution, norm, batch_norm in before:
            setattr(module, conv, convolution)
            setattr(module, norm, batch_norm)


def _pairs(module: nn.Module) -> list[tuple[str, str]]:
    """The names of convolutions and their batch norms among a module's children."""
    children = dict(module.named_children())
    names = list(children)
    if isinstance(module, nn.Sequential):
        candidates = list(pairwise(names))
    else:
        candidates = [(name, name.replace("conv", "bn", 1)) for name in names if name.startswith("conv")]
    return [
        (conv, norm)
        for conv, norm in candidates
        if isinstance(children[conv], nn.Conv2d) and isinstance(children.get(norm), nn.BatchNorm2d)
    ]
