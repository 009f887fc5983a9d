"""Every corruption keeps the shelf's promises, and each does to an image what its name says."""

from __future__ import annotations

import importlib.util
import io
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from assay import shelves
from assay.corruptions import _blur, _fields
from assay.data import splits
from assay.datasets.elpv import elpv
from assay.errors import InputError
from assay.runtime.threads import one_thread

NAMES = shelves.names("corruptions")
IMAGENET_C = {
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression", "speckle_noise",
    "gaussian_blur", "spatter", "saturate",
}  # fmt: skip
SAME_FOR_ALL = {
    "brightness", "contrast", "conveyor_blur", "defocus_blur", "gaussian_blur", "jpeg_compression", "pixelate",
    "saturate", "vignetting", "zoom_blur",
}  # fmt: skip
TWO_OUTCOMES = {"rotation", "shift"}
SEVERITIES = (1, 2, 3, 4, 5)
TILES = Path(os.environ.get("ASSAY_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "magnetic_tile"


@pytest.fixture(scope="module", autouse=True)
def _on_one_thread():
    with one_thread():
        yield


def streams(count: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(1000 * seed + number) for number in range(count)]


def made(name: str, images: Tensor, severity: int, seed: int = 0) -> Tensor:
    return shelves.load("corruptions", name)(images, severity, streams(len(images), seed))


def scene(*shape: int, seed: int = 0) -> Tensor:
    """Images like those of things: smooth light, a texture, dull colours, dark grid lines and a few spots; 8 bits."""
    batch, channels, height, width = shape
    blank = torch.zeros(batch, 1, height, width)
    random = streams(batch, seed + 77)
    side = min(height, width)
    light = 0.5 + 0.1 * _fields.smooth(blank, random, side / 6) + 0.05 * _fields.smooth(blank, random, side / 40)
    light[:, :, :: max(4, side // 5)] *= 0.5
    light[:, :, 3:6, 3:6] = 0.9
    if channels == 3:
        tint = torch.cat([_fields.smooth(blank, random, side / 8) for _ in range(3)], dim=1)
        light = light * (1 + 0.06 * tint)
    return (light.clamp(0, 1) * 255).round() / 255


def test_the_shelf_holds_all_of_imagenet_c_and_more():
    assert set(NAMES) > IMAGENET_C
    assert len(NAMES) == 27


@pytest.mark.parametrize("shape", [(2, 1, 16, 16), (2, 3, 33, 47), (2, 3, 47, 33)])
@pytest.mark.parametrize("name", NAMES)
def test_contract(name, shape):
    images = scene(*shape)
    before = images.clone()
    state = torch.get_rng_state()
    for severity in SEVERITIES:
        corrupted = made(name, images, severity)
        assert corrupted.shape == images.shape
        assert corrupted.dtype == images.dtype
        assert corrupted.isfinite().all()
        assert corrupted.min() >= 0
        assert corrupted.max() <= 1
        assert torch.equal(corrupted, made(name, images, severity)), "the same streams gave another result"
    assert torch.equal(images, before), "the input was changed"
    assert torch.equal(torch.get_rng_state(), state), "the global generator was used"


@pytest.mark.parametrize("extreme", [0.0, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_black_and_white_images_stay_images(name, extreme):
    corrupted = made(name, torch.full((2, 3, 24, 24), extreme), 5)
    assert corrupted.isfinite().all()
    assert corrupted.min() >= 0
    assert corrupted.max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_double_precision_is_kept_and_draws_the_same(name):
    images = scene(2, 3, 32, 32)
    double = made(name, images.double(), 3)
    assert double.dtype == torch.float64
    if name not in {"shot_noise", "sensor_noise"}:  # a count may turn on the last bit of its rate
        assert (double - made(name, images, 3)).abs().max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_an_image_does_not_depend_on_its_batch(name):
    images = scene(5, 3, 33, 47)
    for severity in (1, 3, 5):
        together = made(name, images, severity)
        item, random = shelves.load("corruptions", name), streams(5)
        for i in (0, 3):
            alone = item(images[i : i + 1], severity, [streams(5)[i]])
            assert (alone[0] - together[i]).abs().max() <= 1e-6
        pair = item(images[[4, 2]], severity, [random[4], random[2]])
        assert (pair - together[[4, 2]]).abs().max() <= 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_every_image_has_its_own_draw(name):
    same = scene(1, 1, 32, 32).expand(12, -1, -1, -1)
    different = len({tuple(image.flatten().tolist()) for image in made(name, same, 3)})
    assert different == (1 if name in SAME_FOR_ALL else different)
    assert name in SAME_FOR_ALL or different >= (2 if name in TWO_OUTCOMES else 12)


def assert_grows(name: str, images: Tensor) -> None:
    moved = [(made(name, images, severity) - images).abs().mean().item() for severity in SEVERITIES]
    assert all(more > less > 0 for less, more in itertools.pairwise(moved)), moved


@pytest.mark.parametrize("shape", [(8, 3, 64, 64), (12, 3, 33, 47)])
@pytest.mark.parametrize("name", NAMES)
def test_severity_grows_with_the_distance_from_the_clean_image(name, shape):
    assert_grows(name, scene(*shape))


@pytest.mark.skipif(not importlib.util.find_spec("elpv_dataset"), reason="needs the images of elpv-dataset")
@pytest.mark.parametrize("name", sorted({*NAMES} - {"saturate"}))
def test_severity_grows_on_solar_cells(name, solar_cells):
    assert_grows(name, solar_cells)


@pytest.mark.skipif(not TILES.is_dir(), reason=f"needs the magnetic tiles in {TILES}")
@pytest.mark.parametrize("name", sorted({*NAMES} - {"saturate"}))
def test_severity_grows_on_magnetic_tiles(name, tiles):
    assert_grows(name, tiles)


@pytest.fixture(scope="module")
def solar_cells(own_cache) -> Tensor:
    images = splits.test_images(elpv(image_size=64))
    return torch.from_numpy(np.array(images.pixels[::12][:16])).float() / 255


@pytest.fixture(scope="module")
def tiles() -> Tensor:
    files = sorted(path for path in (TILES / "test").rglob("*") if path.suffix in (".jpg", ".png"))[::20][:16]
    pictures = [np.asarray(Image.open(path).convert("L").resize((64, 64), Image.Resampling.BOX)) for path in files]
    return torch.from_numpy(np.stack(pictures))[:, None].float() / 255


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5])
@pytest.mark.parametrize("name", NAMES)
def test_another_severity_is_refused(name, severity):
    with pytest.raises(InputError, match="severity"):
        made(name, scene(1, 1, 16, 16), severity)


@pytest.mark.parametrize(("name", "spread"), [("gaussian_noise", 0.18), ("speckle_noise", 0.35 * 0.5)])
def test_normal_noise_has_the_spread_it_says(name, spread):
    corrupted = made(name, torch.full((8, 1, 64, 64), 0.5), 3)
    assert corrupted.mean() == pytest.approx(0.5, abs=0.005)
    assert corrupted.std() == pytest.approx(spread, rel=0.03)


def test_shot_noise_counts_photons():
    corrupted = made("shot_noise", torch.full((8, 1, 64, 64), 0.25), 3)
    counts = corrupted * 12
    assert torch.allclose(counts, counts.round(), atol=1e-5)
    assert corrupted.std() == pytest.approx((0.25 / 12) ** 0.5, rel=0.03)


def test_impulse_noise_sets_its_share_of_values_to_black_or_white():
    corrupted = made("impulse_noise", torch.full((8, 3, 64, 64), 0.5), 4)
    assert set(corrupted.unique().tolist()) == {0.0, 0.5, 1.0}
    for extreme in (0, 1):
        assert (corrupted == extreme).float().mean() == pytest.approx(0.17 / 2, rel=0.1)


def test_sensor_noise_has_a_pattern_that_stays_from_image_to_image_and_runs_in_columns():
    noise = made("sensor_noise", torch.full((64, 1, 32, 32), 0.5), 5) - 0.5
    pattern = noise.mean(0)
    assert pattern.std() > 2 * noise.std() / 64**0.5
    assert pattern.mean(1).std() > 2 * pattern.mean(2).std()


@pytest.mark.parametrize("name", ["gaussian_blur", "defocus_blur", "conveyor_blur", "motion_blur"])
def test_a_blur_keeps_the_light_and_spreads_a_point(name):
    point = torch.zeros(1, 1, 65, 65)
    point[..., 32, 32] = 1
    spread = [made(name, point, severity)[0, 0] for severity in SEVERITIES]
    for image in spread:
        assert image.sum() == pytest.approx(1, abs=1e-4)
        assert torch.allclose(image, image.flip(0, 1), atol=1e-6), "it moved the point"
    assert all(after.max() < before.max() for before, after in itertools.pairwise(spread))


def variances(kernel: Tensor) -> tuple[float, float]:
    offsets = torch.arange(kernel.shape[-1]).double() - kernel.shape[-1] // 2
    weights = kernel.double()
    return (weights.sum(1) * offsets**2).sum().item(), (weights.sum(0) * offsets**2).sum().item()


@pytest.mark.parametrize("sigma", [0.1, 0.4, 1.0, 3.5])
def test_the_gaussian_has_its_variance_however_small(sigma):
    assert variances(_blur.gaussian(sigma)[0]) == pytest.approx([sigma**2] * 2, rel=2e-3)


def test_the_disk_is_as_wide_as_its_radius():
    disk = _blur.disk(4.0)[0]
    assert disk.sum() == pytest.approx(1)
    assert variances(disk) == pytest.approx([4**2 / 4 + 1 / 6] * 2, rel=0.05)  # 1/6 is bilinear interpolation's
    assert disk[4, 4] == pytest.approx(1 / (np.pi * 16), rel=0.05)
    assert disk[0, 0] == 0


def test_convolution_agrees_with_a_direct_one():
    image = scene(1, 1, 20, 27).double()
    kernel = torch.rand(1, 5, 5, generator=streams(1)[0], dtype=torch.float64)
    padded = torch.nn.functional.pad(image, (2,) * 4, mode="reflect")
    direct = torch.nn.functional.conv2d(padded, kernel.flip(1, 2)[None])
    assert torch.allclose(_blur.convolve(image, kernel), direct)


def test_conveyor_blur_leaves_what_does_not_change_along_the_rows():
    stripes = torch.zeros(1, 1, 64, 64)
    stripes[..., ::8, :] = 1
    assert torch.allclose(made("conveyor_blur", stripes, 5), stripes, atol=1e-5)
    assert (made("conveyor_blur", stripes.transpose(2, 3), 5) - stripes.transpose(2, 3)).abs().max() > 0.3


def test_depth_defocus_is_sharp_on_one_side():
    texture = torch.rand(8, 1, 64, 64, generator=streams(1)[0])
    changed = (made("depth_defocus", texture, 4) - texture).abs()[:, 0]
    sides = torch.stack([changed[:, :8].mean((1, 2)), changed[:, -8:].mean((1, 2)),
                         changed[:, :, :8].mean((1, 2)), changed[:, :, -8:].mean((1, 2))])  # fmt: skip
    assert (sides.amax(0) > 1.4 * sides.amin(0)).all()


def test_zoom_blur_leaves_the_middle_sharp():
    texture = torch.rand(4, 1, 65, 65, generator=streams(1)[0])
    changed = (made("zoom_blur", texture, 5) - texture).abs()
    assert changed[..., 32, 32].mean() < 0.2 * changed[..., :8, :8].mean()


def test_glass_blur_jumbles_places_but_not_levels():
    flat = torch.full((2, 1, 64, 64), 0.4)
    assert torch.allclose(made("glass_blur", flat, 5), flat, atol=1e-5)
    edge = torch.zeros(1, 1, 64, 64)
    edge[..., 32:] = 1
    ragged = made("glass_blur", edge, 5)[0, 0]
    assert ragged[:, 31].std() > 0.05
    assert ragged[:, :24].max() < 1e-3


def test_fog_lowers_contrast_and_frost_and_snow_whiten():
    images = scene(8, 1, 64, 64)
    texture = images - torch.nn.functional.avg_pool2d(images, 5, 1, 2)
    for severity, kept in ((1, 1 / 2.5), (5, 1 / 6)):  # brightest / (brightest + thickness), or less
        foggy = made("fog", images, severity)
        high = foggy - torch.nn.functional.avg_pool2d(foggy, 5, 1, 2)
        inside = (..., slice(4, -4), slice(4, -4))  # the mean near a border is of black as well
        slope = (high * texture)[inside].sum() / (texture**2)[inside].sum()
        assert slope < 1.2 * kept
    for name in ("frost", "snow"):
        assert made(name, images, 3).mean() > images.mean() + 0.05


def test_frost_comes_from_the_borders():
    cover = (made("frost", torch.zeros(32, 1, 64, 64), 2)).mean(0)[0]
    assert cover[:8].mean() > 1.5 * cover[24:40, 24:40].mean()


def test_clouds_are_smoother_with_a_larger_decay():
    images = torch.zeros(8, 1, 64, 64)
    steps = [_fields.plasma(images, streams(8), decay).diff(dim=3).abs().mean().item() for decay in (2.0, 3.0, 4.0)]
    assert steps[0] > steps[1] > steps[2]


def test_brightness_adds_to_the_brightest_channel_and_keeps_the_hue():
    images = torch.tensor([[0.2, 0.1, 0.05], [0.0, 0.0, 0.0], [0.9, 0.45, 0.9]]).T.reshape(1, 3, 1, 3)
    expected = torch.tensor([[0.5, 0.25, 0.125], [0.3, 0.3, 0.3], [1.0, 0.5, 1.0]]).T.reshape(1, 3, 1, 3)
    assert torch.allclose(made("brightness", images, 3), expected, atol=1e-6)


def test_contrast_leaves_its_share_and_the_mean():
    images = scene(3, 3, 32, 32)
    corrupted = made("contrast", images, 4)
    assert torch.allclose(corrupted.mean((2, 3)), images.mean((2, 3)), atol=1e-5)
    assert torch.allclose(corrupted.std((2, 3)), 0.1 * images.std((2, 3)), atol=1e-5)


def test_saturate_leaves_grey_alone_and_multiplies_saturation():
    grey = scene(2, 1, 32, 32)
    assert torch.equal(made("saturate", grey, 5), grey)
    assert torch.equal(made("saturate", grey.expand(-1, 3, -1, -1), 5), grey.expand(-1, 3, -1, -1))
    dull = torch.tensor([0.5, 0.45, 0.4]).reshape(1, 3, 1, 1)  # saturation 0.2
    assert torch.allclose(made("saturate", dull, 2).flatten(), torch.tensor([0.5, 0.4, 0.3]), atol=1e-6)
    assert made("saturate", dull, 5).amin() == 0


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (16, 16), (33, 47)])
def test_shift_moves_by_the_pixels_it_says(severity, height, width):
    side = min(height, width)
    pixels = max(severity, round((0.02, 0.04, 0.06, 0.09, 0.13)[severity - 1] * side))
    inside = (slice(pixels, -pixels), slice(pixels, -pixels))
    image = torch.rand(16, 1, height, width, generator=streams(1)[0])
    seen = []
    for before, after in zip(image[:, 0], made("shift", image, severity)[:, 0], strict=True):
        ways = itertools.product((-pixels, pixels), repeat=2)
        seen += [way for way in ways if torch.allclose(after[inside], before.roll(way, (0, 1))[inside], atol=1e-3)]
    assert len(seen) == 16
    assert len(set(seen)) == 4


def test_rotation_turns_by_the_degrees_it_says():
    """A bar through the middle, its angle read off its second moments."""
    place = torch.arange(65.0) - 32
    bar = torch.exp(-(place[:, None] ** 2) / 8).expand(65, 65) * (place.abs() < 20)
    disk = torch.hypot(place[:, None], place[None, :]) < 26
    turned = made("rotation", bar[None, None].expand(12, -1, -1, -1), 5)[:, 0] * disk
    angles = []
    for image in turned:
        y, x = place[:, None], place[None, :]
        angle = 0.5 * torch.atan2(2 * (image * x * y).sum(), (image * x * x).sum() - (image * y * y).sum())
        angles.append(torch.rad2deg(angle).item())
    assert [abs(angle) for angle in angles] == pytest.approx([15] * 12, abs=0.3)
    assert {np.sign(angle) for angle in angles} == {-1, 1}


@pytest.mark.parametrize(("severity", "corner"), [(1, 0.85), (5, 0.25)])
def test_vignetting_leaves_the_light_it_says_in_the_corners(severity, corner):
    light = made("vignetting", torch.ones(1, 1, 33, 47), severity)[0, 0]
    assert light[16, 23] == pytest.approx(1)
    assert light[0, 0].item() == pytest.approx(corner, abs=1e-4)
    assert light[-1, -1].item() == pytest.approx(corner, abs=1e-4)


def test_illumination_gradient_gains_on_one_side_what_it_loses_on_the_other():
    light = made("illumination_gradient", torch.full((6, 1, 33, 47), 0.5), 3)[:, 0]
    corners = torch.stack([light[:, 0, 0], light[:, 0, -1], light[:, -1, 0], light[:, -1, -1]], dim=1)
    assert torch.allclose(corners.amax(1), torch.tensor(0.5 * 1.3), atol=1e-5)
    assert torch.allclose(corners.amin(1), torch.tensor(0.5 * 0.7), atol=1e-5)
    assert torch.allclose(light.mean((1, 2)), torch.tensor(0.5), atol=1e-5)


def test_dust_darkens_only_and_its_grains_stay():
    white = torch.ones(8, 1, 64, 64)
    less, more = made("dust", white, 2), made("dust", white, 4)
    assert (more <= less + 1e-5).all()
    assert 0.8 < more.mean() < 0.99
    assert (less > 0.99).float().mean() > 0.5


def test_spatter_covers_the_share_it_says_with_water_and_then_mud():
    grey = torch.full((16, 1, 64, 64), 0.5)
    for severity, share in ((1, 0.03), (2, 0.14), (3, 0.24), (4, 0.50), (5, 0.60)):
        change = made("spatter", grey, severity) - 0.5
        assert (change.abs() > 0.1).float().mean() == pytest.approx(share, rel=0.2)
        assert (change.sum() > 0) == (severity <= 3)


def test_elastic_transform_moves_things_but_keeps_their_levels():
    images = scene(8, 1, 64, 64)
    warped = made("elastic_transform", images, 3)
    assert (warped - images).abs().mean() > 0.01
    assert warped.amin() >= images.amin() - 1e-6
    assert warped.mean() == pytest.approx(images.mean().item(), abs=0.01)


def test_pixelate_repeats_means():
    image = scene(1, 1, 64, 64)
    blocks = made("pixelate", image, 5)  # a quarter of the pixels along each side: blocks of 4
    means = torch.nn.functional.avg_pool2d(image, 4)
    assert torch.allclose(blocks, means.repeat_interleave(4, 2).repeat_interleave(4, 3), atol=1e-6)


def test_jpeg_shows_blocks_of_8():
    images = scene(4, 1, 64, 64)
    steps = made("jpeg_compression", images, 5).diff(dim=3).abs().mean((0, 1, 2))
    at_borders = steps[7::8].mean()
    within = steps[torch.arange(63) % 8 != 7].mean()
    assert at_borders > 2 * within
    clean = images.diff(dim=3).abs().mean((0, 1, 2))
    assert clean[7::8].mean() < 1.5 * clean[torch.arange(63) % 8 != 7].mean()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("severity", "quality"), [(1, 25), (3, 15), (5, 7)])
def test_jpeg_agrees_with_a_real_encoder(channels, severity, quality):
    images = scene(3, channels, 48, 61)
    ours = made("jpeg_compression", images, severity)
    for image, one in zip(images, ours, strict=True):
        pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels.squeeze() if channels == 1 else pixels).save(file, "JPEG", quality=quality)
        decoded = torch.from_numpy(np.atleast_3d(np.asarray(Image.open(file))).copy()).permute(2, 0, 1) / 255
        assert (decoded - one).abs().mean() < 1.5 / 255
        assert (decoded - one).abs().mean() < 0.15 * (image - one).abs().mean()
