"""Every backbone keeps the shelf's promises; the three on it are the networks they are named for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import save_file
from torch import Tensor, nn

from assay import shelves
from assay.errors import InputError
from trainables.backbones import _resnet
from trainables.backbones._folded import folded
from trainables.backbones._resnet import Block, Bottleneck
from trainables.backbones.efficientnet_lite0 import efficientnet_lite0
from trainables.backbones.resnet18 import resnet18
from trainables.backbones.resnet50 import resnet50
from trainables.backbones.small_resnet import small_resnet
from trainables.backbones.wide_resnet50_2 import wide_resnet50_2

NAMES = [name for name in shelves.names("backbones") if name != "timm"]  # that one: tests/anomalib, with timm installed


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        yield


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def build(name: str, channels: int) -> nn.Module:
    item = shelves.load("backbones", name)
    network = item(channels=channels, **shelves.bind(item, {}))
    assert isinstance(network, nn.Module)
    return network


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str, channels: int) -> None:
    network = build(name, channels).eval()
    images = noise(3, channels, 32, 32).requires_grad_()
    state = torch.get_rng_state()
    features = network(images)
    assert features.shape == (3, network.features)
    assert torch.equal(network(images), features)
    (gradient,) = torch.autograd.grad(features.square().sum(), images)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().amax(1) > 0).all()
    assert torch.equal(torch.get_rng_state(), state), "a forward drew from the global RNG"
    maps = network.maps(images)
    assert maps.shape[:2] == (3, network.features)
    torch.testing.assert_close(maps.mean((2, 3)), features)
    torch.testing.assert_close(network(images[:1]), features[:1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_training_mode_takes_odd_and_oblong_images_without_the_global_rng(name: str) -> None:
    network = build(name, 1).train()
    state = torch.get_rng_state()
    features = network(noise(2, 1, 33, 48))
    assert torch.equal(torch.get_rng_state(), state)
    assert features.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_the_state_dict_rebuilds_the_network(name: str) -> None:
    first, second = build(name, 1).eval(), build(name, 1).eval()
    second.load_state_dict(first.state_dict())
    images = noise(2, 1, 32, 32)
    assert torch.equal(first(images), second(images))


@pytest.mark.parametrize("name", ["small_resnet", "resnet18"])
def test_weights_follow_the_seed(name: str) -> None:
    def first_weights(seed: int) -> Tensor:
        torch.random.manual_seed(seed)
        return next(build(name, 1).parameters())

    assert torch.equal(first_weights(1), first_weights(1))
    assert not torch.equal(first_weights(1), first_weights(2))


def test_small_resnet_is_small() -> None:
    assert 0.25e6 < parameters(small_resnet(channels=1)) < 0.35e6
    wide = small_resnet(channels=3, width=24, blocks=2)
    assert wide(noise(2, 3, 32, 32)).shape == (2, 192)


def test_resnet18_has_the_published_number_of_parameters() -> None:
    assert parameters(resnet18(channels=3, stem="imagenet")) == 11_689_512 - 513_000
    assert resnet18(channels=1, stem="imagenet").eval().maps(noise(1, 1, 64, 64)).shape == (1, 512, 2, 2)
    assert resnet18(channels=1, stem="cifar").eval().maps(noise(1, 1, 32, 32)).shape == (1, 512, 4, 4)


@pytest.mark.parametrize("file", ["weights.safetensors", "weights.pt"])
def test_resnet18_loads_a_published_state_dict(tmp_path: Path, file: str) -> None:
    source = resnet18(channels=3, stem="imagenet").eval()
    state = {**source.state_dict(), "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    path = tmp_path / file
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    images = noise(1, 3, 64, 64)
    assert torch.equal(resnet18(channels=3, stem="imagenet", weights=str(path)).eval()(images), source(images))
    grey = noise(1, 1, 64, 64)
    loaded = resnet18(channels=1, stem="imagenet", weights=str(path)).eval()
    torch.testing.assert_close(loaded(grey), source(grey.expand(-1, 3, -1, -1)))


def test_resnet18_refuses_weights_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        resnet18(channels=1, weights=str(tmp_path / "none.pt"))
    save_file(small_resnet(channels=1).state_dict(), tmp_path / "small.safetensors")
    with pytest.raises(InputError, match="do not fit resnet18 with stem 'cifar'"):
        resnet18(channels=1, weights=str(tmp_path / "small.safetensors"))
    torch.save(small_resnet(channels=1), tmp_path / "pickled.pt")
    with pytest.raises(InputError, match="cannot be read"):
        resnet18(channels=1, weights=str(tmp_path / "pickled.pt"))
    torch.save({"epoch": 3, "state_dict": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match=r"save model.state_dict\(\) only"):
        resnet18(channels=1, weights=str(tmp_path / "checkpoint.pt"))
    (tmp_path / "torn.safetensors").write_bytes(b"not a tensor")
    with pytest.raises(InputError, match="cannot be read"):
        resnet18(channels=1, weights=str(tmp_path / "torn.safetensors"))


@pytest.mark.parametrize(("build", "count"), [(resnet50, 25_557_032), (wide_resnet50_2, 68_883_240)])
def test_bottleneck_networks_have_torchvisions_parameters_and_names(build, count: int) -> None:
    network = build(channels=1)
    assert parameters(network) == count - 2_049_000  # without the classifier
    names = set(network.state_dict())
    assert {"conv1.weight", "layer1.0.downsample.1.running_var", "layer3.5.conv3.weight", "layer4.2.bn3.bias"} <= names
    assert network.layer2[0].conv2.stride == (2, 2)
    assert network.eval().maps(noise(1, 1, 64, 64)).shape == (1, 2048, 2, 2)


def test_a_bottleneck_block_adds_its_input() -> None:
    block = Bottleneck(8, 2, 8, 1).eval()
    nn.init.zeros_(block.bn3.weight)
    images = noise(1, 8, 8, 8)
    assert torch.equal(block(images), images)


def test_what_does_not_fit_is_listed_by_kind_and_only_its_first_names(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file({"extra": torch.ones(1), "conv1.weight": torch.ones(2, 3), "fc.bias": torch.ones(1000)}, file)
    with pytest.raises(InputError) as caught:
        resnet50(channels=3, weights=str(file))
    message = str(caught.value)
    assert "do not fit resnet50 with stem 'imagenet' and 3 channels: " in message
    assert "missing (bn1.weight, bn1.bias, bn1.running_mean, bn1.running_var, layer1.0.conv1.weight, ...)" in message
    assert "1 unexpected (extra); 1 of another shape (conv1.weight 2 x 3 instead of 64 x 3 x 7 x 7)" in message


def test_weights_of_before_batches_were_counted_fit(tmp_path: Path) -> None:
    state = {k: v for k, v in resnet18(channels=3).state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    resnet18(channels=3, weights=str(tmp_path / "old.pth"))


def test_a_relative_file_of_weights_is_meant_from_the_folder_where_it_was_written(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shelves.bind(resnet18, {"weights": "some.pth"})["weights"] == str(tmp_path / "some.pth")
    assert shelves.bind(resnet18, {})["weights"] is None


class Marker:
    def __reduce__(self):
        return Path.touch, (Path("code_was_run"),)


def test_code_in_a_file_of_weights_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Marker()}, "weights.pth")
    with pytest.raises(InputError, match="code in a file is never run"):
        resnet18(channels=3, weights="weights.pth")
    assert not Path("code_was_run").exists()
    torch.load("weights.pth", weights_only=False)
    assert Path("code_was_run").exists()  # the file does hold code


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04torn", b"\x80\x02}q\x00(U\x01"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_torn_file_of_weights_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as a state dict"):
        resnet18(channels=3, weights=str(file))


def test_levels_stop_at_the_last_one_asked_for() -> None:
    for name in ("small_resnet", "resnet50", "efficientnet_lite0"):
        network, images = build(name, 1).eval(), noise(1, 1, 32, 32)
        every, some = network.levels(images), network.levels(images, 2)
        assert len(some) == 2
        assert all(torch.equal(one, other) for one, other in zip(some, every, strict=False))


def test_a_stored_model_needs_no_file_of_weights() -> None:
    with shelves.before_weights():
        resnet18(channels=3, weights="gone.pth")
    with pytest.raises(InputError, match="there is no such file"):
        resnet18(channels=3, weights="gone.pth")


def test_efficientnet_lite0_is_pretrained_and_stays_so_when_frozen() -> None:
    network = efficientnet_lite0(channels=3)
    assert parameters(network) == 4_652_008 - 1_281_000
    assert not any(parameter.requires_grad for parameter in network.parameters())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    images = noise(4, 3, 64, 64)
    first = network(images)
    network.train()
    assert torch.equal(network(images), first)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    torch.random.manual_seed(99)
    assert torch.equal(efficientnet_lite0(channels=3)(images), first)


@pytest.mark.parametrize("shape", [(64, 64), (65, 33), (1, 7)])
def test_efficientnet_lite0_is_the_network_of_its_package(shape: tuple[int, int]) -> None:
    ours = efficientnet_lite0(channels=3)
    plain = EfficientNet.from_name("efficientnet-lite0", image_size=None).eval()
    plain.load_state_dict(ours.network.state_dict(), strict=False)
    images = noise(2, 3, *shape)
    torch.testing.assert_close(ours.maps(images), plain.extract_features((images - 127 / 255) / (128 / 255)))


def test_efficientnet_lite0_can_be_fine_tuned() -> None:
    network = efficientnet_lite0(channels=1, frozen=False).train()
    state = torch.get_rng_state()
    network(noise(4, 1, 64, 64)).sum().backward()
    assert torch.equal(torch.get_rng_state(), state), "drop connect drew from the global RNG"
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_efficientnet_lite0_pads_for_the_size_it_is_given() -> None:
    assert efficientnet_lite0(channels=1).maps(noise(1, 1, 65, 224)).shape == (1, 1280, 3, 7)


def test_a_block_adds_its_input() -> None:
    block = Block(4, 4, 1).eval()
    nn.init.zeros_(block.bn2.weight)
    images = noise(1, 4, 8, 8)
    assert torch.equal(block(images), images)


def test_a_colour_network_repeats_grey_and_refuses_other_channels() -> None:
    grey = noise(2, 1, 64, 64)
    torch.testing.assert_close(
        efficientnet_lite0(channels=1)(grey), efficientnet_lite0(channels=3)(grey.expand(-1, 3, -1, -1))
    )
    with pytest.raises(InputError, match="1 or 3 channels, these have 4"):
        efficientnet_lite0(channels=4)


@pytest.mark.parametrize("name", ["small_resnet", "resnet18"])
def test_folding_batch_norms_leaves_the_function_and_the_weights_as_they_are(name: str) -> None:
    backbone = build(name, 3).double()
    torch.nn.init.uniform_(backbone.bn1.bias)
    images = torch.rand(4, 3, 32, 32, dtype=torch.float64)
    backbone(images)  # training mode: gives the batch norms statistics of their own
    backbone.eval()
    before, expected = backbone.state_dict(), backbone(images)
    with folded(backbone):
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in backbone.modules())
        torch.testing.assert_close(backbone(images), expected)
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())


def test_folding_comes_undone_after_an_error() -> None:
    backbone = build("small_resnet", 1).eval()
    names = list(backbone.state_dict())
    with pytest.raises(ValueError, match="in the middle"), folded(backbone):
        raise ValueError("in the middle")
    assert list(backbone.state_dict()) == names


def test_a_shortcut_with_a_stride_is_the_convolution_it_stands_for():
    ours = _resnet.convolution(3, 5, 1, 2)
    theirs = torch.nn.Conv2d(3, 5, 1, 2, bias=False)
    theirs.load_state_dict(ours.state_dict())
    for side in (8, 9):
        images = torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(side))
        torch.testing.assert_close(ours(images), theirs(images))


def test_training_on_channels_last_images_damages_no_memory():
    code = """
import torch
from trainables.backbones import _resnet
layer = _resnet.convolution(8, 16, 1, 2).to(memory_format=torch.channels_last)
images = torch.rand(16, 8, 16, 16).to(memory_format=torch.channels_last).requires_grad_()
kept = []
for _ in range(60):
    layer(images).square().mean().backward()
    kept.append(torch.rand(13).clone())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
