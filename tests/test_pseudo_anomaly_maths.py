"""What the pseudo-anomalies share: boxes, noise, colours, pasting and Poisson blending."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from trainables.pseudo_anomalies._colour import hue_matrix, jitter, recoloured
from trainables.pseudo_anomalies._geometry import two_places
from trainables.pseudo_anomalies._noise import perlin_noise, smooth_noise
from trainables.pseudo_anomalies._paste import paste
from trainables.pseudo_anomalies._poisson import Box, Windows, blend, gradients
from trainables.pseudo_anomalies._spots import boxes, read, sample


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=rng(seed))


def test_two_places_differ_and_reach_every_fit() -> None:
    sides = torch.tensor([15, 3] * 500)
    first, second = two_places(torch.empty(1000, 1, 16, 16), rng(), sides, sides)
    assert not ((first[0] == second[0]) & (first[1] == second[1])).any()
    for top, left in (first, second):
        assert {*zip(top[::2].tolist(), left[::2].tolist(), strict=True)} == {(0, 0), (0, 1), (1, 0), (1, 1)}
        assert (top[1::2].max(), left[1::2].max()) == (13, 13)


def test_smooth_noise_has_unit_variance_and_its_own_scale() -> None:
    images = torch.empty(64, 1, 48, 48)
    fine, coarse = smooth_noise(images, rng(), 1.5), smooth_noise(images, rng(), 6.0)
    for field in (fine, coarse):
        assert field.std().item() == pytest.approx(1, abs=0.1)
        assert field[:, 0].std().item() == pytest.approx(1, abs=0.15)
    # For Gaussian-filtered noise the mean square of the slope is 1 / (2 sigma^2).
    assert coarse.diff(dim=1).square().mean().item() == pytest.approx(1 / 72, rel=0.2)


def test_perlin_noise_is_bounded_and_continuous() -> None:
    field = perlin_noise(torch.empty(64, 1, 64, 64), rng(), 4)
    assert 0.5 < field.abs().max() <= 1.42
    assert field.diff(dim=1).abs().max() < 0.5


def test_jitter_is_brightness_then_contrast_around_the_part_s_mean() -> None:
    images, image = torch.empty(2, 1, 1, 1), torch.tensor([0, 0, 1, 1])
    values = torch.tensor([[0.3], [0.5], [0.2], [0.6]])
    changed = jitter(images, image, values, torch.tensor([0.0, 0.2]), rng())
    torch.testing.assert_close(changed[:2], values[:2])
    draw = rng()
    brightness, contrast = (0.8 + 0.4 * torch.rand(2, generator=draw)[1] for _ in range(2))
    bright = brightness * values[2:]
    torch.testing.assert_close(changed[2:], bright.mean() + contrast * (bright - bright.mean()))


def test_a_full_turn_of_the_hue_is_no_change_and_grey_has_no_hue() -> None:
    values, one = noise(9, 3), torch.ones(1)

    def turned(values: Tensor, turns: float) -> Tensor:
        image = torch.zeros(len(values), dtype=torch.long)
        return recoloured(values, image, hue_matrix(turns * one, one), torch.zeros(1, 3))

    torch.testing.assert_close(turned(values, 1.0), values)
    thirds = turned(values, 1 / 3)
    assert torch.allclose(thirds, values.roll(1, 1), atol=1e-5) or torch.allclose(thirds, values.roll(-1, 1), atol=1e-5)
    grey = values[:, :1].expand(-1, 3)
    torch.testing.assert_close(turned(grey, 0.4), grey)


def test_paste_repeats_only_what_changed_nothing_and_gives_up_with_an_empty_mask() -> None:
    images = torch.zeros(2, 1, 4, 4)
    values = iter([[0.5, 0.0], [0.6, 0.7]])
    at = torch.tensor([1, 1])
    spots = boxes(at, at, at, at)
    made = paste(images, lambda: (spots, torch.tensor(next(values))[:, None]))
    assert made.images[:, 0, 1, 1].tolist() == pytest.approx([0.5, 0.7])
    assert made.mask.sum() == 2
    given_up = paste(images, lambda: (spots, torch.full((2, 1), 0.5 / 255)))
    assert given_up.images.eq(0).all()
    assert not given_up.mask.any()


def test_boxes_list_every_pixel_of_every_box_and_of_none() -> None:
    top, left = torch.tensor([0, 2, 1]), torch.tensor([1, 0, 1])
    height, width = torch.tensor([2, 0, 3]), torch.tensor([3, 4, 1])
    spots = boxes(top, left, height, width)
    listed = [*zip(*(part.tolist() for part in spots), strict=True)]
    expected = [(0, y, x) for y, x in itertools.product((0, 1), (1, 2, 3))] + [(2, y, 1) for y in (1, 2, 3)]
    assert listed == expected
    images = noise(3, 2, 5, 5)
    torch.testing.assert_close(
        sample(images, *(part.float() if i else part for i, part in enumerate(spots))), read(images, spots)
    )


def test_sample_is_linear_between_pixels_and_repeats_the_border() -> None:
    images = torch.arange(12.0).view(1, 1, 3, 4)
    image = torch.zeros(3, dtype=torch.long)
    values = sample(images, image, torch.tensor([0.5, -3.0, 9.0]), torch.tensor([1.25, 2.0, 9.0]))
    assert values[:, 0].tolist() == pytest.approx([3.25, 2.0, 11.0])


def test_blending_solves_the_poisson_equation_exactly() -> None:
    images, foreign = noise(9, 2, 20, 24).double(), noise(9, 2, 20, 24, seed=1).double()
    box = Box(
        *(
            torch.tensor(part)
            for part in (
                [1, 2, 5, 1, 3, 4, 1, 9, 2],
                [1] * 9,
                [1, 2, 9, 18, 5, 6, 7, 3, 4],
                [22, 1, 7, 22, 3, 2, 9, 5, 11],
            )
        )
    )

    def wanted(windows: Windows, here: Tensor) -> tuple[Tensor, Tensor]:
        return gradients(windows.of(foreign))

    spots, values = blend(images, box, wanted)
    for number in range(9):
        own = spots.image == number
        inside = {
            (y, x): i for i, (y, x) in enumerate(zip(spots.row[own].tolist(), spots.column[own].tolist(), strict=True))
        }
        assert len(inside) == box.height[number] * box.width[number]
        matrix, right = np.zeros((len(inside), len(inside))), np.zeros((len(inside), 2))
        for (y, x), i in inside.items():
            matrix[i, i] = 4
            for beside in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                right[i] += (foreign[number, :, y, x] - foreign[number, :, beside[0], beside[1]]).numpy()
                if beside in inside:
                    matrix[i, inside[beside]] -= 1
                else:
                    right[i] += images[number, :, beside[0], beside[1]].numpy()
        exact = np.linalg.solve(matrix, right).clip(0, 1)
        np.testing.assert_allclose(values[own].numpy(), exact, atol=1e-10)


def test_blending_is_accurate_in_single_precision_and_of_the_image_itself_changes_nothing() -> None:
    images = noise(2, 1, 224, 224)
    box = Box(*(torch.full((2,), side) for side in (1, 1, 222, 222)))
    spots, values = blend(images, box, lambda windows, here: gradients(here))
    torch.testing.assert_close(values, read(images, spots), atol=2e-4, rtol=0)
