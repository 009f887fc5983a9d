"""Every pseudo-anomaly keeps the shelf's promises, and each is what its name says."""

from __future__ import annotations

import inspect
import itertools
from pathlib import Path

import numpy as np
import pydantic
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from assay import binding, shelves, space, space_file
from assay.contracts import PseudoAnomalies
from assay.errors import DataError, InputError
from trainables.pseudo_anomalies._colour import hue_matrix, jitter, recoloured
from trainables.pseudo_anomalies._foreground import CELLS, foreground, somewhere
from trainables.pseudo_anomalies._geometry import two_places
from trainables.pseudo_anomalies._items import OnPixels, ready
from trainables.pseudo_anomalies._noise import perlin_noise, smooth_noise
from trainables.pseudo_anomalies._paste import paste
from trainables.pseudo_anomalies._poisson import Box, blend, gradients
from trainables.pseudo_anomalies._spots import boxes, read, sample
from trainables.pseudo_anomalies.cobra_cutpaste_as_released import cobra_cutpaste_as_released
from trainables.pseudo_anomalies.cutout import cutout
from trainables.pseudo_anomalies.cutpaste import cutpaste
from trainables.pseudo_anomalies.cutpaste_3way import cutpaste_3way
from trainables.pseudo_anomalies.cutpaste_union import cutpaste_union
from trainables.pseudo_anomalies.cutperm import cutperm
from trainables.pseudo_anomalies.elastic import elastic
from trainables.pseudo_anomalies.feature_noise import feature_noise
from trainables.pseudo_anomalies.foreground_patch import foreground_patch
from trainables.pseudo_anomalies.fpi import fpi
from trainables.pseudo_anomalies.mixture import Mixture
from trainables.pseudo_anomalies.nsa import nsa
from trainables.pseudo_anomalies.perlin import perlin
from trainables.pseudo_anomalies.pii import pii
from trainables.pseudo_anomalies.rotation import rotation
from trainables.pseudo_anomalies.scar import scar

ALL = shelves.names("pseudo_anomalies")
NAMES = [n for n in ALL if shelves.stated(shelves.load("pseudo_anomalies", n), "SPACE", "pixels") == "pixels"]
QUICK = {"acceptance": {"backbone": {"pixels": {"side": 8}}, "tries": 2}}
"""Parameters for items that would take long with their own."""

SHAPES = [(1, 1, 16, 16), (6, 1, 32, 32), (4, 3, 33, 33), (3, 3, 16, 40), (2, 1, 50, 17), (1, 3, 61, 23)]
SQUARE_ONLY = {"rotation"}
WHOLE = {"rotation", "cutperm", "elastic"}
CASES = [(name, shape) for name in NAMES for shape in SHAPES if name not in SQUARE_ONLY or shape[2] == shape[3]]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=rng(seed))


def make(name: str, images: Tensor, seed: int = 0, **parameters: object) -> PseudoAnomalies:
    normals = noise(12, *images.shape[1:], seed=9).to(images)
    item = shelves.Item("pseudo_anomalies", name, {**QUICK.get(name, {}), **parameters})
    made = ready(item, normals)(images, rng(seed))
    assert isinstance(made, PseudoAnomalies)
    return made


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_contract(name: str, shape: tuple[int, ...]) -> None:
    images = noise(*shape)
    before = images.clone()
    for seed in range(3):
        with torch.no_grad():
            made = make(name, images, seed)
        assert made.images.shape == images.shape
        assert made.images.dtype == images.dtype
        assert made.mask.shape == (shape[0], 1, *shape[2:])
        assert made.mask.dtype == torch.bool
        assert made.images.min() >= 0
        assert made.images.max() <= 1
        changed = (made.images != images).any(1, keepdim=True)
        assert not (changed & ~made.mask).any(), "a pixel outside the mask was changed"
        assert changed.flatten(1).any(1).all(), "an image was left as it was"
    assert torch.equal(images, before), "the input was modified"


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_result_and_global_rng_untouched(name: str) -> None:
    images = noise(6, 3, 32, 32)
    state = torch.get_rng_state()
    first, second, other = make(name, images, 1), make(name, images, 1), make(name, images, 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.mask, second.mask)
    assert not torch.equal(first.images, other.images)


@pytest.mark.parametrize("name", NAMES)
def test_images_of_a_batch_are_drawn_independently(name: str) -> None:
    same = noise(2, 1, 32, 32).repeat(16, 1, 1, 1)  # two kinds, for some items mix images of the batch
    made = make(name, same)
    assert len({tuple(image.flatten().tolist()) for image in made.images}) >= (
        3 if name in {"rotation", "cutperm"} else 30
    )


