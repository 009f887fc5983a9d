"""What the smoothed score is, and that what is proven of it, and of pixels, is neither broken nor needlessly wide."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
import toy_runs
from other_device import other_device
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from assay import shelves
from assay.attacks.apgd import apgd
from assay.config import parameters
from assay.contracts import ThreatModel
from assay.data import splits
from assay.metrics import detection
from assay.models import model_folder
from assay.norm_balls import streams
from assay.shelves import Item
from assay.store.store import Store
from trainables._angle_bound import pooling_gain
from trainables._image_noise import _mixed, gaussian, seeds
from trainables._median_smoothing import bounds, levels_of_median, middle
from trainables.neighbours import NeighbourBank
from trainables.smoothed import SmoothedDetector

SIGMA = 0.25


class Inner(nn.Module):
    """Linear in the pixels, or with one hidden layer, its weights from a seed."""

    def __init__(self, seed: int, pixels: int = 16, hidden: int = 0, rising: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = torch.randn(pixels, hidden or 1, generator=generator)
        self.second = torch.randn(hidden, 1, generator=generator) if hidden else None
        if rising:  # brighter is more anomalous
            self.first, self.second = self.first.abs(), None if self.second is None else self.second.abs()

    def forward(self, images: Tensor) -> Tensor:
        scores = images.flatten(1) @ self.first
        return (scores if self.second is None else torch.tanh(scores / 3) @ self.second).squeeze(1)


def smoothed(inner: nn.Module, draws=9, certify_draws=300, tries=1000, sigma=SIGMA) -> SmoothedDetector:
    return SmoothedDetector(inner, sigma, draws, certify_draws, tries).eval()


def pixel_neighbours(seed: int, side: int = 4, k: int = 3) -> NeighbourBank:
    detector = NeighbourBank(Item("backbones", "pixels", {"side": side}), 1, k, "cosine").eval()
    normals = images(8, seed=seed + 1000)
    detector.bank = detector.features(normals)
    return detector


def images(count: int = 6, size: int = 4, seed: int = 1) -> Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(seed))


def certify(detector, batch: Tensor, norm: str, *radii: float, confidence: float = 0.99) -> tuple[Tensor, Tensor]:
    random = streams(torch.Generator().manual_seed(7), batch)
    return detector.certify(batch, norm, torch.tensor(radii), random, confidence)


# The score


@pytest.mark.parametrize("draws", [1, 2, 7, 8])
def test_the_score_is_the_median_over_noise_that_belongs_to_the_image(draws):
    inner, batch = Inner(0, hidden=5), images()
    own = seeds(batch)
    each = torch.stack([inner(batch + SIGMA * gaussian(own, draw, (1, 4, 4))) for draw in range(draws)])
    assert torch.allclose(smoothed(inner, draws)(batch), each.median(dim=0).values, atol=1e-6)


def test_the_noise_is_normal_and_its_draws_and_images_know_nothing_of_each_other():
    own = seeds(images(40, size=8))
    drawn = torch.stack([gaussian(own, draw, (1, 25, 15)) for draw in range(20)]).flatten(2).double()
    assert stats.kstest(drawn.flatten().numpy(), "norm").pvalue > 0.01
    for rows in (drawn[0], drawn[:, 0]):
        apart = np.corrcoef(rows.numpy()) - np.eye(len(rows))
        assert np.abs(apart).max() < 5 / 375**0.5
    assert torch.equal(gaussian(own[:1], 3, (5,))[0], gaussian(own, 3, (5,))[0])


def test_the_mixing_function_is_splitmix64():
    """The first two outputs of the published generator with seed 0."""
    assert int(_mixed(torch.tensor([1]))) % 2**64 == 0xE220A8397B1DCDAF
    assert int(_mixed(torch.tensor([2]))) % 2**64 == 0x6E789E6AA1B965F4


def test_a_gpu_is_sent_the_seeds_and_nothing_else():
    counts = []
    for draws in (3, 30):
        with other_device() as seen:
            detector, batch = smoothed(nn.Sequential(nn.AvgPool2d(4), nn.Flatten(0)), draws), images().to("cuda")
            seen.moves.clear()
            detector(batch)
        counts.append(sum(seen.moves.values()))
    assert counts == [2, 2], "the images to be hashed, and their seeds back"


def test_the_score_is_the_same_alone_again_and_in_any_order_and_draws_from_no_global_generator():
    detector, batch = smoothed(Inner(0, hidden=5)), images()
    before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()
    scores = detector(batch)
    assert torch.equal(detector(batch), scores)
    assert torch.allclose(detector(batch.flip(0)).flip(0), scores, atol=1e-6)
    assert torch.allclose(torch.cat([detector(one[None]) for one in batch]), scores, atol=1e-6)
    assert torch.equal(detector(batch.clone().requires_grad_(True)).detach(), scores)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numpy_before


def test_another_image_however_near_has_noise_of_its_own_and_an_equal_one_has_the_same():
    one = torch.zeros(1, 1, 4, 4)
    near = one.clone()
    near[0, 0, 0, 0] = 1e-30
    first, second, equal = (gaussian(seeds(x), 0, (500,))[0] for x in (one, near, -one))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.2
    assert torch.equal(first, equal), "-0.0 equals 0.0"


def test_the_gradient_is_that_of_the_middle_draws():
    inner, batch = Inner(3), images().requires_grad_(True)
    (gradient,) = torch.autograd.grad(smoothed(inner)(batch).sum(), batch)
    assert torch.allclose(gradient.flatten(1), inner.first.T.expand(6, 16), atol=1e-6)
    (wavy,) = torch.autograd.grad(smoothed(Inner(3, hidden=5), draws=400)(batch).sum(), batch)
    (other,) = torch.autograd.grad(smoothed(Inner(3, hidden=5), draws=399)(batch).sum(), batch)
    assert F.cosine_similarity(wavy.flatten(1), other.flatten(1)).min() > 0.99, "it does not hang on one draw"


# The mathematics


def test_the_median_of_a_few_draws_lies_at_the_levels_that_are_stated():
    medians = np.sort(np.random.default_rng(0).random((40_000, 8)), axis=1)[:, middle(8)]
    low, high = levels_of_median(8, 0.05)
    assert (medians < low).mean() == pytest.approx(0.05, abs=0.005)
    assert (medians > high).mean() == pytest.approx(0.05, abs=0.005)
    assert levels_of_median(1, 0.01) == pytest.approx((0.01, 0.99))


def test_the_ranks_are_the_innermost_that_the_binomial_distribution_allows():
    scores = np.arange(1.0, 101.0)[None]  # the k-th smallest is k
    lower, upper = bounds(scores, np.array([0.0, 0.5]), (0.4, 0.6), 0.01)
    for reach, found_low, found_high in zip((0.0, 0.5), lower[0], upper[0], strict=True):
        low, high = (stats.norm.cdf(stats.norm.ppf(p) + way * reach) for p, way in ((0.4, -1), (0.6, 1)))
        assert stats.binom.cdf(found_low - 1, 100, low) <= 0.01 < stats.binom.cdf(found_low, 100, low)
        assert stats.binom.sf(found_high - 1, 100, high) <= 0.01 < stats.binom.sf(found_high - 2, 100, high)


def test_the_bounds_fail_no_more_often_than_is_stated():
    scores = np.random.default_rng(0).standard_normal((4000, 60))
    lower, upper = bounds(scores, np.array([0.5]), (0.5, 0.5), 0.05)
    assert 0.01 < (lower > -0.5).mean() <= 0.055
    assert 0.01 < (upper < 0.5).mean() <= 0.055


def test_too_few_draws_give_no_bound():
    lower, upper = certify(smoothed(Inner(0), certify_draws=20), images(), "l2", 0.0, 5.0)
    assert (lower == -torch.inf).all()
    assert (upper == torch.inf).all()
    lower, upper = certify(smoothed(Inner(0), draws=99), images(), "l2", 0.05, 5.0)
    assert lower[:, 0].isfinite().all()
    assert (lower[:, 1] == -torch.inf).all()
    assert (upper[:, 1] == torch.inf).all()


# The certificate


@pytest.mark.parametrize("radius", [0.0, 0.1, 0.25])
def test_for_a_linear_score_the_bounds_hold_the_exact_range_and_little_more(radius):
    inner = Inner(0)
    detector, length = smoothed(inner, draws=401, certify_draws=4000), float(inner.first.norm())
    lower, upper = certify(detector, images(), "l2", radius)
    exact = inner(images()).double()
    beyond = torch.cat([exact - lower[:, 0], upper[:, 0] - exact]) / length
    # Under noise a linear score is normal: the ideal median moves by radius * length and not a bit further, and the
    # median of 401 draws lies at a level that is known. Estimating that quantile from 4000 draws costs the rest: about
    # 3.4 of its standard errors for the confidence, and as many by chance.
    own_level = stats.norm.ppf(levels_of_median(401, (1 - 0.99) / (4 * 6) / 1000)[1])
    limit = radius + SIGMA * own_level
    at = stats.norm.cdf(own_level + radius / SIGMA)
    error = (at * (1 - at) / 4000) ** 0.5 / stats.norm.pdf(stats.norm.ppf(at))
    assert beyond.min() >= limit > radius
    assert beyond.max() <= limit + 7 * SIGMA * error
    assert own_level < 1 / 3


def test_larger_radii_and_more_tries_widen_the_bounds_and_more_draws_narrow_them():
    def width(radius=0.1, **settings) -> float:
        lower, upper = certify(
            smoothed(Inner(0, hidden=5), **{"draws": 49, "certify_draws": 2000, **settings}), images(), "l2", radius
        )
        return float((upper - lower).mean())

    assert width(radius=0.0) < width() < width(radius=0.2) < float("inf")
    assert width(draws=199) < width() < width(tries=10**7)
    assert width(certify_draws=8000) < width()


def test_a_ball_of_another_norm_is_certified_by_the_l2_ball_around_it():
    detector = smoothed(Inner(0), draws=99)
    assert all(map(torch.equal, certify(detector, images(), "linf", 0.02), certify(detector, images(), "l2", 0.08)))
    assert all(map(torch.equal, certify(detector, images(), "l1", 0.1), certify(detector, images(), "l2", 0.1)))


def test_an_attacker_who_tries_his_luck_stays_within_the_bounds():
    detector, batch = smoothed(Inner(5, hidden=5), draws=5, certify_draws=3000, tries=2000), images()
    lower, upper = (side[:, 0].float() for side in certify(detector, batch, "l2", 0.02))
    generator, clean = torch.Generator().manual_seed(0), detector(batch)
    lowest, highest = clean, clean
    for _ in range(2000):  # not a gradient in sight: images that differ by nothing, and the luckiest noise
        scores = detector(batch + 1e-4 * torch.randn(batch.shape, generator=generator))
        lowest, highest = lowest.minimum(scores), highest.maximum(scores)
    assert (lowest >= lower).all()
    assert (highest <= upper).all()
    ideal = smoothed(Inner(5, hidden=5), draws=2001, certify_draws=3000, tries=1)
    narrow = [side[:, 0].float() for side in certify(ideal, batch, "l2", 0.02)]
    assert ((lowest < narrow[0]) | (highest > narrow[1])).any(), "bounds of the ideal median would not have held"


@pytest.mark.parametrize(("size", "side"), [(8, 4), (9, 4), (4, 6), (5, 5)])
def test_pooling_lengthens_a_change_by_no_more_than_is_stated(size, side):
    everything = F.adaptive_avg_pool2d(torch.eye(size * size).reshape(-1, 1, size, size).double(), side).flatten(1)
    assert pooling_gain(size, size, side) == pytest.approx(float(torch.linalg.matrix_norm(everything, ord=2)))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_bounds_of_pixels_hold_under_attack_and_are_reached_within_reason(norm):
    detector, batch = pixel_neighbours(0), images(8, size=8)
    epsilon = {"linf": 0.02, "l2": 0.1, "l1": 0.1}[norm]
    lower, upper = (side[:, 0] for side in certify(detector, batch, norm, epsilon))
    for way, bound in ((1, upper), (-1, lower)):
        direction = torch.full((8,), way)
        generator = torch.Generator().manual_seed(0)
        attacked = apgd(
            detector, batch, direction, ThreatModel("l2" if norm == "l1" else norm, epsilon), streams(generator, batch)
        )
        assert (way * attacked.scores <= way * bound).all()
        moved, allowed = (attacked.scores - detector(batch)).abs().mean(), (bound - detector(batch)).abs().mean()
        assert norm == "l1" or moved > 0.3 * allowed


def test_an_image_that_may_become_anything_is_bound_by_nothing():
    flat = torch.full((1, 1, 8, 8), 0.5)
    lower, upper = certify(pixel_neighbours(0), torch.cat([flat, images(1, size=8)]), "l2", 0.0, 10.0)
    assert (lower[:, 1] < 1e-3).all()
    assert (upper[:, 1] > 2 - 1e-3).all()
    assert lower[0, 0] <= pixel_neighbours(0)(flat) <= upper[0, 0]


def test_only_the_cosine_of_pixels_is_certified():
    pixels, net = Item("backbones", "pixels", {}), Item("backbones", "small_resnet", {"width": 4})
    cases = itertools.product((pixels, net), ("cosine", "euclidean"))
    certified = [NeighbourBank(backbone, 1, 3, distance).CERTIFIES for backbone, distance in cases]
    assert [bool(norms) for norms in certified] == [True, False, False, False]


def test_over_200_detectors_no_certified_auroc_exceeds_the_attacked_or_the_clean_one():
    labels = np.repeat([0, 1], 6)
    direction = torch.from_numpy(1 - 2 * labels)
    telling = {"smoothed": 0, "pixels": 0}  # floors that are neither 0 nor 1: the others would prove little
    for seed in range(200):
        generator, radius = torch.Generator().manual_seed(seed), (0.01, 0.03, 0.1)[seed % 3]
        batch = images(12, seed=seed) / 4
        batch[6:, :, 1:, 1:] += torch.linspace(0, 0.75, 6).reshape(6, 1, 1, 1)  # from hidden to obvious
        kind = "pixels" if seed % 4 == 3 else "smoothed"
        inner = Inner(seed, hidden=(0, 3, 8)[seed % 4 % 3], rising=True)
        detector = pixel_neighbours(seed) if kind == "pixels" else smoothed(inner, 15, 1000, tries=100, sigma=0.1)
        with torch.no_grad():
            clean = detector(batch).numpy()
        attacked = apgd(
            detector, batch, direction, ThreatModel("l2", radius), streams(generator, batch), steps=4
        ).scores.numpy()
        lower, upper = (side[:, 0].numpy() for side in certify(detector, batch, "l2", radius))
        bound = np.where(labels == 1, lower, upper)
        floor, seen = detection.auroc(labels, bound), detection.auroc(labels, attacked)
        assert floor <= seen <= detection.auroc(labels, clean), seed
        assert (direction.numpy() * attacked <= direction.numpy() * bound).all(), seed
        telling[kind] += 0 < floor < 1
    assert telling["smoothed"] > 50
    assert telling["pixels"] > 20


# The trainable


@pytest.fixture(scope="module")
def training(tmp_path_factory, own_cache):
    return splits.training_data(toy_runs.squares(root=str(tmp_path_factory.mktemp("squares"))))


def test_any_trainable_is_trained_as_it_is_and_a_model_of_it_is_loaded_again(training, tmp_path):
    inner = {"name": "cobra", "epochs": 2, "backbone": {"name": "small_resnet", "width": 4}}
    item = shelves.load("trainables", "smoothed")
    given = {"of": inner, "sigma": 0.1, "draws": 5, "certify_draws": 50}
    run = item(training, seed=3, **shelves.bind(item, given))
    plain = shelves.load("trainables", "cobra")(
        training, seed=3, **Item("trainables", "cobra", {k: v for k, v in inner.items() if k != "name"}).arguments()
    )
    assert run.epochs == 2
    assert run.train_epoch() == plain.train_epoch()
    detector, batch = run.detector(), images(4, size=16)
    assert torch.equal(detector.inner(batch), plain.detector()(batch))
    config = json.loads(json.dumps(parameters.resolved(shelves.signature(item).model_validate(given))))
    assert config["of"]["learning_rate"] > 0, "the inner defaults are in the manifest"
    store = Store(tmp_path)
    about = {
        "trainable": "smoothed",
        "parameters": config,
        "channels": 1,
        "image_size": 16,
        "threshold": {"value": 0.0},
    }
    loaded = model_folder.load(store, model_folder.write(store, detector, about)).detector
    assert torch.equal(loaded(batch), detector(batch))
    assert torch.equal(certify(loaded, batch, "l2", 0.05)[0], certify(detector, batch, "l2", 0.05)[0])
