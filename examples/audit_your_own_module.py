"""Audit a detector of your own, as an nn.Module in memory: python examples/audit_your_own_module.py

It must take images (B, C, H, W) in [0, 1] and return scores (B,), higher for more anomalous. Needs the extra `demo`.
"""

import torch
from torch import nn

import assay


class DarkSpots(nn.Module):
    """How much darker the darkest patches of a cell are than the cell as a whole."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = nn.functional.avg_pool2d(images, 4)
        return images.mean((1, 2, 3)) - patches.flatten(1).topk(5, largest=False).values.mean(1)


audit = assay.audit(
    DarkSpots(),
    "quick",
    dataset={"name": "elpv", "cells": "mono", "image_size": 32},
    threshold={"false_alarm_rate": 0.1},  # the score that flags a tenth of the normal validation images
    limit=20,
    store="example-store",
)
figures = audit.to_pandas("metrics")
auroc = figures[(figures.metric == "auroc") & (figures.defect == "all")]
print(auroc[auroc.attack.isin(["clean", "worst"])][["attack", "norm", "epsilon", "regime", "value", "lower", "upper"]])
print("report:", assay.report(audit.id, store="example-store"))
