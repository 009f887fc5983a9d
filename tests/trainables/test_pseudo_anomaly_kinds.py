"""Pseudo-anomalies from other images and from other pseudo-anomalies, and those of published code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydantic
import pytest
import torch
from PIL import Image
from seeded import noise, rng
from torch import Tensor

from assay import shelves
from assay.config import binding, space, space_syntax
from assay.contracts import PseudoAnomalies
from assay.errors import DataError, InputError
from trainables.pseudo_anomalies._foreground import CELLS, foreground, somewhere
from trainables.pseudo_anomalies._items import OnPixels, ready
from trainables.pseudo_anomalies._noise import smooth_noise
from trainables.pseudo_anomalies.cobra_cutpaste_as_released import cobra_cutpaste_as_released
from trainables.pseudo_anomalies.cutpaste_3way import cutpaste_3way
from trainables.pseudo_anomalies.cutpaste_union import cutpaste_union
from trainables.pseudo_anomalies.feature_noise import feature_noise
from trainables.pseudo_anomalies.foreground_patch import foreground_patch
from trainables.pseudo_anomalies.fpi import fpi
from trainables.pseudo_anomalies.mixture import Mixture
from trainables.pseudo_anomalies.nsa import nsa
from trainables.pseudo_anomalies.perlin import perlin
from trainables.pseudo_anomalies.pii import pii


def make(name: str, images: Tensor, seed: int = 0, **parameters: object) -> PseudoAnomalies:
    normals = noise(12, *images.shape[1:], seed=9).to(images)
    item = shelves.Item("pseudo_anomalies", name, parameters)
    made = ready(item, normals)(images, rng(seed))
    assert isinstance(made, PseudoAnomalies)
    return made


def test_pii_and_nsa_meet_their_surroundings() -> None:
    dark, bright = torch.full((1, 1, 48, 48), 0.2), torch.full((1, 1, 48, 48), 0.7)
    bright = bright + 0.1 * smooth_noise(bright, rng(), 3.0)[:, None]
    images = torch.cat([dark, bright.clamp(0, 1)])
    for item in (pii, nsa):
        made = item(images, rng(1))
        assert made.mask[0].any()
        assert (made.images[0] - 0.2).abs().max() < 0.4, "the other image's brightness came with its structure"


def test_fpi_is_a_mix_of_two_images() -> None:
    images = torch.stack([torch.full((1, 32, 32), 0.2), torch.full((1, 32, 32), 0.8)])
    for seed in range(20):
        made = fpi(images, rng(seed), factor=0.5)
        first, second = (made.images[i][made.mask[i]] for i in (0, 1))
        assert 0.2 < first.min() == first.max() <= 0.5 + 1e-6
        assert 0.5 - 1e-6 <= second.min() == second.max() < 0.8


def test_nsa_gives_an_image_at_most_the_stated_number_of_patches() -> None:
    images = noise(40, 1, 64, 64)
    one, many = (nsa(images, rng(), patches=n, half=0.1) for n in (1, 8))
    for mask in one.mask[:, 0]:
        assert mask.sum() == mask.any(0).sum() * mask.any(1).sum() <= 14 * 14
    boxed = [mask.sum() == mask.any(0).sum() * mask.any(1).sum() for mask in many.mask[:, 0]]
    assert not all(boxed)


def test_a_batch_of_one_takes_from_itself() -> None:
    for item in (fpi, pii, nsa, perlin):
        image = noise(1, 3, 32, 32)
        assert not torch.equal(item(image, rng()).images, image)


@pytest.mark.parametrize("item", [cutpaste_3way, cutpaste_union])
def test_unions_are_half_patch_half_scar(item: object) -> None:
    masks = item(noise(400, 1, 128, 128), rng()).mask[:, 0].float()
    shares = masks.mean((1, 2))
    assert 150 < (shares < 0.012).sum() < 250, "scars"
    patches = shares[shares >= 0.012]
    least, most = (0.02, 0.15) if item is cutpaste_3way else (0.1, 0.2)
    assert patches.min() > 0.9 * least
    assert patches.max() <= most


def test_cobra_s_cutpaste_is_as_black_and_as_small_as_was_measured() -> None:
    images = torch.full((1000, 3, 224, 224), 0.5).expand(1000, -1, -1, -1)
    black, areas = [], []
    for part in images.split(100):
        made = cobra_cutpaste_as_released(part, rng(len(areas)))
        dark = (made.images.amax(1, keepdim=True) < 0.05) & made.mask
        pasted = made.mask.sum((1, 2, 3))
        black += (dark.sum((1, 2, 3)) > pasted / 2).tolist()
        areas += (pasted / 224**2).tolist()
    assert 0.5 < np.mean(black) < 0.6
    assert 0.009 < np.mean(areas) < 0.013
    assert 0.024 < max(areas) < 0.034


def test_foreground_is_what_differs_from_the_border() -> None:
    images = 0.1 + 0.02 * noise(2, 3, 64, 64)
    images[0, :, 20:44, 12:32] += 0.6
    cells = foreground(images)
    thing = torch.zeros(CELLS, CELLS, dtype=torch.bool)
    thing[10:22, 6:16] = True
    assert torch.equal(cells[0], thing)
    y, x = somewhere(images[:1].expand(500, -1, -1, -1), cells[:1].expand(500, -1, -1), rng())
    assert (y.min(), y.max()) >= (19, 42)
    assert y.max() < 44
    assert x.min() > 11
    assert x.max() < 32
    assert foreground(torch.full((1, 1, 40, 40), 0.3)).all()


def test_foreground_patches_lie_on_the_thing_and_grow_with_the_level() -> None:
    images = torch.zeros(60, 1, 64, 64)
    images[:, :, 24:56, 24:56] = 0.3 + 0.3 * noise(60, 1, 32, 32)
    made = foreground_patch(images, rng(), side=0.2)
    touched = [mask[0, 24:56, 24:56].any() for mask in made.mask]
    assert all(touched)
    light, heavy = (foreground_patch(images, rng(), level=level) for level in ("light", "heavy"))
    assert torch.equal(light.mask, heavy.mask)
    changes = [(made.images - images)[made.mask].abs().mean() for made in (light, heavy)]
    assert changes[1] > 1.3 * changes[0]


def test_perlin_textures_come_from_where_they_are_asked(tmp_path: Path) -> None:
    images = torch.stack([torch.full((1, 32, 32), 0.2), noise(1, 32, 32)])
    Image.fromarray(np.full((40, 50), 255, dtype=np.uint8)).save(tmp_path / "white.png")
    white = perlin(images, rng(), opacity=1.0, texture=str(tmp_path))
    for image, mask, before in zip(white.images, white.mask, images, strict=True):
        # White, or inverted to black, mixed with what was there.
        share = (image - before)[mask] / torch.where(image[mask] > before[mask], 1 - before[mask], -before[mask])
        assert share.std() < 1e-3
    own = perlin(images, rng(), texture="itself")
    values = own.images[0][own.mask[0]]
    assert values.max() - values.min() < 1e-5, "a flat image's own texture is flat"
    with pytest.raises(DataError, match="no such folder"):
        perlin(images, rng(), texture=str(tmp_path / "nowhere"))


def test_feature_noise_has_its_deviation_and_is_refused_where_images_are_needed() -> None:
    features = noise(64, 200)
    made = feature_noise(features, rng(), deviation=0.05)
    assert (made - features).std().item() == pytest.approx(0.05, rel=0.05)
    with pytest.raises(pydantic.ValidationError, match="'feature_noise' works on features"):
        pydantic.TypeAdapter(OnPixels).validate_python("feature_noise")
    cobra = shelves.load("trainables", "cobra")
    with pytest.raises(pydantic.ValidationError, match="works on features"):
        shelves.bind(cobra, {"pseudo_anomaly": "feature_noise"})


def test_mixture_draws_in_proportion_to_weights() -> None:
    parts = {
        "hole": {"item": "cutout", "weight": 3},
        "line": {"item": {"scar": {"width": 0.02}}, "weight": 1},
        "never": {"item": "cutperm", "weight": 0},
    }
    images = noise(400, 1, 48, 48) / 2 + 0.25
    made = make("mixture", images, of=parts)
    holes = made.images.eq(0).flatten(1).any(1)
    assert 260 < holes.sum() < 340
    assert made.mask.flatten(1).float().mean(1).max() < 0.1


def test_mixture_says_what_is_wrong_with_it() -> None:
    with pytest.raises(InputError, match="every weight"):
        make("mixture", noise(2, 1, 16, 16), of={"a": {"item": "scar", "weight": 0}})
    with pytest.raises(pydantic.ValidationError, match="works on features"):
        shelves.bind(Mixture, {"of": {"a": {"item": "feature_noise"}}})
    with pytest.raises(pydantic.ValidationError, match="at least 1"):
        shelves.bind(Mixture, {"of": {}})


def test_the_mix_itself_can_be_searched() -> None:
    raw = {
        "pseudo_anomaly": {
            "choice": [
                {
                    "mixture": {
                        "of": {
                            "a": {
                                "item": {"cutpaste": {"area": {"uniform": [0.1, 0.2]}}},
                                "weight": {"uniform": [0, 1]},
                            }
                        }
                    }
                }
            ]
        }
    }
    read_space, faults = space_syntax.read(raw)
    assert faults == []
    assert {"pseudo_anomaly.mixture.of.a.weight"} < set(space.varied(read_space))
    assert binding.bind(shelves.load("trainables", "cobra"), {}, read_space).faults == []
