"""Every pseudo-anomaly keeps the shelf's promises, and each is what its name says."""

from __future__ import annotations

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seeded import noise, rng
from torch import Tensor

from assay import shelves
from assay.contracts import PseudoAnomalies
from assay.errors import InputError
from trainables.pseudo_anomalies._items import ready
from trainables.pseudo_anomalies._noise import smooth_noise
from trainables.pseudo_anomalies.cutout import cutout
from trainables.pseudo_anomalies.cutpaste import cutpaste
from trainables.pseudo_anomalies.cutperm import cutperm
from trainables.pseudo_anomalies.elastic import elastic
from trainables.pseudo_anomalies.perlin import perlin
from trainables.pseudo_anomalies.rotation import rotation
from trainables.pseudo_anomalies.scar import scar

ALL = shelves.names("pseudo_anomalies")
NAMES = [n for n in ALL if shelves.stated(shelves.load("pseudo_anomalies", n), "SPACE", "pixels") == "pixels"]
QUICK = {"acceptance": {"backbone": {"pixels": {"side": 8}}, "tries": 2}}
"""Parameters for items that would take long with their own."""

SHAPES = [(1, 1, 16, 16), (6, 1, 32, 32), (4, 3, 33, 33), (3, 3, 16, 40), (2, 1, 50, 17), (1, 3, 61, 23)]
SHAPES += [(2, 4, 20, 20)]
SQUARE_ONLY = {"rotation"}
WHOLE = {"rotation", "cutperm", "elastic"}
CASES = [(name, shape) for name in NAMES for shape in SHAPES if name not in SQUARE_ONLY or shape[2] == shape[3]]


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


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_changes_no_image_and_takes_little_memory(name: str) -> None:
    images = noise(4, 3, 96, 96)
    plain = make(name, images)
    asked = images.clone().requires_grad_()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        made = make(name, asked)
        torch.autograd.grad(made.images.sum(), asked)
    torch.testing.assert_close(made.images.detach(), plain.images)
    assert torch.equal(made.mask, plain.mask)
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert largest < 60 * images.nbytes, f"{largest / images.nbytes:.0f} batches at once"


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


@settings(max_examples=30)
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
