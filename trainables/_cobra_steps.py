"""The loss terms of one training step of COBRA: which views exist, how each is attacked, and what is computed.

| variant | `fixed` | `paper` | `as_released` |
| --- | --- | --- | --- |
| classified | one attacked view of its own | both clean views and the attacked one | as in the paper |
| contrastive blocks | two clean views, one attacked | the same | and one pulled to the other class, also a positive |
| the contrastive view is attacked by | the loss itself | the loss itself | NT-Xent of two views |
| over the positives of a row | mean | sum | sum |
| opposite pairs | in every view | in the clean views | in the clean views |

What does not change during an attack is encoded once. In the published procedures, all attacks of a step may run as one
batch, as they do not interact: in eval mode an image's features do not depend on the others'. That fills a GPU, and
also a CPU if the batch of one attack is small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from trainables._adversary import Adversary
from trainables._cobra_loss import CobraLoss
from trainables._head_and_neighbours import HeadAndNeighbours
from trainables._views import Views
from trainables.backbones._folded import Fused, folded
from trainables.losses.nt_xent import nt_xent
from trainables.losses.trades import divergence

Variant = Literal["fixed", "paper", "as_released"]
Terms = dict[str, Tensor]
SMALL = 16 * 64 * 64
"""Pixels of a batch up to which joining attacks is faster on a CPU: by a tenth for 16 images of 64 pixels."""
FILLS_A_GPU = 16 * SMALL
"""Pixels of a batch from which on one attack alone fills a GPU: three at once would take three times the memory."""


@dataclass(frozen=True)
class Step:
    """The inputs of a step: images (2N, C, H, W), normals and then their pseudo-anomalies, and how to use them.

    radius: epsilon of the certified term. together: run all attacks of a published procedure in one batch; None picks
    the faster way. fused: what the attacks of a step have folded.
    """

    network: HeadAndNeighbours
    images: Tensor
    adversary: Adversary
    loss: CobraLoss
    views: Views
    generator: torch.Generator
    radius: float = 0.0
    together: bool | None = None
    fused: Fused = field(default_factory=Fused)

    @property
    def at_once(self) -> bool:
        """Whether all attacks run in one batch."""
        if self.together is None:
            return self.images[:, 0].numel() <= (FILLS_A_GPU if self.images.is_cuda else SMALL)
        return self.together

    @property
    def anomalous(self) -> Tensor:
        """Labels (2N,) bool of a view's rows."""
        return torch.arange(len(self.images), device=self.images.device) >= len(self.images) // 2

    def view(self) -> Tensor:
        """A fresh view of all images."""
        return self.views.draw(self.images, self.generator)

    def worst(self, raised: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Images moved by the adversary, which sees the detector as it would be deployed."""
        with deployed(self.network, self.fused):
            return self.adversary.worst(raised, images, self.generator)

    def clean(self, encode: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """The fixed reference of an attack, encoded once."""
        with deployed(self.network, self.fused), torch.no_grad():
            return encode(images)

    def encoded(self, images: Tensor) -> Tensor:
        """Embeddings of clean images, computed as by the deployed detector."""
        return self.clean(self.network.embeddings, images)


@contextmanager
def deployed(network: HeadAndNeighbours, fused: Fused | None = None) -> Iterator[None]:
    """The network in eval mode with frozen weights and folded batch norms, for cheaper gradients of pixels.

    fused: what was folded before.
    """
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    network.eval().requires_grad_(False)
    try:
        # A compiled backbone folds by itself, and would be recompiled for every set of weights.
        compiled = network.backbone._compiled_call_impl is not None
        with nullcontext() if compiled else folded(network.backbone, fused):
            yield
    finally:
        network.train()
        for weight in trained:
            weight.requires_grad_(True)


def terms(step: Step, variant: Variant) -> Terms:
    """The loss terms with a weight, each under the weight's name."""
    proven = {"certified": _certified(step)} if step.loss.certified else {}
    if variant != "fixed":
        return _published(step, negative_view=variant == "as_released") | proven
    head = _head_terms(step) if step.loss.classification or step.loss.trades else {}
    return head | (_pair_terms(step) if step.loss.on_pairs else {}) | proven


def _certified(step: Step) -> Tensor:
    """The classification of the worst logits in the ball: the highest of normals, the lowest of pseudo-anomalies."""
    lower, upper = step.network.logit_bounds(step.view(), step.radius)
    return step.loss.classify(torch.where(step.anomalous, lower, upper), step.anomalous)


def _head_terms(step: Step) -> Terms:
    view, network = step.view(), step.network
    attacked = view
    if step.adversary.attacks("classification"):
        attacked = step.worst(_against_head(step, view, network.logits), view)
    if not step.loss.trades:
        return {"classification": step.loss.classify(network.logits(attacked), step.anomalous)}
    clean, moved = network.logits(torch.cat([view, attacked])).chunk(2)
    return _trades_terms(step, clean, step.anomalous, moved, clean)


def _pair_terms(step: Step) -> Terms:
    first, second = step.view(), step.view()
    blocks, network, loss = [first, second], step.network, step.loss
    if step.adversary.attacks("contrastive"):
        if step.adversary.views == "negative":
            raised = _towards_others(step, step.encoded(second), network.embeddings)
        else:
            raised = _against_pairs(step, step.encoded(torch.cat(blocks)), len(blocks), network.embeddings)
        blocks.append(step.worst(raised, first))
    return loss.pair_terms(network.embeddings(torch.cat(blocks)), len(blocks))


def _published(step: Step, *, negative_view: bool) -> Terms:
    """The published procedures: all terms share the same two clean views, and every attack starts at the first."""
    first, second = step.view(), step.view()
    network, adversary, loss = step.network, step.adversary, step.loss
    attacks: dict[str, Callable[[Tensor], Tensor]] = {}  # the function of its view's features that each one raises
    if loss.on_pairs and adversary.attacks("contrastive"):
        fixed = step.encoded(second)
        if adversary.views != "negative":
            blocks = [fixed] if negative_view else [step.encoded(first), fixed]
            attacks["positive"] = _against_pairs(
                step, torch.cat(blocks), len(blocks), network.embeddings_of, plain=negative_view
            )
        if negative_view or adversary.views == "negative":
            attacks["negative"] = _towards_others(step, fixed, network.embeddings_of)
    if (loss.classification or loss.trades) and adversary.attacks("classification"):
        attacks["head"] = _against_head(step, first, network.logits_of)

    attacked: dict[str, Tensor] = {}
    for group in [[*attacks]] if step.at_once and attacks else [[name] for name in attacks]:
        moved = step.worst(_sum_of(network, [attacks[name] for name in group]), torch.cat([first] * len(group)))
        attacked |= dict(zip(group, moved.chunk(len(group)), strict=True))

    names = ["first", "second", *attacked]
    features = network.features(torch.cat([first, second, *attacked.values()])).chunk(len(names))
    of = dict(zip(names, features, strict=True))
    result: Terms = {}
    if loss.classification or loss.trades:
        clean, moved = torch.cat([of["first"], of["second"]]), of.get("head", of["first"])
        result |= _published_head(step, network.logits_of(clean), network.logits_of(moved), attacked="head" in of)
    if loss.on_pairs:
        rows = network.embeddings_of(torch.cat([part for name, part in of.items() if name != "head"]))
        views = len(rows) // len(step.images)
        result |= loss.pair_terms(rows, views, over_positives="sum", opposite_views=2)
    return result


def _sum_of(network: HeadAndNeighbours, attacks: list[Callable[[Tensor], Tensor]]) -> Callable[[Tensor], Tensor]:
    """The sum of the objectives of several attacks, each on its own part of a batch."""

    def raised(images: Tensor) -> Tensor:
        parts = network.features(images).chunk(len(attacks))
        return torch.stack([attack(part) for attack, part in zip(attacks, parts, strict=True)]).sum()

    return raised


def _published_head(step: Step, clean: Tensor, moved: Tensor, *, attacked: bool) -> Terms:
    """Cross-entropy of both clean views and the attacked one; or, for TRADES, of the clean ones and the divergence."""
    labels = step.anomalous.repeat(2)
    if step.loss.trades:
        return _trades_terms(step, clean, labels, moved, clean[: len(moved)])
    if attacked:
        clean, labels = torch.cat([clean, moved]), step.anomalous.repeat(3)
    return {"classification": step.loss.classify(clean, labels)}


def _trades_terms(step: Step, clean: Tensor, labels: Tensor, moved: Tensor, moved_from: Tensor) -> Terms:
    """The classification of clean logits, and the divergence between the attacked logits and those they started at."""
    classified = {"classification": step.loss.classify(clean, labels)} if step.loss.classification else {}
    return {**classified, "trades": divergence(moved_from, moved)}


def _against_head(step: Step, clean: Tensor, logits: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    if not step.loss.trades:
        return lambda moved: step.loss.classify(logits(moved), step.anomalous)
    answer = step.clean(step.network.logits, clean)
    return lambda moved: divergence(answer, logits(moved))


def _against_pairs(
    step: Step, fixed: Tensor, blocks: int, embeddings: Callable[[Tensor], Tensor], *, plain: bool = False
) -> Callable[[Tensor], Tensor]:
    """The attack's objective: the loss of encoded clean blocks and of the attacked one; only NT-Xent if `plain`."""

    def raised(moved: Tensor) -> Tensor:
        rows = torch.cat([fixed, embeddings(moved)])
        if plain:
            return nt_xent(rows, views=blocks + 1, temperature=step.loss.temperature)
        return step.loss.total(step.loss.pair_terms(rows, blocks + 1))

    return raised


def _towards_others(step: Step, fixed: Tensor, embeddings: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Rises as a normal approaches the encoded view of a random pseudo-anomaly, and the other way round."""
    normals = len(fixed) // 2
    order = torch.randperm(normals, generator=step.generator, device=step.generator.device).to(fixed.device)
    targets = torch.cat([fixed[normals:][order], fixed[:normals][order]])
    return lambda moved: -nt_xent(torch.cat([targets, embeddings(moved)]), views=2, temperature=step.loss.temperature)