@pytest.mark.parametrize("name", NAMES)
def test_double_precision_is_kept(name: str) -> None:
    assert make(name, noise(2, 3, 16, 16).double()).images.dtype == torch.float64


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_images(name: str) -> None:
    images = (noise(3, 3, 24, 24) * 1.4 - 0.2).clamp(0, 1).requires_grad_()  # with black and white pixels
    (gradient,) = torch.autograd.grad(make(name, images).images.sum(), images)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    "name", sorted({*NAMES} - WHOLE - {"cobra_cutpaste_as_released", "fpi", "pii", "nsa", "acceptance"})
)
def test_a_small_object_on_black_is_changed(name: str) -> None:
    images = torch.zeros(64, 1, 32, 32)
    images[:, :, 10:22, 8:24] = noise(64, 1, 12, 16) / 2 + 0.5
    made = make(name, images)
    assert (made.images - images).abs().flatten(1).amax(1).ge(1 / 255).float().mean() > 0.98


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("grey", [0.0, 0.4, 1.0])
def test_flat_images_give_no_false_masks(name: str, channels: int, grey: float) -> None:
    images = torch.full((4, channels, 24, 24), grey)
    made = make(name, images)
    assert made.images.isfinite().all()
    changed = ((made.images - images).abs() >= 1 / 255).flatten(1).any(1)
    assert torch.equal(made.mask.flatten(1).any(1), changed), "a mask of nothing, or a change without a mask"
    assert torch.equal(made.images[~changed], images[~changed])


@pytest.mark.parametrize("name", sorted({*NAMES} - WHOLE))
def test_local_items_leave_most_of_an_image_alone(name: str) -> None:
    shares = make(name, noise(64, 1, 48, 48)).mask.float().mean((1, 2, 3))
    assert shares.max() < 0.95
    assert shares.mean() < 0.4


@pytest.mark.parametrize("name", ALL)
def test_docstrings_end_with_the_looks(name: str) -> None:
    document = inspect.getdoc(shelves.load("pseudo_anomalies", name))
    last = document.split("\n\n")[-1]
    assert last.startswith("Looks like: ")
    assert "\n" not in last


@settings(max_examples=30, deadline=None)
@given(
    area=st.floats(0.02, 0.5),
    jitter=st.floats(0, 1),
    height=st.integers(16, 60),
    width=st.integers(16, 60),
    seed=st.integers(0, 99),
)
def test_cutpaste_pastes_a_box_of_the_image_no_larger_than_asked(
    area: float, jitter: float, height: int, width: int, seed: int
) -> None:
    images = noise(4, 1, height, width)
    made = cutpaste(images, rng(seed), area=area, jitter=jitter)
    assert made.mask.float().mean((1, 2, 3)).max() <= area
    for mask in made.mask[:, 0]:
        rows, columns = mask.any(1), mask.any(0)
        assert mask.sum() == rows.sum() * columns.sum(), "the mask is no box"


def test_cutpaste_without_jitter_copies_pixels_from_another_place() -> None:
    images = torch.arange(32 * 32.0).view(1, 1, 32, 32).expand(50, -1, -1, -1) / 1024
    made = cutpaste(images, rng(), jitter=0)
    moved = ((made.images - images) * 1024).round()
    for shift, mask in zip(moved, made.mask, strict=True):
        assert len(shift[mask].unique()) == 1, "the patch is not one piece of the image"
        assert shift[mask][0] != 0


def test_two_places_differ_and_reach_every_fit() -> None:
    sides = torch.tensor([15, 3] * 500)
    first, second = two_places(torch.empty(1000, 1, 16, 16), rng(), sides, sides)
    assert not ((first[0] == second[0]) & (first[1] == second[1])).any()
    for top, left in (first, second):
        assert {*zip(top[::2].tolist(), left[::2].tolist(), strict=True)} == {(0, 0), (0, 1), (1, 0), (1, 1)}
        assert (top[1::2].max(), left[1::2].max()) == (13, 13)


def test_cutpaste_areas_spread_between_the_limits() -> None:
    areas = cutpaste(noise(400, 1, 64, 64), rng(), area=0.3).mask.float().mean((1, 2, 3))
    assert 0.01 < areas.min() < 0.04
    assert 0.28 < areas.max() <= 0.3
    assert areas.mean().item() == pytest.approx(0.16, abs=0.02)


def test_cutpaste_patches_reach_every_pixel() -> None:
    assert cutpaste(noise(800, 1, 16, 16), rng()).mask.any(0).all()


def test_scar_is_one_thin_strip() -> None:
    made = scar(noise(300, 1, 64, 64), rng(), width=0.08, length=0.35)
    for mask in made.mask[:, 0]:
        points = mask.nonzero().float()
        spread = torch.linalg.svdvals(points - points.mean(0)) / len(points) ** 0.5
        # A strip of length l has a deviation of l / sqrt(12); one pixel is added for the raster.
        assert spread[0] * 12**0.5 <= 0.35 * 64 + 1
        assert spread[1] * 12**0.5 <= 0.08 * 64 + 1
    assert made.mask.float().mean((1, 2, 3)).max() <= 0.08 * 0.35 * 1.3


