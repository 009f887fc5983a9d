"""COBRA's loss: its terms and their weights."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from assay.shelves import Item
from assay.units import NonNegative, Positive
from trainables.losses._items import OnLogits
from trainables.losses.cobra import ATTRACTION
from trainables.losses.opposite import opposite

Pairs = Literal["none", "nt_xent", "supcon", "opposite", "cobra_as_released", "cobra"]


class CobraLoss(BaseModel):
    """Weights of the loss terms, and the choice of terms.

    classification: weight of `classifier`, a loss on the head's logits. trades: weight of the TRADES divergence; above
    0, the classifier sees clean views and the attack raises the divergence. contrastive, opposite: weights of the pair
    terms that `pairs` selects: `cobra` both, the opposite one up to `margin`; `cobra_as_released` both, the opposite
    one limited only by 1e-8 inside its logarithm; `nt_xent`, `supcon` and `opposite` only that one; `none` neither.
    certified: weight of `classifier` on the worst logits that interval bounds leave possible within the adversary's
    epsilon, which rises after the warm-up. It is no part of COBRA, and needs the backbone plain_cnn and norm linf; with
    it, `adversary.views: contrastive` saves the search on the other views.
    COBRA's own weights are 1 for classification, contrastive and opposite.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    classification: NonNegative = 1.0
    classifier: OnLogits = Item("losses", "classification", {})
    trades: NonNegative = 0.0
    certified: NonNegative = 0.0
    contrastive: NonNegative = 0.0
    opposite: NonNegative = 0.0
    pairs: Pairs = "cobra"
    temperature: Positive = 0.5
    margin: Positive = 8.0

    @property
    def on_head(self) -> bool:
        """Whether any term trains the head."""
        return bool(self.classification or self.trades or self.certified)

    @property
    def on_pairs(self) -> bool:
        """Whether any term trains the embeddings."""
        return self.drawing is not None or self.pushing

    @property
    def drawing(self) -> str | None:
        """The loss that pulls views together, or None."""
        if not self.contrastive or self.pairs in ("none", "opposite"):
            return None
        return "supcon" if self.pairs == "supcon" else "nt_xent"

    @property
    def pushing(self) -> bool:
        """Whether opposite pairs are pushed apart."""
        return self.opposite > 0 and self.pairs in ("opposite", "cobra_as_released", "cobra")

    def classify(self, logits: Tensor, anomalous: Tensor) -> Tensor:
        """The classification term, without its weight."""
        term: Tensor = self.classifier.function(logits, anomalous, **self.classifier.arguments())
        return term

    def pair_terms(
        self,
        rows: Tensor,
        views: int,
        *,
        over_positives: Literal["mean", "sum"] = "mean",
        opposite_views: int | None = None,
    ) -> dict[str, Tensor]:
        """The pair terms of embeddings (views * 2N, D), without their weights."""
        terms = {}
        if self.drawing:
            drawn = ATTRACTION[self.drawing](
                rows, views=views, temperature=self.temperature, over_positives=over_positives
            )
            terms["contrastive"] = drawn
        if self.pushing:
            terms["opposite"] = opposite(
                rows,
                views=views,
                temperature=self.temperature,
                margin=self.margin,
                as_released=self.pairs == "cobra_as_released",
                opposite_views=opposite_views,
            )
        return terms

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum of terms, each under the name of its weight."""
        first, *others = (getattr(self, name) * term for name, term in terms.items())
        return torch.stack([first, *others]).sum()
