"""Residual networks of basic blocks (He et al. 2016); modules have the names used in published ResNet-18 weights."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from trainables.backbones._normalise import Normalise, Standardise

Stem = Literal["cifar", "imagenet"]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Conv2d:
    """A convolution without bias that keeps the side (divided by the stride)."""
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut; the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, outputs, 3, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = convolution(outputs, outputs, 3, 1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        inner: Tensor = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu_()))
        return inner.add_(self.downsample(x)).relu_()


class ResNet(nn.Module):
    """Four stages of `blocks` basic blocks, `width` to 8 * `width` wide: (B, channels, H, W) -> (B, features).

    stem: `cifar` is a 3x3 convolution; `imagenet` is 7x7 with stride 2 and max pooling, and also implies three channels
    (grey is repeated) and ImageNet's mean and deviation. shrink: pixels per side averaged into one first.
    standardise: by each image's own mean and deviation instead of constants (not with `imagenet`).
    """

    def __init__(
        self, channels: int, *, width: int, blocks: int, stem: Stem, shrink: int = 1, standardise: bool = False
    ) -> None:
        super().__init__()
        self.features = 8 * width
        self.normalise: nn.Module
        self.shrink = nn.AvgPool2d(shrink)
        if stem == "imagenet":
            self.normalise = Normalise(channels, 3, IMAGENET_MEAN, IMAGENET_STD)
            self.conv1 = convolution(3, width, 7, 2)
        else:
            self.normalise = Standardise() if standardise else Normalise(channels, channels, [0.5], [0.5])
            self.conv1 = convolution(channels, width, 3, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        self.layer1 = _stage(width, width, blocks, 1)
        self.layer2 = _stage(width, 2 * width, blocks, 2)
        self.layer3 = _stage(2 * width, 4 * width, blocks, 2)
        self.layer4 = _stage(4 * width, 8 * width, blocks, 2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def levels(self, images: Tensor) -> list[Tensor]:
        """The feature maps of the four stages, finest first; each has half the side of the one before."""
        x = self.pool(self.bn1(self.conv1(self.shrink(self.normalise(images)))).relu_())
        levels = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            levels.append(x)
        return levels

    def maps(self, images: Tensor) -> Tensor:
        """The last feature map: (B, features, h, w), h = H / shrink / 8 (`cifar`) or / 32 (`imagenet`)."""
        return self.levels(images)[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, channels, H, W) in [0, 1] -> the mean of the last feature map, (B, features)."""
        return self.maps(images).mean((2, 3))


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    return nn.Sequential(Block(inputs, outputs, stride), *(Block(outputs, outputs, 1) for _ in range(blocks - 1)))
