"""Is the robustness of nearest neighbours on pixels real, or a weak attack? A proof from below, attacks from above.

On ELPV mono at 64 px, test split, linf 2/255, both regimes: the AUROC that no attack can go below (a bound on angles,
derived below) beside the one our attacks reach. RESULT certified= empirical= ; certified <= empirical must hold, and
the truth lies between. About 1.5 minutes.

The score is 1 - mean cosine to the k nearest train normals of u = (p - mean p) / ||p - mean p||, p the image shrunk to
s x s pixels. Within epsilon, p moves by at most epsilon * s in l2 and centring shortens, so u turns by at most
a = arcsin(epsilon * s / ||p - mean p||). An angle t to any neighbour can only become something in [t - a, t + a].
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from assay.contracts import ThreatModel, TrainingData
from assay.data import splits
from assay.datasets.elpv import elpv
from assay.metrics import detection
from assay.models.scoring import batches, clean_scores, pixels
from assay.norm_balls import streams
from assay.shelves import Item, load
from trainables.neighbours import Neighbours

EPSILON, SIDE, K = 2 / 255, 32, 3


def certified(training: TrainingData, images: torch.Tensor, labels: np.ndarray) -> np.ndarray:
    """The worst score each image can get: normals (label 0) raised, anomalies lowered, as far as the bound allows."""

    def centred(batch: torch.Tensor) -> torch.Tensor:
        shrunk = F.adaptive_avg_pool2d(batch, SIDE).flatten(1).double()
        return shrunk - shrunk.mean(dim=1, keepdim=True)

    bank = F.normalize(centred(pixels(training.train, 0, len(training.train))), dim=1)
    rows = centred(images)
    angles = torch.arccos((F.normalize(rows, dim=1) @ bank.T).clamp(-1, 1))
    turn = torch.arcsin((EPSILON * SIDE / rows.norm(dim=1, keepdim=True)).clamp(max=1))
    lowered = 1 - torch.cos((angles - turn).clamp(min=0)).topk(K, dim=1).values.mean(dim=1)
    raised = 1 - torch.cos((angles + turn).clamp(max=torch.pi)).topk(K, dim=1).values.mean(dim=1)
    return torch.where(torch.from_numpy(labels) == 1, lowered, raised).numpy()


def main() -> None:
    """Print the bracket."""
    torch.set_num_threads(2)
    dataset = elpv(cells="mono", image_size=64)
    training, test = splits.training_data(dataset), splits.test_images(dataset)
    backbone = Item("backbones", "pixels", {"side": SIDE})
    detector = Neighbours(training, seed=0, backbone=backbone, k=K, distance="cosine").detector()
    direction = torch.from_numpy(1 - 2 * test.labels)
    worst = clean = clean_scores(detector, test)
    figures = {"clean": detection.auroc(test.labels, clean)}
    for name, arguments in (("pgd", {"steps": 40, "restarts": 3}), ("apgd", {"steps": 100, "restarts": 2})):
        attack, generator = load("attacks", name), torch.Generator().manual_seed(0)
        attacked = []
        for a, b in batches(test):
            batch, threat = pixels(test, a, b), ThreatModel("linf", EPSILON)
            attacked.append(attack(detector, batch, direction[a:b], threat, streams(generator, batch), **arguments))
        scores = torch.cat([part.scores for part in attacked]).double().numpy()
        figures[name] = detection.auroc(test.labels, scores)
        worst = np.where(direction > 0, np.maximum(worst, scores), np.minimum(worst, scores))
    bound = certified(training, pixels(test, 0, len(test)), test.labels)
    figures["worst of both"] = empirical = detection.auroc(test.labels, worst)
    figures["certified"] = floor = detection.auroc(test.labels, bound)
    for name, value in figures.items():
        print(f"{name:14s} AUROC {value:.4f}")
    beyond = int(((direction.numpy() * worst) > (direction.numpy() * bound) + 1e-6).sum())
    print(f"samples whose attacked score lies beyond the proven bound: {beyond} of {len(test)}")
    print(f"RESULT certified={floor:.4f} empirical={empirical:.4f}")


if __name__ == "__main__":
    main()
