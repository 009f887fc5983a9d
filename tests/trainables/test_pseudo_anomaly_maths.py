"""What the pseudo-anomalies share: boxes, noise, colours, pasting and Poisson blending."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from seeded import noise, rng
from torch import Tensor

from trainables.pseudo_anomalies._boxes import Box, Boxed, Source, fill
from trainables.pseudo_anomalies._colour import hue_matrix, jitter, recoloured, same_colour
from trainables.pseudo_anomalies._geometry import Turned, two_places
from trainables.pseudo_anomalies._noise import perlin_noise, smooth_noise
from trainables.pseudo_anomalies._paste import Scattered, paste, paste_into, unchanged
from trainables.pseudo_anomalies._poisson import Blended, Places, between, sine_waves
from trainables.pseudo_anomalies._spots import Spots, crossings, lines, read, sample


def waiting_for(batch: int) -> Tensor:
    return torch.ones(batch, dtype=torch.bool)


WITH_AND_WITHOUT_GRADIENT = pytest.mark.parametrize("gradient", [True, False], ids=["gradient", "plain"])


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

    boxes = torch.stack([change.of_box(b, values.view(2, 1, 1, 2)[b]) for b in range(2)])
    torch.testing.assert_close(boxes.view(4, 1), changed)


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
    made = paste(images, lambda waiting: Scattered(spots, torch.tensor(next(values))[:, None]))
    assert made.images[:, 0, 1, 1].tolist() == pytest.approx([0.5, 0.7])
    assert made.mask.sum() == 2
    given_up = paste(images, lambda waiting: Scattered(spots, torch.full((2, 1), 0.5 / 255)))
    assert given_up.images.eq(0).all()
    assert not given_up.mask.any()


@WITH_AND_WITHOUT_GRADIENT
def test_paste_of_boxes_repeats_only_what_changed_nothing_and_leaves_what_is_around_them(gradient: bool) -> None:
    images = (noise(2, 3, 9, 9) / 2).requires_grad_(gradient)
    other = images.detach() + 0.4
    draws = iter([([0.3, 0.0], [2, 3]), ([0.6, 0.4], [1, 1])])

    def draw(waiting: Tensor) -> Boxed:
        share, side = (torch.tensor(part) for part in next(draws))
        box = Box(torch.tensor([7, 0]), torch.tensor([0, 6]), side, torch.tensor([3, 2]))
        source = Source(other, torch.arange(2), box.top, box.left)
        return Boxed(box, source, same_colour(images), share)

    made = paste(images, draw)
    expected = images.detach().clone()
    expected[0, :, 7:9, 0:3] += 0.3 * 0.4
    expected[1, :, 0:1, 6:8] += 0.4 * 0.4
    torch.testing.assert_close(made.images.detach(), expected)
    assert torch.equal(made.mask, (expected != images).any(1, keepdim=True))


@WITH_AND_WITHOUT_GRADIENT
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_boxes_are_taken_from_elsewhere_and_recoloured(gradient: bool, channels: int) -> None:
    images, other, draw = noise(40, channels, 17, 23), noise(7, channels, 17, 23, seed=1), rng()
    height, width = (torch.randint(1, side, (40,), generator=draw) for side in (17, 24))
    to, taken = two_places(images, draw, height, width)
    number, colour = torch.randint(0, 7, (40,), generator=draw), jitter(images, draw, 0.5)
    boxed = Boxed(Box(*to, height, width), Source(other, number, *taken), colour, torch.rand(40, generator=draw))
    waiting = torch.rand(40, generator=draw) < 0.7
    made = unchanged(images.requires_grad_(gradient))
    seen = boxed.into(made, waiting)
    expected = images.detach().clone()
    for i, (y, x, tall, wide) in enumerate(torch.stack(boxed.box, 1).tolist()):
        if waiting[i]:
            v, u = int(taken[0][i]), int(taken[1][i])
            patch = other[number[i], :, v : v + tall, u : u + wide]
            patch = torch.einsum("cd,dyx->cyx", colour.matrix[i], patch) + colour.lift[i] * patch.mean()
            expected[i, :, y : y + tall, x : x + wide].lerp_(patch.clamp(0, 1), float(boxed.share[i]))
    torch.testing.assert_close(made.images.detach(), expected)
    assert torch.equal(seen, waiting)
    assert torch.equal(made.mask, (made.images != images).any(1, keepdim=True))


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
    inside[190:] = False
    listed = torch.zeros_like(inside)
    spots = turned.spots(images, torch.arange(200) < 190)
    listed[spots] = True
    assert listed.sum() == len(spots.image), "a pixel was listed twice"
    assert torch.equal(listed[:190] | near[:190], inside[:190] | near[:190])
    assert not listed[190:].any(), "not wanted"
    assert inside.flatten(1).any(1).sum() > 150


def test_only_boxes_that_wait_and_would_look_different_are_filled() -> None:
    images, draw = noise(40, 2, 17, 23), rng()
    height, width = (torch.randint(1, side, (40,), generator=draw) for side in (17, 23))
    (top, left), _ = two_places(images, draw, height, width)
    box, waiting, made = Box(top, left, height, width), torch.arange(40) % 3 > 0, unchanged(images)
    shift = torch.where(torch.arange(40) % 2 > 0, 0.5, 0.9) / 255 + (torch.arange(40) % 4 > 2) / 255
    asked = []

    def values(b: int, rows: slice, columns: slice) -> Tensor:
        asked.append(b)
        return images[b, :, rows, columns] + shift[b]

    seen = fill(made, waiting, box, values)
    assert asked == waiting.nonzero()[:, 0].tolist()
    assert torch.equal(seen, waiting & (shift > 1 / 255))
    for b, (y, x, tall, wide) in enumerate(torch.stack(box, 1).tolist()):
        expected = images[b].clone()
        expected[:, y : y + tall, x : x + wide] += shift[b] * seen[b]
        assert torch.equal(made.images[b], expected)
        assert torch.equal(made.mask[b], (expected != images[b]).any(0, keepdim=True))


@WITH_AND_WITHOUT_GRADIENT
def test_crossings_are_read_at_every_pair_of_a_row_and_a_column(gradient: bool) -> None:
    images = noise(3, 2, 5, 7).requires_grad_(gradient)
    image, rows, columns = torch.tensor([2, 0]), torch.tensor([[4, 0, 0], [1, 2, 3]]), torch.tensor([[6, 1], [0, 0]])
    values = crossings(images, image, rows, columns)
    for k, c, m, n in itertools.product(range(2), range(2), range(3), range(2)):
        assert values[k, c, m, n] == images[image[k], c, rows[k, m], columns[k, n]]


def test_between_pixels_it_is_linear() -> None:
    images = torch.arange(12.0).view(1, 1, 3, 4).repeat(2, 2, 1, 1)
    images[1] += 100
    down, across = torch.tensor([[0.5, 2.0], [0.0, 1.5]]), torch.tensor([[1.25, 3.0], [0.0, 0.5]])
    values = [
        between(images[number], *pair)[1].tolist()
        for number, pair in zip((1, 0), zip(down, across, strict=True), strict=True)
    ]
    assert values == [[[103.25, 105.0], [109.25, 111.0]], [[0.0, 0.5], [6.0, 6.5]]]


def test_sample_is_linear_between_pixels_and_repeats_the_border() -> None:
    images = torch.arange(12.0).view(1, 1, 3, 4)
    image = torch.zeros(3, dtype=torch.long)
    values = sample(images, image, torch.tensor([0.5, -3.0, 9.0]), torch.tensor([1.25, 2.0, 9.0]))
    assert values[:, 0].tolist() == pytest.approx([3.25, 2.0, 11.0])


def blended(box: Box, foreign: Tensor, own: float, weight: float) -> Blended:
    """Of the same place in another image."""
    batch = len(foreign)
    here = Places(foreign.new_zeros(batch), foreign.new_ones(batch))
    weights = (foreign.new_full((batch,), part) for part in (own, weight))
    return Blended(box, foreign, torch.arange(batch), here, here, *weights)


@WITH_AND_WITHOUT_GRADIENT
def test_blending_solves_the_poisson_equation_exactly(gradient: bool) -> None:
    images, foreign = noise(9, 2, 20, 24).double(), noise(9, 2, 20, 24, seed=1).double()
    tops, heights, widths = [1, 2, 5, 1, 3, 4, 1, 9, 2], [1, 2, 9, 18, 5, 6, 7, 3, 4], [22, 1, 7, 22, 3, 2, 9, 5, 11]
    box = Box(*(torch.tensor(part) for part in (tops, [1] * 9, heights, widths)))
    made = unchanged(images.requires_grad_(gradient))
    seen = blended(box, foreign, own=0, weight=1).into(made, waiting_for(9))
    assert seen.all()
    images = images.detach()
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
        found = made.images.detach()[number, :, top : top + tall, left : left + wide].flatten(1).T
        np.testing.assert_allclose(found.numpy(), exact, atol=1e-10)
        changed = (made.images[number] != images[number]).any(0)
        changed[top : top + tall, left : left + wide] = False
        assert not changed.any()
        assert made.mask[number].sum() == tall * wide


@WITH_AND_WITHOUT_GRADIENT
def test_blending_is_accurate_in_single_precision(gradient: bool) -> None:
    images = noise(2, 1, 224, 224)
    whole = Box(*(torch.full((2,), side) for side in (1, 1, 222, 222)))
    exact, single = unchanged(images.double()), unchanged(images.requires_grad_(gradient))
    for made in (exact, single):
        foreign = noise(2, 1, 224, 224, seed=1).to(made.images)
        paste_into(made, lambda waiting, foreign=foreign: blended(whole, foreign, 0.4, 0.6), waiting_for(2))
    torch.testing.assert_close(single.images.detach().double(), exact.images, atol=2e-4, rtol=0)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 9), (2, 64, 1), (3, 57, 180)])
def test_sine_waves_are_the_same_with_and_without_a_gradient(shape: tuple[int, ...]) -> None:
    values = noise(*shape) - 0.5
    rows, columns = (torch.arange(1.0, side + 1).double() for side in shape[1:])
    vertical, horizontal = (2 * (math.pi / (len(n) + 1) * torch.outer(n, n)).sin() for n in (rows, columns))
    exact = vertical @ values.double() @ horizontal
    for found in (sine_waves(values), sine_waves(values.clone().requires_grad_())):
        assert (found.double() - exact).abs().max() <= 1e-5 * exact.abs().max()
    double = values[..., :9, :9].double().requires_grad_()
    assert torch.autograd.gradcheck(sine_waves, double)


def test_blending_in_half_precision_is_solved_in_single() -> None:
    images, foreign = noise(2, 1, 64, 64).bfloat16(), noise(2, 1, 64, 64, seed=1).bfloat16()
    whole = Box(*(torch.full((2,), side) for side in (1, 1, 62, 62)))
    half, exact = unchanged(images), unchanged(images.double())
    for made in (half, exact):
        blended(whole, foreign.to(made.images), 0.0, 1.0).into(made, waiting_for(2))
    assert half.images.dtype == torch.bfloat16
    torch.testing.assert_close(half.images.double(), exact.images, atol=0.01, rtol=0)


@WITH_AND_WITHOUT_GRADIENT
def test_blending_an_image_with_itself_changes_nothing(gradient: bool) -> None:
    images = noise(2, 3, 100, 80)
    box = Box(*(torch.full((2,), side) for side in (1, 1, 98, 78)))
    made = unchanged(images.clone().requires_grad_(gradient))
    assert not blended(box, images, own=1, weight=1).into(made, waiting_for(2)).any()
    assert not made.mask.any()
    assert torch.equal(made.images, images)
