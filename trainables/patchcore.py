"""PatchCore: distance of the most unusual patch to a coreset of the patches of the training normals. No training.

Source: Roth et al. 2022, "Towards Total Recall in Industrial Anomaly Detection", section 3. The coreset is chosen on
the features themselves, not on a random projection of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from assay.contracts import TrainingData
from assay.shelves import Item, Shelf
from assay.units import Fraction
from trainables._coreset import kept
from trainables._fitted import Fitted
from trainables._patch_features import Levels, PatchFeatures

BLOCK = 2**24
"""Most distances held in memory at a time."""


class PatchBank(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> distance (B,) of the farthest patch to the row of the bank nearest to it."""

    bank: Tensor

    def __init__(self, backbone: Item, channels: int, levels: Levels, reweight: int) -> None:
        super().__init__()
        self.reweight = reweight
        self.patches = PatchFeatures(backbone, channels, levels)
        self.register_buffer("bank", torch.zeros(1, self.patches.features))

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        return self.score_with(images, lambda distances: distances.min(dim=1).values)

    def score_with(self, images: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
        """The score (B,) with `pool` of the farthest patch's distances (B, N) in place of the smallest of them."""
        patches = self.patches(images)
        with torch.no_grad():
            farthest = self._nearest(patches.flatten(0, 1)).view(patches.shape[:2]).argmax(dim=1)
        patch = patches[torch.arange(len(patches), device=patches.device), farthest]
        # Not via a matrix product: its rounding makes distances of near rows wrong and their gradient NaN.
        distances = torch.cdist(patch, self.bank, compute_mode="donot_use_mm_for_euclid_dist")
        score = pool(distances)
        return score * self._weight(distances) if self.reweight and len(self.bank) > 1 else score

    def bank_rows(self) -> int:
        """The number of rows of the bank."""
        return len(self.bank)

    def with_bank(self, share: float) -> nn.Module:
        """A copy with a coreset of the bank, `share` of its rows."""
        smaller = copy.deepcopy(self)
        smaller.bank = self.bank[kept(self.bank, share)]
        return smaller

    def _nearest(self, rows: Tensor) -> Tensor:
        """Distances (N,) of rows (N, F) to the nearest row of the bank, accurate enough for comparisons."""
        blocks = torch.split(rows, max(1, BLOCK // len(self.bank)))
        near = [torch.cdist(block, self.bank, compute_mode="use_mm_for_euclid_dist").amin(dim=1) for block in blocks]
        return torch.cat(near)

    def _weight(self, distances: Tensor) -> Tensor:
        """Weights (B,), lower where the rows around the nearest row are as near as it is (section 3.3, equation 7)."""
        nearest = distances.argmin(dim=1, keepdim=True)
        with torch.no_grad():
            around = torch.cdist(self.bank[nearest[:, 0]], self.bank).scatter_(1, nearest, -1.0)
            rows = around.topk(min(1 + self.reweight, len(self.bank)), dim=1, largest=False).indices
        return 1 - distances.gather(1, rows).softmax(dim=1)[:, 0]

    @torch.no_grad()
    def fit(self, normals: Tensor, share: float, seed: int, batch: int = 64) -> None:
        """Fill the bank with a coreset of the patches of normals (N, C, H, W); holds them all in memory meanwhile."""
        parts = [self.patches(part.to(self.bank.device)).flatten(0, 1) for part in torch.split(normals, batch)]
        rows = torch.cat(parts)
        self.bank = rows[kept(rows, share, seed)]


class Patchcore(Fitted):
    """Distance of the most unusual patch to a coreset of the train normals' patches, on frozen features."""

    def __init__(
        self,
        data: TrainingData,
        *,
        seed: int,
        device: str = "cpu",
        backbone: Annotated[Item, Shelf("backbones")] = Item("backbones", "efficientnet_lite0", {}),
        levels: Levels = (2, 3),
        coreset: Annotated[Fraction, Gt(0)] = 0.01,
        reweight: Annotated[int, Ge(0)] = 0,
    ) -> None:
        """Fill the bank from all train normals.

        levels: which of the backbone's feature maps, 1 being the finest; the paper uses 2 and 3. coreset: share of all
        patches kept, 0.01 to 0.25 in the paper. reweight: number of rows around the nearest row used to reweight the
        score, such as 9; 0 for none, as in the paper's code.
        """
        normals = torch.from_numpy(data.train.pixels.copy()).float().div_(255)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.network = PatchBank(backbone, normals.shape[1], levels, reweight).to(device).eval()
        self.network.fit(normals, coreset, seed)

    @classmethod
    def build(
        cls, *, channels: int, image_size: int, backbone: Item, levels: Levels, reweight: int, **unused: Any
    ) -> nn.Module:
        """A detector of the same shape with an empty bank."""
        return PatchBank(backbone, channels, levels, reweight)
