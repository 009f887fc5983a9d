"""PatchCore: distance of the most unusual patch to a coreset of the patches of the training normals. No training.

Source: Roth et al. 2022, "Towards Total Recall in Industrial Anomaly Detection", section 3. With `border: zeros`,
`reweight: 8` and the same coreset, scores are those of anomalib 2.7 with `num_neighbors` 9, which counts the nearest
row itself as one of the nine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from assay.contracts import TrainingData
from assay.fitted import Fitted
from assay.shelves import Item, Shelf
from assay.units import Fraction
from trainables._bank import Banked
from trainables._coreset import kept, projected
from trainables._farthest_patch import farthest_patch, nearest_squares
from trainables._patch_features import Border, Levels, PatchFeatures

EXACT = "donot_use_mm_for_euclid_dist"


class PatchBank(Banked):
    """Images (B, C, H, W) in [0, 1] -> distance (B,) of the farthest patch to the row of the bank nearest to it."""

    def __init__(self, backbone: Item, channels: int, levels: Levels, reweight: int, border: Border = "inside") -> None:
        super().__init__()
        self.reweight = reweight
        self.patches = PatchFeatures(backbone, channels, levels, border)
        self.register_buffer("bank", torch.zeros(1, self.patches.features))

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,), higher is more anomalous."""
        return self.score_with(images, lambda distances: distances.min(dim=1).values)

    def score_with(self, images: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
        """The score (B,) with `pool` of the farthest patch's distances (B, N) in place of the smallest of them."""
        patches = self.patches(images)
        return self._score(patches, farthest_patch(patches.detach(), self.bank), pool)

    def score_and_map(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B,), and the distance (B, h, w) of every patch to the row of the bank nearest to it."""
        maps = self.patches.maps(images)
        patches = maps.flatten(2).transpose(1, 2)
        squares = nearest_squares(patches, self.bank)
        score = self._score(patches, squares.argmax(dim=1), lambda distances: distances.min(dim=1).values)
        return score, squares.sqrt().view(-1, *maps.shape[2:])

    def _score(self, patches: Tensor, farthest: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
        """The score (B,) of the patches (B, P, F) whose index (B,) is given."""
        patch = patches.gather(1, farthest[:, None, None].expand(-1, -1, patches.shape[2]))[:, 0]
        # Not via a matrix product: its rounding makes distances of near rows wrong and their gradient NaN.
        distances = torch.cdist(patch, self.bank, compute_mode=EXACT)
        score = pool(distances)
        return score * self._weight(distances) if self.reweight and len(self.bank) > 1 else score

    def _weight(self, distances: Tensor) -> Tensor:
        """Weights (B,), lower where the rows around the nearest row are as near as it is (section 3.3, equation 7)."""
        nearest = distances.argmin(dim=1, keepdim=True)
        with torch.no_grad():
            around = torch.cdist(self.bank[nearest[:, 0]], self.bank, compute_mode=EXACT).scatter_(1, nearest, -1.0)
            rows = around.topk(min(1 + self.reweight, len(self.bank)), dim=1, largest=False).indices
        return 1 - distances.gather(1, rows).softmax(dim=1)[:, 0]

    @torch.no_grad()
    def fit(self, normals: Tensor, share: float, seed: int, projection: int = 0, batch: int = 64) -> None:
        """Fill the bank with a coreset of the patches of normals (N, C, H, W); holds them all in memory meanwhile.

        projection: dimensions in which the coreset is chosen, 0 for all those of the features.
        """
        parts = [self.patches(part.to(self.bank.device)).flatten(0, 1) for part in torch.split(normals, batch)]
        rows = torch.cat(parts)
        self.bank = rows[kept(projected(rows, projection, seed), share, seed)]


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
        projection: Annotated[int, Ge(0)] = 0,
        border: Border = "inside",
        reweight: Annotated[int, Ge(0)] = 0,
    ) -> None:
        """Fill the bank from all train normals.

        levels: which of the backbone's feature maps, 1 being the finest; the paper uses 2 and 3. coreset: share of all
        patches kept, 0.01 to 0.25 in the paper. projection: the coreset is chosen on a random linear projection of the
        features to so many dimensions (section 3.2), 128 in the paper's code; 0 for the features themselves. border:
        whether neighbourhoods average, beyond the border of a map, nothing (`inside`) or `zeros`, as in the paper's
        code and anomalib. reweight: number of rows around the nearest row used to reweight the score (section 3.3),
        such as 9; 0 for none, as in the paper's code.
        """
        normals = torch.from_numpy(data.train.pixels.copy()).float().div_(255)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.network = PatchBank(backbone, normals.shape[1], levels, reweight, border).to(device).eval()
        self.network.fit(normals, coreset, seed, projection)

    @classmethod
    def build(
        cls,
        *,
        channels: int,
        image_size: int | Sequence[int],
        backbone: Item,
        levels: Levels,
        reweight: int,
        border: Border = "inside",
        **unused: Any,
    ) -> nn.Module:
        """A detector of the same shape with an empty bank."""
        return PatchBank(backbone, channels, levels, reweight, border)
