"""What the pseudo-anomalies share: boxes, noise, colours, pasting and Poisson blending."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from trainables.pseudo_anomalies._colour import Jitter, hue_matrix, jitter, recoloured
from trainables.pseudo_anomalies._geometry import Turned, two_places
from trainables.pseudo_anomalies._noise import perlin_noise, smooth_noise
from trainables.pseudo_anomalies._paste import Boxed, Scattered, paste
from trainables.pseudo_anomalies._poisson import blend, gradients
from trainables.pseudo_anomalies._row_first import lattice, row_first
from trainables.pseudo_anomalies._spots import Spots, lines, read, sample
from trainables.pseudo_anomalies._windows import Box, Windows, around, boxes_elsewhere


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
    change = jitter(images, rng(), torch.tensor([0.0, 0.2]))
    changed = change.of_spots(image, values)
    torch.testing.assert_close(changed[:2], values[:2])
    draw = rng()
    brightness, contrast = (0.8 + 0.4 * torch.rand(2, generator=draw)[1] for _ in range(2))
    bright = brightness * values[2:]
    torch.testing.assert_close(changed[2:], bright.mean() + contrast * (bright - bright.mean()))

    box = Box(*(torch.tensor([side, side]) for side in (1, 1, 1, 2)))  # 1 x 2 pixels of each, in windows of just that
    [windows] = around(torch.empty(2, 1, 3, 4), box)
    torch.testing.assert_close(change.of_windows(windows, values.view(2, 1, 1, 2)).view(4, 1), changed)


def test_only_the_box_counts_for_a_window_s_mean() -> None:
    box = Box(*(torch.tensor(part) for part in ([0, 0], [0, 0], [2, 4], [3, 3])))  # the first fills half of its window
    [windows] = around(torch.empty(2, 1, 4, 3), box)
    lifted = Jitter(torch.zeros(2, 1, 1), torch.ones(2)).of_windows(
        windows, torch.tensor([0.2, 0.2, 0.9, 0.9]).expand(2, 1, 3, 4).mT
    )
    assert lifted[:, 0, 0, 0].tolist() == pytest.approx([0.2, 0.55])


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
    spots = Spots(torch.tensor([0, 1]), at, at)
    made = paste(images, lambda: Scattered(spots, torch.tensor(next(values))[:, None]))
    assert made.images[:, 0, 1, 1].tolist() == pytest.approx([0.5, 0.7])
    assert made.mask.sum() == 2
    given_up = paste(images, lambda: Scattered(spots, torch.full((2, 1), 0.5 / 255)))
    assert given_up.images.eq(0).all()
    assert not given_up.mask.any()


def test_paste_of_boxes_repeats_only_what_changed_nothing_and_leaves_what_is_around_them() -> None:
    images = noise(2, 3, 9, 9)
    draws = iter([([0.3, 0.0], [2, 3]), ([0.6, 0.4], [1, 1])])

    def draw() -> Boxed:
        change, side = (torch.tensor(part) for part in next(draws))
        box = Box(torch.tensor([7, 0]), torch.tensor([0, 6]), side, torch.tensor([3, 2]))
        return Boxed((w, w.of(images) + change[w.image, None, None, None]) for w in around(images, box))

    made = paste(images, draw)
    expected = images.clone()
    expected[0, :, 7:9, 0:3] += 0.3
    expected[1, :, 0:1, 6:8] += 0.4
    torch.testing.assert_close(made.images, expected)
    assert torch.equal(made.mask, (expected != images).any(1, keepdim=True))


def test_lines_list_every_pixel_of_every_piece_and_of_none() -> None:
    pieces = (torch.tensor(part) for part in ([0, 2, 2], [1, 4, 0], [1, 0, 2], [3, 0, 1]))
    spots = lines(*pieces)
    assert [*zip(*(part.tolist() for part in spots), strict=True)] == [(0, 1, 1), (0, 1, 2), (0, 1, 3), (2, 0, 2)]
    images = noise(3, 2, 5, 5)
    torch.testing.assert_close(
        sample(images, *(part.float() if i else part for i, part in enumerate(spots))), read(images, spots)
    )


def test_turned_boxes_list_the_pixels_whose_centres_are_inside() -> None:
    images, draw = torch.empty(200, 1, 20, 24), rng()
    y, x, along, across = (
        low + (high - low) * torch.rand(200, generator=draw) for low, high in ((-2, 22), (-2, 26), (0.8, 9), (0.8, 9))
    )
    angle = torch.rand(200, generator=draw) * 7 - 3.5
    angle[:4] = torch.tensor([0, math.pi / 2, math.pi, 1e-7])
    turned = Turned(y, x, along, across, angle)
    down, right = torch.arange(20)[:, None] - y[:, None, None], torch.arange(24) - x[:, None, None]
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    up, beside = (down * cos - right * sin).abs(), (down * sin + right * cos).abs()
    near = ((up - along[:, None, None]).abs() < 1e-4) | ((beside - across[:, None, None]).abs() < 1e-4)  # rounding
    inside = (up <= along[:, None, None]) & (beside <= across[:, None, None])
    listed = torch.zeros_like(inside)
    spots = turned.spots(images)
    listed[spots] = True
    assert listed.sum() == len(spots.image), "a pixel was listed twice"
    assert torch.equal(listed | near, inside | near)
    assert inside.flatten(1).any(1).sum() > 150


def test_windows_hold_every_box_and_lie_in_the_image() -> None:
    images, draw = noise(40, 2, 17, 23), rng()
    height, width = (torch.randint(1, side, (40,), generator=draw) for side in (18, 24))
    (top, left), (from_top, from_left) = two_places(images, draw, height.clamp(max=16), width)
    box = Box(top, left, height.clamp(max=16), width)
    boxes, written, elsewhere = 0, torch.zeros_like(images), noise(40, 2, 17, 23, seed=1)
    for windows in around(images, box):
        found = boxes_elsewhere(elsewhere, windows, from_top[windows.number], from_left[windows.number])
        windows.put(written, found * windows.inside)
        boxes += len(windows.number)
        assert torch.equal(
            windows.of(images, windows.image.flip(0)), windows._replace(image=windows.image.flip(0)).of(images)
        )
    assert boxes == 40
    expected = torch.zeros_like(images)
    for i, (y, x, tall, wide) in enumerate(torch.stack(box, 1).tolist()):
        v, u = int(from_top[i]), int(from_left[i])
        expected[i, :, y : y + tall, x : x + wide] = elsewhere[i, :, v : v + tall, u : u + wide]
    assert torch.equal(written, expected)


def test_lattice_is_linear_between_pixels() -> None:
    images = torch.arange(12.0).view(1, 1, 3, 4).repeat(2, 2, 1, 1)
    images[1] += 100
    down, across = torch.tensor([[0.5, 2.0], [0.0, 1.5]]), torch.tensor([[1.25, 3.0], [0.0, 0.5]])
    values = lattice(images, torch.tensor([1, 0]), down, across)
    assert values[:, :, 1].tolist() == [[[103.25, 105.0], [109.25, 111.0]], [[0.0, 0.5], [6.0, 6.5]]]


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
        return gradients(row_first(windows.of(foreign)))

    solved = images.clone()
    for windows, values in blend(images, box, wanted):
        windows.put(solved, windows.of(solved).lerp(values, windows.inside))
    for number, (top, left, tall, wide) in enumerate(torch.stack(box, 1).tolist()):
        pixels = itertools.product(range(top, top + tall), range(left, left + wide))
        inside = {pixel: i for i, pixel in enumerate(pixels)}
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
        found = solved[number, :, top : top + tall, left : left + wide].flatten(1).T
        np.testing.assert_allclose(found.numpy(), exact, atol=1e-10)


def test_blending_is_accurate_in_single_precision_and_of_the_image_itself_changes_nothing() -> None:
    images = noise(2, 1, 224, 224)
    box = Box(*(torch.full((2,), side) for side in (1, 1, 222, 222)))
    [(windows, values)] = blend(images, box, lambda windows, here: gradients(here))
    torch.testing.assert_close(values, windows.of(images), atol=2e-4, rtol=0)
