"""The backbone `timm`: its models by name, weights by file, the model's own normalisation, maps of transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm as library
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

from assay import shelves
from assay.contracts import Images, TrainingData
from assay.errors import InputError
from assay.models import model_folder
from assay.shelves import Item
from assay.store.store import Store
from trainables._patch_features import PatchFeatures
from trainables.backbones.resnet18 import resnet18
from trainables.backbones.timm import timm

VIT = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
NETWORKS = {  # name: a side of images, levels, whether maps shrink from level to level
    "resnet18.a1_in1k": (64, 4, True),
    "convnext_atto.d2_in1k": (64, 4, True),
    "mobilenetv3_small_050.lamb_in1k": (64, 4, True),
    VIT: (64, 4, False),
    "vit_small_patch14_dinov2.lvd142m": (56, 4, False),
    "vit_small_patch14_reg4_dinov2.lvd142m": (56, 4, False),
    "swin_tiny_patch4_window7_224.ms_in1k": (224, 4, True),
}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        yield


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def saved(name: str, folder: Path, suffix: str = ".safetensors") -> tuple[nn.Module, str]:
    """A model of timm with random weights, and a file of them."""
    network = library.create_model(name, pretrained=False).eval()
    path = folder / f"weights{suffix}"
    save_file(network.state_dict(), path) if suffix == ".safetensors" else torch.save(network.state_dict(), path)
    return network, str(path)


def data(side: int = 32, count: int = 6) -> TrainingData:
    def images(seed: int) -> Images:
        pixels = np.random.default_rng(seed).integers(0, 256, (count, 1, side, side), dtype=np.uint8)
        names = tuple(map(str, range(count)))
        return Images(pixels, np.zeros(count, np.int64), names, names, names)

    return TrainingData(images(0), images(1), {})


@pytest.mark.parametrize("name", NETWORKS)
def test_it_keeps_the_promises_of_a_backbone(name: str) -> None:
    side, count, shrinks = NETWORKS[name]
    network = timm(channels=1, model=name, weights="random").eval()
    images = noise(2, 1, side, side).requires_grad_()
    state = torch.get_rng_state()
    features, levels = network(images), network.levels(images)
    (gradient,) = torch.autograd.grad(features.square().sum(), images)
    assert torch.equal(torch.get_rng_state(), state), "a forward drew from the global RNG"
    assert features.shape == (2, network.features)
    assert (gradient.flatten(1).abs().amax(1) > 0).all()
    torch.testing.assert_close(network.maps(images).mean((2, 3)), features)
    assert len(levels) == count
    sides = [level.shape[-1] for level in levels]
    assert sides == [sides[0] // 2**n if shrinks else sides[0] for n in range(count)]
    assert all(torch.equal(one, other) for one, other in zip(levels, network.levels(images, 2), strict=False))
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", ["resnet18.a1_in1k", VIT])
def test_weights_of_a_file_give_timms_own_features_of_normalised_images(name, suffix, tmp_path) -> None:
    theirs, file = saved(name, tmp_path, suffix)
    ours = timm(channels=3, model=name, weights=file).eval()
    config = library.data.resolve_model_data_config(theirs)
    images = noise(2, 3, 224, 224)
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    _, *wanted = theirs.forward_intermediates((images - mean) / std, norm=name == VIT)
    last = wanted[0][-1]
    torch.testing.assert_close(ours.maps(images), last, rtol=1e-4, atol=1e-4)


def test_a_resnet_of_timm_is_our_own_of_the_same_weights(tmp_path) -> None:
    _, file = saved("resnet18.a1_in1k", tmp_path)
    images = noise(2, 3, 64, 64)
    native = resnet18(channels=3, stem="imagenet", weights=file).eval()
    through = timm(channels=3, model="resnet18.a1_in1k", weights=file).eval()
    for one, other in zip(native.levels(images), through.levels(images), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_mean_and_deviation_are_those_of_the_tag() -> None:
    for name, mean in ((VIT, 0.5), ("vit_base_patch16_clip_224.openai", 0.48145466), ("mobilevit_xxs", 0.0)):
        network = timm(channels=1, model=name, weights="random")
        assert network.normalise.mean.flatten()[0].item() == pytest.approx(mean)


def test_weights_of_the_authors_are_translated_where_timm_can(tmp_path) -> None:
    name = "vit_small_patch14_dinov2.lvd142m"
    theirs, _ = saved(name, tmp_path)
    state = {**theirs.state_dict(), "mask_token": torch.zeros(1, 384)}
    torch.save(state, tmp_path / "dinov2.pth")
    ours = timm(channels=3, model=name, weights=str(tmp_path / "dinov2.pth")).eval()
    assert torch.equal(ours.network.blocks[3].attn.qkv.weight, theirs.blocks[3].attn.qkv.weight)


def test_levels_are_numbers_of_the_models_own_maps() -> None:
    some = timm(channels=1, model=VIT, weights="random", levels=(4, 7)).eval()
    assert [level.shape for level in some.levels(noise(1, 1, 64, 64))] == [(1, 192, 4, 4)] * 2
    assert len(some.network.blocks) == 8, "blocks beyond the last level are kept"
    with pytest.raises(InputError, match="has the levels 0 to 11; level 12 is asked for"):
        timm(channels=1, model=VIT, weights="random", levels=(2, 12))
    with pytest.raises(InputError, match="'timm' has 2 levels; level 3 is asked for"):
        PatchFeatures(Item("backbones", "timm", {"model": VIT, "weights": "random", "levels": [4, 7]}), 1, (2, 3))


def test_images_must_be_whole_patches_and_of_the_one_size_where_there_is_only_one() -> None:
    dino = timm(channels=1, model="vit_small_patch14_dinov2.lvd142m", weights="random")
    with pytest.raises(InputError, match=r"whole patches of 14 x 14 pixels, such as 56 or 70, and these .* 64 x 64"):
        dino(noise(1, 1, 64, 64))
    assert dino.maps(noise(1, 1, 28, 42)).shape == (1, 384, 2, 3)
    hiera = timm(channels=1, model="hiera_tiny_224.mae_in1k_ft_in1k", weights="random")
    with pytest.raises(InputError, match="images of 224 x 224 pixels only, and these images have 64 x 64"):
        hiera(noise(1, 1, 64, 64))


def test_what_cannot_be_used_is_refused_with_what_to_do(tmp_path) -> None:
    _, file = saved(VIT, tmp_path)
    with pytest.raises(InputError, match=r"no model 'restnet18'; near it: resnet18"):
        timm(channels=1, model="restnet18", weights="random")
    with pytest.raises(InputError, match=r"Invalid pretrained tag \(nonsense\)"):
        timm(channels=1, model="resnet18.nonsense", weights="random")
    for elsewhere in ("hf-hub:timm/resnet18", "local-dir:.", "./resnet18"):
        with pytest.raises(InputError, match="timm has no model"):
            timm(channels=1, model=elsewhere, weights="random")
    with pytest.raises(InputError) as caught:
        timm(channels=1, model="resnet18.a1_in1k", weights=file)
    assert "missing (conv1.weight, bn1.weight, bn1.bias, " in str(caught.value)
    assert "unexpected (blocks.0.attn.proj.bias, " in str(caught.value)
    with pytest.raises(InputError, match="of another shape"):
        timm(channels=1, model="vit_small_patch16_224", weights=file)
    torch.save(nn.Linear(2, 2), tmp_path / "pickled.pth")
    with pytest.raises(InputError, match="code in a file is never run"):
        timm(channels=1, model=VIT, weights=str(tmp_path / "pickled.pth"))
    with pytest.raises(ValidationError, match="weights"):
        shelves.bind(timm, {"model": VIT})


def test_nothing_is_fetched_unless_the_user_says_hub(monkeypatch) -> None:
    asked: list[bool] = []

    def create(name: str, pretrained: bool, **rest: object) -> nn.Module:
        asked.append(pretrained)
        raise OSError("no connection")

    monkeypatch.setattr(library, "create_model", create)
    for weights in ("random", "gone.pth", "hub"):
        with pytest.raises(InputError, match="no connection"):
            timm(channels=1, model=VIT, weights=weights)
    with shelves.before_weights(), pytest.raises(InputError, match="no connection"):
        timm(channels=1, model=VIT, weights="hub")
    assert asked == [False, False, True, False]


@pytest.mark.parametrize("name", ["patchcore", "neighbours", "gaussian", "simplenet"])
def test_features_of_a_transformer_serve_a_trainable_whose_model_needs_no_file(name, tmp_path) -> None:
    _, file = saved(VIT, tmp_path)
    recipe = shelves.load("trainables", name)
    backbone = {"timm": {"model": VIT, "weights": file, "levels": [2, 5, 8]}}
    parameters = {"backbone": backbone, **({"epochs": 1} if name == "simplenet" else {})}
    run = recipe(data(), seed=0, device="cpu", **shelves.bind(recipe, parameters))
    run.train_epoch()
    images = noise(3, 1, 32, 32).requires_grad_()
    detector = run.detector()
    scores = detector(images)
    (gradient,) = torch.autograd.grad(scores.sum(), images)
    assert scores.shape == (3,)
    assert (gradient.flatten(1).abs().amax(1) > 0).all()
    Path(file).unlink()
    manifest = {"trainable": name, "parameters": parameters, "channels": 1, "image_size": 32, "threshold": {"value": 1}}
    store = Store(str(tmp_path / "store"))
    loaded = model_folder.load(store, model_folder.write(store, detector, manifest))
    torch.testing.assert_close(loaded.detector(images), scores)
