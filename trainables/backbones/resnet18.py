"""ResNet-18 (He et al. 2016), from random weights or from a file."""

from __future__ import annotations

from torch import nn

from trainables.backbones._resnet import ResNet, Stem, published
from trainables.backbones._weights import WeightsFile


def resnet18(*, channels: int, stem: Stem = "cifar", weights: WeightsFile | None = None) -> nn.Module:
    """(B, channels, H, W) in [0, 1] -> (B, 512).

    stem: `cifar` for images of about 32 to 64 pixels; `imagenet` for larger ones and for published weights (three
    channels, grey is repeated; ImageNet's mean and deviation).
    weights: a file with torchvision's names (conv1, bn1, layer1.0.conv1, ...; fc is ignored), .safetensors or a torch
    file of tensors only; without one they are random. Raises InputError if it is missing, unreadable or does not fit.
    """
    network = ResNet(channels, width=64, blocks=2, stem=stem)
    return published(network, weights, "resnet18", stem, channels)
