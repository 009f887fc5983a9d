"""Residual networks (He et al. 2016); modules have the names used in torchvision's published weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from trainables.backbones._normalise import Normalise, Standardise
from trainables.backbones._weights import load_weights

Stem = Literal["cifar", "imagenet"]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EXPANSION = 4
"""How many times wider the output of a bottleneck block is than that of a basic block of the same stage."""


def convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Conv2d:
    """A convolution without bias that keeps the side (divided by the stride)."""
    kind = Subsampled if size == 1 and stride > 1 else nn.Conv2d
    return kind(inputs, outputs, size, stride, padding=size // 2, bias=False)


class Subsampled(nn.Conv2d):
    """A 1x1 convolution with a stride: it leaves pixels out first, and the rest is one with stride 1.

    The same figures as `nn.Conv2d`, whose gradient of the weights writes beyond its memory on processors without
    AVX-512 where images are channels-last (oneDNN in PyTorch 2.13): the process dies, or goes on with damaged memory.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        down, right = self.stride
        return functional.conv2d(input[:, :, ::down, ::right], self.weight, self.bias)


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The identity, or a 1x1 convolution where the shape changes."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """The basic block: two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, outputs, 3, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = convolution(outputs, outputs, 3, 1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        inner: Tensor = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu_()))
        return inner.add_(self.downsample(x)).relu_()


class Bottleneck(nn.Module):
    """A 1x1 convolution to `inner` channels, a 3x3 convolution, a 1x1 convolution to `outputs`, and a shortcut.

    The stride is that of the 3x3 convolution, as in the published weights (in the paper it is that of the first).
    """

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, inner, 1, 1)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = convolution(inner, inner, 3, stride)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = convolution(inner, outputs, 1, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        inner = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu_())).relu_()
        outer: Tensor = self.bn3(self.conv3(inner))
        return outer.add_(self.downsample(x)).relu_()


class ResNet(nn.Module):
    """Four stages of blocks, each twice as wide as the one before: (B, channels, H, W) -> (B, features).

    width: of the first stage; bottleneck blocks put out four times as much. blocks: per stage, one number for all four
    or one for each. bottleneck: None for basic blocks; 1 or 2 for bottleneck blocks whose inner width is that many
    times the stage's width. stem: `cifar` is a 3x3 convolution; `imagenet` is 7x7 with stride 2 and max pooling, and
    also implies three channels (grey is repeated) and ImageNet's mean and deviation. shrink: pixels per side averaged
    into one first. standardise: by each image's own mean and deviation instead of constants (not with `imagenet`).
    """

    def __init__(
        self,
        channels: int,
        *,
        width: int,
        blocks: int | Sequence[int],
        stem: Stem,
        bottleneck: int | None = None,
        shrink: int = 1,
        standardise: bool = False,
    ) -> None:
        super().__init__()
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
        counts = [blocks] * 4 if isinstance(blocks, int) else blocks
        outputs = [width * 2**stage * (EXPANSION if bottleneck else 1) for stage in range(4)]
        self.features = outputs[-1]
        self.layer1 = _stage(width, outputs[0], counts[0], 1, bottleneck)
        self.layer2 = _stage(outputs[0], outputs[1], counts[1], 2, bottleneck)
        self.layer3 = _stage(outputs[1], outputs[2], counts[2], 2, bottleneck)
        self.layer4 = _stage(outputs[2], outputs[3], counts[3], 2, bottleneck)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def levels(self, images: Tensor, last: int = 4) -> list[Tensor]:
        """The feature maps of the first `last` stages, finest first; each has half the side of the one before."""
        x = self.pool(self.bn1(self.conv1(self.shrink(self.normalise(images)))).relu_())
        levels = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4)[:last]:
            x = stage(x)
            levels.append(x)
        return levels

    def maps(self, images: Tensor) -> Tensor:
        """The last feature map: (B, features, h, w), h = H / shrink / 8 (`cifar`) or / 32 (`imagenet`)."""
        return self.levels(images)[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, channels, H, W) in [0, 1] -> the mean of the last feature map, (B, features)."""
        return self.maps(images).mean((2, 3))


def _stage(inputs: int, outputs: int, blocks: int, stride: int, bottleneck: int | None) -> nn.Sequential:
    def block(inputs: int, stride: int) -> nn.Module:
        if bottleneck is None:
            return Block(inputs, outputs, stride)
        return Bottleneck(inputs, bottleneck * outputs // EXPANSION, outputs, stride)

    return nn.Sequential(block(inputs, stride), *(block(outputs, 1) for _ in range(blocks - 1)))


def published(network: ResNet, weights: str | None, name: str, stem: Stem, channels: int) -> nn.Module:
    """The network with the published weights in a file, if one is named; the classifier `fc` in it is not used."""
    if weights is not None:
        load_weights(network, weights, f"{name} with stem '{stem}' and {channels} channels", ignored={"fc"})
    return network
