"""What makes each of the field's detectors the one it is named for; what all promise is in test_trainables.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from assay import shelves
from assay.attacks.neighbours import neighbours
from assay.contracts import Images, ThreatModel, TrainingData
from assay.errors import InputError
from assay.metrics.detection import auroc
from assay.norm_balls import streams
from assay.shelves import Item
from trainables import _farthest_patch
from trainables._patch_features import PatchFeatures
from trainables.backbones._resnet import ResNet
from trainables.deep_svdd import OFF_ZERO, DeepSvdd, Sphere
from trainables.draem import Draem, RepairAndCompare, UNet, dissimilarity
from trainables.gaussian import Gaussian
from trainables.patchcore import Patchcore
from trainables.simplenet import Simplenet

SMALL = Item("backbones", "small_resnet", {"width": 4, "shrink": 1})


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        yield


def stripes(count: int, seed: int, *, spot: bool = False) -> np.ndarray:
    """Images (N, 1, 16, 16) of wavy stripes with noise; with a spot, a square of 5 pixels of them is inverted."""
    random = np.random.default_rng(seed)
    across = np.arange(16)[None, None, None] + random.uniform(0, 6, (count, 1, 1, 1))
    pixels = 128 + 60 * np.sin(across) + random.normal(0, 8, (count, 1, 16, 16))
    for image in pixels if spot else ():
        top, left = random.integers(0, 11, 2)
        image[0, top : top + 5, left : left + 5] = 255 - image[0, top : top + 5, left : left + 5]
    return pixels.clip(0, 255).astype(np.uint8)


def data(count: int = 40) -> TrainingData:
    def images(pixels: np.ndarray) -> Images:
        names = tuple(map(str, range(len(pixels))))
        return Images(pixels, np.zeros(len(pixels), np.int64), names, names, names)

    return TrainingData(images(stripes(count, 0)), images(stripes(4, 1)), {})


def floats(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).float() / 255


def reference_score(fine: np.ndarray, coarse: np.ndarray, bank: np.ndarray, neighbours: int) -> float:
    """PatchCore's score of one image from its maps (F, h, w) and (G, h / 2, w / 2), step by step in numpy."""

    def averaged(maps: np.ndarray) -> np.ndarray:
        padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
        shifts = [padded[:, i : i + maps.shape[1], j : j + maps.shape[2]] for i in range(3) for j in range(3)]
        return sum(shifts) / 9

    def doubled(maps: np.ndarray, axis: int) -> np.ndarray:  # bilinear: three parts the nearer, one part the farther
        before = np.concatenate([np.take(maps, [0], axis), np.delete(maps, -1, axis)], axis)
        after = np.concatenate([np.delete(maps, 0, axis), np.take(maps, [-1], axis)], axis)
        both = np.stack([0.75 * maps + 0.25 * before, 0.75 * maps + 0.25 * after], axis + 1)
        return both.reshape([side * (1 + (place == axis)) for place, side in enumerate(maps.shape)])

    maps = np.concatenate([averaged(fine), doubled(doubled(averaged(coarse), 1), 2)])
    every = np.linalg.norm(maps.reshape(len(maps), -1).T[:, None] - bank, axis=2)
    patch = every[every.min(1).argmax()]
    nearest = patch.argmin()
    around = np.linalg.norm(bank - bank[nearest], axis=1).argsort()[:neighbours]
    assert around[0] == nearest
    weights = np.exp(patch[around]) / np.exp(patch[around]).sum()
    return float((1 - weights[0]) * patch[nearest])


def train(run) -> list[dict[str, float]]:
    return [run.train_epoch() for _ in range(run.epochs)]


