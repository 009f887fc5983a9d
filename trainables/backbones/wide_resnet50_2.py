"""Wide ResNet-50-2 (Zagoruyko and Komodakis 2016), the backbone of the PatchCore paper, from a file of weights."""

from __future__ import annotations

from torch import nn

from trainables.backbones._resnet import ResNet, Stem, published
from trainables.backbones._weights import WeightsFile


def wide_resnet50_2(*, channels: int, stem: Stem = "imagenet", weights: WeightsFile | None = None) -> nn.Module:
    """(B, channels, H, W) in [0, 1] -> (B, 2048); ResNet-50 with twice the width inside each block.

    stem: `imagenet` for published weights (three channels, grey is repeated; ImageNet's mean and deviation); `cifar`
    for images of about 32 to 64 pixels.
    weights: a file with torchvision's names (conv1, bn1, layer1.0.conv1, ...; fc is ignored), .safetensors or a torch
    file of tensors only; without one they are random. Raises InputError if it is missing, unreadable or does not fit.
    """
    network = ResNet(channels, width=64, blocks=(3, 4, 6, 3), stem=stem, bottleneck=2)
    return published(network, weights, "wide_resnet50_2", stem, channels)