def test_scar_tilts_both_ways() -> None:
    slants = []
    for mask in scar(noise(100, 1, 64, 64), rng(), width=0.02).mask[:, 0]:
        rows, columns = mask.nonzero().float().T
        slants.append(((rows - rows.mean()) * (columns - columns.mean())).mean())
    assert 30 < sum(slant > 0 for slant in slants) < 70


def test_rotation_turns_by_each_quarter_and_never_by_none() -> None:
    images = noise(1, 3, 16, 16).expand(300, -1, -1, -1)
    made = rotation(images, rng())
    counts = [sum(torch.equal(image, images[0].rot90(k, (1, 2))) for image in made.images) for k in range(4)]
    assert counts[0] == 0
    assert sum(counts) == 300
    assert min(counts[1:]) > 70
    assert made.mask.all()


def test_rotation_says_what_to_do_with_an_oblong_image() -> None:
    with pytest.raises(InputError, match=r"16 x 20.*image_size"):
        rotation(noise(1, 1, 16, 20), rng())


@pytest.mark.parametrize("side", [16, 17])
def test_cutperm_permutes_pixels_in_three_ways(side: int) -> None:
    images = noise(1, 1, side, side).expand(90, -1, -1, -1)
    made = cutperm(images, rng())
    assert torch.equal(made.images.flatten(1).sort().values, images.flatten(1).sort().values)
    assert len({tuple(image.flatten().tolist()) for image in made.images}) == 3
    half = side // 2
    layouts = [images[0].roll(shift, (1, 2)) for shift in ((-half, 0), (0, -half), (-half, -half))]
    assert all(any(torch.equal(image, layout) for layout in layouts) for image in made.images)


def test_cutout_fills_a_box_of_the_stated_size() -> None:
    images = noise(200, 3, 48, 48)
    black, grey = cutout(images, rng()), cutout(images, rng(), fill="mean")
    assert black.images[black.mask.expand_as(images)].eq(0).all()
    means = images.mean((2, 3), keepdim=True).expand_as(images)
    where = grey.mask.expand_as(images)
    torch.testing.assert_close(grey.images[where], means[where])
    heights = black.mask.any(3).sum(2)
    assert (heights.min(), heights.max()) == (8, 12)


def test_elastic_grows_with_alpha_and_keeps_flat_images() -> None:
    images = smooth_noise(torch.empty(8, 1, 64, 64), rng(), 4)[:, None].sigmoid()
    weak, strong = (elastic(images, rng(), alpha=alpha).images - images for alpha in (0.005, 0.05))
    assert strong.abs().mean() > 3 * weak.abs().mean()
    flat = torch.full((2, 1, 32, 32), 0.3)
    torch.testing.assert_close(elastic(flat, rng()).images, flat)


def test_perlin_fades_with_opacity() -> None:
    images = noise(16, 1, 64, 64)
    faint, full = (perlin(images, rng(), opacity=opacity).images - images for opacity in (1e-4, 1.0))
    assert faint.abs().max() <= 1e-4
    assert full.abs().max() > 0.5


def test_perlin_masks_are_neither_empty_nor_everything() -> None:
    for side in (16, 64):
        shares = perlin(noise(200, 1, side, side), rng()).mask.float().mean((1, 2, 3))
        assert shares.min() >= 0.02
        assert shares.max() < 0.6


def test_perlin_takes_the_texture_of_another_image() -> None:
    images = torch.stack([torch.full((1, 32, 32), 0.2), torch.full((1, 32, 32), 0.8)])
    made = perlin(images.clone(), rng(3))
    images[1] = 0.4
    again = perlin(images, rng(3))
    assert not torch.equal(made.images[0], again.images[0])
    assert torch.equal(made.mask, again.mask)


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

    def wanted(some: Tensor, here: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        rows = box.top[some, None] - 1 + torch.arange(height)
        columns = box.left[some, None] - 1 + torch.arange(width)
        there = foreign[some[:, None, None], :, rows.clamp(max=19)[:, :, None], columns.clamp(max=23)[:, None]]
        return gradients(there.permute(0, 3, 1, 2))

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
    spots, values = blend(images, box, lambda some, here, height, width: gradients(here))
    torch.testing.assert_close(values, read(images, spots), atol=2e-4, rtol=0)


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
    read_space, faults = space_file.read(raw)
    assert faults == []
    assert {"pseudo_anomaly.mixture.of.a.weight"} < set(space.varied(read_space))
    assert binding.bind(shelves.load("trainables", "cobra"), {}, read_space).faults == []