DETECTORS = {
    "patchcore": lambda: Patchcore(data(), seed=0, backbone=SMALL, coreset=0.2),
    "simplenet": lambda: Simplenet(
        data(),
        seed=0,
        backbone=SMALL,
        epochs=30,
        learning_rate=1e-3,
        pseudo_anomaly=Item("pseudo_anomalies", "feature_noise", {"deviation": 0.1}),
    ),
    "draem": lambda: Draem(data(), seed=0, epochs=20, width=8),
    "gaussian": lambda: Gaussian(data(), seed=0, backbone=Item("backbones", "pixels", {"side": 16})),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_it_tells_spots_from_normals(name):
    run = DETECTORS[name]()
    train(run)
    images = np.concatenate([stripes(30, 5), stripes(30, 6, spot=True)])
    labels = np.repeat([0, 1], 30)
    assert auroc(labels, run.detector()(floats(images)).numpy()) > 0.7


@pytest.mark.parametrize("name", [name for name in shelves.names("backbones") if name != "timm"])
def test_a_backbone_gives_four_levels_each_half_the_side_of_the_one_before(name):
    network = shelves.load("backbones", name)(channels=1).eval()
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        levels = network.levels(images)
    sides = [level.shape[-1] for level in levels]
    assert sides == [sides[0] // 2**n for n in range(4)]
    assert all(level.shape[0] == 2 and level.shape[2] == level.shape[3] for level in levels)
    if "resnet" in name:
        assert torch.equal(levels[-1], network.maps(images))


class TestPatchFeatures:
    def test_levels_are_averaged_around_and_set_side_by_side(self):
        network = PatchFeatures(SMALL, 1, (3, 2))
        images = torch.rand(2, 1, 16, 16)
        _, second, third, _ = network.backbone.levels(images)
        found = network(images).transpose(1, 2).unflatten(2, second.shape[2:])
        assert found.shape[1] == network.features == second.shape[1] + third.shape[1]
        torch.testing.assert_close(found[:, :8, 3, 4], second[:, :, 2:5, 3:6].mean((2, 3)))
        torch.testing.assert_close(found[:, :8, 0, 0], second[:, :, :2, :2].mean((2, 3)))

    def test_nothing_of_it_ever_trains(self):
        network = PatchFeatures(Item("backbones", "efficientnet_lite0", {"frozen": False}), 1, (2,))
        network.train()
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())

    def test_a_backbone_without_levels_is_refused(self, monkeypatch):
        monkeypatch.delattr(ResNet, "levels")
        with pytest.raises(InputError, match="'small_resnet' has no method `levels`"):
            PatchFeatures(SMALL, 1, (2,))


class TestPatchcore:
    @staticmethod
    def detector(**parameters) -> nn.Module:
        return Patchcore(data(), seed=0, backbone=SMALL, **{"coreset": 0.2, **parameters}).detector()

    def test_the_score_is_the_farthest_patch_to_its_nearest_row(self):
        detector, images = self.detector(), torch.rand(5, 1, 16, 16)
        patches = detector.patches(images)
        every = (patches[:, :, None] - detector.bank).norm(dim=3)
        torch.testing.assert_close(detector(images), every.amin(2).amax(1))

    def test_a_coreset_is_of_train_patches_and_of_the_share_asked_for(self):
        whole, some = self.detector(coreset=1.0), self.detector(coreset=0.1)
        assert len(some.bank) == round(0.1 * len(whole.bank))
        rows = {tuple(row.tolist()) for row in whole.bank}
        assert all(tuple(row.tolist()) in rows for row in some.bank)
        assert len(some.bank.unique(dim=0)) == len(some.bank)

    def test_a_train_image_is_no_distance_from_the_whole_bank(self):
        images = floats(stripes(40, 0))
        near, far = self.detector(coreset=1.0)(images), self.detector(coreset=0.1)(images)
        assert near.max() < 1e-3 < far.max()

    def test_a_search_in_small_blocks_finds_the_same(self, monkeypatch):
        detector, images = self.detector(), torch.rand(5, 1, 16, 16)
        whole = detector(images)
        monkeypatch.setattr(_farthest_patch, "BLOCK", 7)
        assert torch.equal(detector(images), whole)

    @pytest.mark.parametrize("first", [1, 5, 99])
    def test_a_search_of_a_part_first_finds_the_same(self, monkeypatch, first):
        monkeypatch.setattr(_farthest_patch, "FIRST", first)
        patches, bank = torch.randn(20, 30, 4), torch.randn(200, 4)
        every = torch.cdist(patches.flatten(0, 1), bank).amin(1).view(20, 30)
        assert torch.equal(_farthest_patch.farthest_patch(patches, bank), every.argmax(1))
        monkeypatch.setattr(_farthest_patch, "LEAST", 1)
        assert torch.equal(_farthest_patch.farthest_patch(patches, bank), every.argmax(1))

    def test_the_weight_is_the_papers(self):
        detector, images = self.detector(reweight=3), torch.rand(5, 1, 16, 16)
        plain = self.detector()
        for image, score in zip(images, detector(images), strict=True):
            patches = detector.patches(image[None])[0]
            every = torch.cdist(patches, detector.bank, compute_mode="donot_use_mm_for_euclid_dist")
            patch = every.amin(1).argmax()
            nearest = every[patch].argmin()
            around = torch.cdist(detector.bank[nearest][None], detector.bank)[0].topk(4, largest=False).indices
            weight = 1 - every[patch, nearest].exp() / every[patch, around].exp().sum()
            torch.testing.assert_close(score, weight * plain(image[None])[0], rtol=1e-4, atol=1e-5)

    def test_with_zeros_at_the_border_the_score_is_that_of_the_papers_code_and_of_anomalib(self):
        detector = self.detector(coreset=0.1, border="zeros", reweight=8)
        for image in torch.rand(4, 1, 16, 16):
            _, second, third, _ = (level[0].double().numpy() for level in detector.patches.backbone.levels(image[None]))
            expected = reference_score(second, third, detector.bank.double().numpy(), neighbours=9)
            assert detector(image[None]).item() == pytest.approx(expected, rel=1e-5)

    def test_a_coreset_on_a_projection_covers_nearly_as_well_as_one_on_the_features(self):
        def reach(**parameters) -> float:
            bank = self.detector(coreset=0.05, **parameters).bank
            return float(torch.cdist(self.detector(coreset=1.0).bank, bank).amin(1).max())

        one, projected = self.detector(coreset=0.05), self.detector(coreset=0.05, projection=12)
        assert not torch.equal(one.bank, projected.bank)
        assert len(one.bank) == len(projected.bank)
        assert reach() <= reach(projection=12) < 1.5 * reach()

    def test_it_can_be_exported_for_batches_of_any_size(self, monkeypatch):
        monkeypatch.setattr(_farthest_patch, "LEAST", 1)
        monkeypatch.setattr(_farthest_patch, "BLOCK", 7)
        detector, images = self.detector(reweight=3), torch.rand(5, 1, 16, 16)
        sizes = ({0: torch.export.Dim.DYNAMIC},)
        with torch.no_grad():
            program = torch.export.export(detector.requires_grad_(False), (images[:2],), dynamic_shapes=sizes)
        torch.testing.assert_close(program.module()(images), detector(images))

    def test_levels_that_a_backbone_does_not_have_are_refused(self, monkeypatch):
        four = ResNet.levels
        monkeypatch.setattr(ResNet, "levels", lambda self, images: four(self, images)[:2])
        with pytest.raises(InputError, match="'small_resnet' has 2 levels; level 3 is asked for"):
            self.detector(levels=(1, 3))

    def test_a_soft_score_is_that_of_the_pool_and_the_attack_on_neighbours_uses_it(self):
        detector, images = self.detector(), floats(stripes(6, 3))
        assert torch.equal(detector.score_with(images, lambda distances: distances.amin(1)), detector(images))
        mean = detector.score_with(images, lambda distances: distances.mean(1))
        assert (mean > detector(images)).all()
        direction, threat = torch.ones(6), ThreatModel("linf", 8 / 255)
        found = neighbours(
            detector, images, direction, threat, streams(torch.Generator().manual_seed(0), images), steps=20
        )
        assert (found.scores > detector(images)).all()


class TestSimplenet:
    def test_noise_is_told_from_features_better_with_training(self):
        losses = [told["loss"] for told in train(DETECTORS["simplenet"]())]
        assert losses[-1] < 0.8 * losses[0]

    def test_only_the_adapter_and_the_discriminator_train(self):
        run = DETECTORS["simplenet"]()
        before = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
        run.train_epoch()
        changed = {name.split(".")[0] for name, now in run.network.state_dict().items() if (now != before[name]).any()}
        assert changed == {"adapter", "discriminator"}

    def test_a_pseudo_anomaly_on_pixels_is_refused(self):
        with pytest.raises(ValidationError, match="'cutpaste' works on images"):
            shelves.bind(Simplenet, {"pseudo_anomaly": "cutpaste"})


class TestDraem:
    def test_it_learns_to_repair_and_to_find(self):
        told = train(Draem(data(), seed=0, epochs=6, width=4))
        assert all(told[-1][name] < told[0][name] for name in ("squared", "similarity", "focal"))

    def test_the_score_is_the_log_odds_of_the_highest_smoothed_probability(self):
        network, images = RepairAndCompare(1, 4).eval(), torch.rand(4, 1, 20, 20)
        _, logits = network.maps(images)
        smooth = nn.functional.avg_pool2d(logits.sigmoid(), 3, 1, 1, count_include_pad=False)  # 21 / 256 of 20 pixels
        torch.testing.assert_close(network(images), smooth.amax((1, 2, 3)).logit(), rtol=1e-4, atol=1e-4)

    def test_scores_stay_apart_and_keep_a_gradient_where_probabilities_are_1(self):
        network = RepairAndCompare(1, 4).eval()
        with torch.no_grad():
            network.compare.last.bias.fill_(40.0)
        images = torch.rand(4, 1, 20, 20, requires_grad=True)
        scores = network(images)
        (gradient,) = torch.autograd.grad(scores.sum(), images)
        assert len(scores.unique()) == 4
        assert (gradient.flatten(1).abs().amax(1) > 0).all()

    def test_the_networks_take_odd_and_oblong_images(self):
        for skips in (False, True):
            assert UNet(2, 3, 4, skips=skips)(torch.rand(2, 2, 17, 30)).shape == (2, 3, 17, 30)

    def test_dissimilarity_is_0_for_the_same_and_1_for_what_has_nothing_in_common(self):
        images = torch.rand(2, 1, 24, 24)
        assert dissimilarity(images, images).abs() < 1e-5
        assert dissimilarity(images, torch.rand(2, 1, 24, 24)) > 0.8
        assert dissimilarity(images, 1 - images) > 1.5


class TestDeepSvdd:
    @staticmethod
    def run(**parameters) -> DeepSvdd:
        return DeepSvdd(
            data(), seed=0, width=4, features=8, **{"epochs": 10, "batch_size": 8, "learning_rate": 1e-3, **parameters}
        )

    def test_nothing_in_it_has_a_bias(self):
        names = [name for name, _ in Sphere(1, 16, 4, 8).named_parameters()]
        assert names
        assert not [name for name in names if "bias" in name]
        assert len(names) == 4  # three convolutions and the last layer: the normalisation learns nothing

    def test_the_centre_stays_and_no_coordinate_of_it_is_near_0(self):
        run = self.run()
        before = run.network.centre.clone()
        train(run)
        assert torch.equal(run.network.centre, before)
        assert (before.abs() >= OFF_ZERO).all()

    def test_normals_come_nearer_to_the_centre(self):
        told = train(self.run())
        assert told[-1]["loss"] < 0.5 * told[0]["loss"]

    def test_a_soft_sphere_leaves_the_share_nu_outside_once_it_is_warm(self):
        run = self.run(objective="soft_boundary", nu=0.25, warm_up=4)
        told = train(run)
        assert [("radius" in epoch) for epoch in told] == [False] * 3 + [True] * 7
        assert run.network.radius > 0
        detector, images = run.detector(), floats(stripes(20, 7))
        torch.testing.assert_close(detector(images), detector.distances(images) - detector.radius**2)
        assert 0 < (detector(floats(stripes(40, 0))) > 0).float().mean() < 0.6


class TestGaussian:
    BACKBONE = Item("backbones", "pixels", {"side": 4})

    def test_the_score_is_the_mahalanobis_distance_per_feature(self):
        from sklearn.covariance import LedoitWolf

        detector = Gaussian(data(), seed=0, backbone=self.BACKBONE).detector()
        rows = detector.backbone(floats(stripes(40, 0))).double().numpy()
        images = torch.rand(5, 1, 16, 16)
        expected = LedoitWolf().fit(rows).mahalanobis(detector.backbone(images).double().numpy()) / 16
        np.testing.assert_allclose(detector(images).numpy(), expected, rtol=1e-3)

    @pytest.mark.parametrize("alike", [1, 5])
    def test_without_any_spread_it_is_the_plain_distance(self, alike):
        one = data(1)
        images = Images(np.repeat(one.train.pixels, alike, 0), np.zeros(alike, np.int64), *[("x",) * alike] * 3)
        detector = Gaussian(TrainingData(images, one.validation, {}), seed=0, backbone=self.BACKBONE).detector()
        others = torch.rand(5, 1, 16, 16)
        distance = (detector.backbone(others) - detector.backbone(floats(one.train.pixels))).square().mean(1)
        torch.testing.assert_close(detector(others), distance, rtol=1e-3, atol=1e-4)
