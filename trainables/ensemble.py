"""Ensemble: a weighted sum of the scores of several trainables' detectors, with the bounds that their proofs add up to.

Source: score combination by standardised sums (Aggarwal and Sathe 2015, "Theoretical Foundations and Algorithms for
Outlier Ensembles", section 4); that bounds of a weighted sum are the weighted sums of bounds is interval arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from annotated_types import MinLen
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from assay.contracts import Norm, TrainingData
from assay.errors import InputError
from assay.norm_balls import ROUNDING
from assay.shelves import Item, Shelf
from assay.units import Positive
from trainables._proofs import bounds, proven_norms

BATCH = 64


class Member(BaseModel):
    """One trainable of an ensemble and the weight of its standardised score."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    item: Annotated[Item, Shelf("trainables")]
    weight: Positive = 1.0


DEFAULT = {
    "monotone": Member(item=Item("trainables", "monotone", {})),
    "local": Member(item=Item("trainables", "local_pixels", {})),
}


class Sum(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> score (B,): the members' scores, each shifted and scaled, added up.

    Certified in every norm in which all members are; the bounds are sound, and exact only if one image of the ball is
    the worst for all.
    """

    shifts: Tensor
    scales: Tensor

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.register_buffer("shifts", torch.zeros(len(members)))
        self.register_buffer("scales", torch.ones(len(members)))
        norms = set.intersection(*map(proven_norms, members))
        self.CERTIFIES: tuple[Norm, ...] = tuple(norm for norm in ("linf", "l2", "l1") if norm in norms)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,)."""
        scores = torch.stack([member(images) for member in self.members], dim=1)
        return ((scores - self.shifts) * self.scales).sum(dim=1)

    @torch.no_grad()
    def certify(
        self, images: Tensor, norm: Norm, radii: Tensor, random: Sequence[torch.Generator], confidence: float
    ) -> tuple[Tensor, Tensor]:
        """Bounds (B, R), (B, R) of the score in the balls of R radii; members share the chance of failing."""
        each = 1 - (1 - confidence) / len(self.members)
        lower = upper = torch.zeros(len(images), len(radii), dtype=torch.float64, device=images.device)
        for member, shift, scale in zip(self.members, self.shifts.double(), self.scales.double(), strict=True):
            low, high = bounds(member, images, norm, radii, random, each)
            lower, upper = lower + (low - shift) * scale, upper + (high - shift) * scale
        slack = ROUNDING * torch.finfo(torch.float32).eps * self._size(images)[:, None]
        return lower - slack, upper + slack

    def _size(self, images: Tensor) -> Tensor:
        """(B,): the sum of the sizes of the parts, at which the sum rounds."""
        scores = torch.stack([member(images) for member in self.members], dim=1)
        return ((scores.abs() + self.shifts.abs()) * self.scales).sum(dim=1).double()


class Ensemble:
    """A weighted sum of several detectors' standardised scores, certified where all of them are."""

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        of: Annotated[dict[str, Member], MinLen(1)] = DEFAULT,
    ) -> None:
        """Prepare a run of every member; a score is standardised by those of the validation normals.

        of: the members, under names of your choice: `{net: {item: {monotone: {polarity: dark}}, weight: 2}, pixels:
        {item: local_pixels}}`. A search space can vary weights and the items' parameters.
        Raises InputError if the validation split has no normals, by which scores are standardised.
        """
        normals = data.validation.labels == 0
        if not normals.any():
            raise InputError("an ensemble standardises scores by validation normals, and this dataset has none")
        self.runs = [  # with seeds of their own, so that members with the same parameters are no copies of each other
            member.item.function(data, seed=seed + number, device=device, **member.item.arguments())
            for number, member in enumerate(of.values())
        ]
        self.weights = [member.weight for member in of.values()]
        self.epochs: int = max(run.epochs for run in self.runs)
        self.done = 0
        self.device, self.normals = device, data.validation.pixels[normals]

    @classmethod
    def build(
        cls, *, channels: int, image_size: int | Sequence[int], of: dict[str, Member], **unused: Any
    ) -> nn.Module:
        """An untrained detector of the same shape."""
        members = [
            member.item.function.build(channels=channels, image_size=image_size, **member.item.arguments())  # type: ignore[attr-defined]
            for member in of.values()
        ]
        return Sum(members)

    def train_epoch(self) -> dict[str, float]:
        """One epoch of every member that has not ended; the losses of a member are under its number."""
        losses: dict[str, float] = {}
        for number, run in enumerate(self.runs):
            if self.done < run.epochs:
                losses |= {f"{number}.{name}": value for name, value in run.train_epoch().items()}
        self.done += 1
        return losses

    @torch.no_grad()
    def detector(self) -> nn.Module:
        """The sum of the members' current detectors."""
        found = Sum([run.detector() for run in self.runs]).to(self.device).eval().requires_grad_(False)
        scores = torch.stack([self._scores(member) for member in found.members], dim=1)
        spread = scores.std(dim=0, correction=0)
        found.shifts = scores.mean(dim=0)
        found.scales = torch.tensor(self.weights, device=self.device) / torch.where(spread > 0, spread, 1.0)
        return found

    def _scores(self, member: nn.Module) -> Tensor:
        """Scores (N,) of the validation normals."""
        parts = [self.normals[first : first + BATCH] for first in range(0, len(self.normals), BATCH)]
        pixels = (torch.from_numpy(part.copy()).to(self.device).float().div_(255) for part in parts)
        return torch.cat([member(part) for part in pixels])

    def state_dict(self) -> dict[str, Any]:
        """The state of every member, and how many epochs are done."""
        return {"done": self.done, **{str(number): run.state_dict() for number, run in enumerate(self.runs)}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.done = state["done"]
        for number, run in enumerate(self.runs):
            run.load_state_dict(state[str(number)])
