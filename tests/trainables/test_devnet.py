"""DevNet: its loss, its score, its training on few labelled anomalies; explanations and how well they point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import toy_runs
from PIL import Image
from torch import Tensor, nn

from assay import shelves
from assay.audits.explanations import explain, smooth
from assay.contracts import Dataset, Sample, no_images
from assay.data import splits
from assay.errors import DataError, DivergedError, InputError
from assay.metrics import detection, localisation
from assay.metrics.localisation import Localisation
from trainables._location_scores import LocationScores
from trainables.devnet import Devnet, rotated

SMALL = {"backbone": {"name": "small_resnet", "width": 4, "shrink": 1}, "epochs": 2, "steps_per_epoch": 4}


@pytest.fixture(scope="module")
def training(tmp_path_factory, own_cache):
    """Squares; some of the validation anomalies are labelled ones."""
    found = splits.training_data(toy_runs.squares(root=str(tmp_path_factory.mktemp("squares"))))
    pixels, rows = found.validation.pixels, [12, 13, 14, 15, 16, 17]
    names = tuple(map(str, rows))
    labelled = splits.Images(pixels[rows], np.ones(6, np.int64), names, ("square",) * 6, names)
    return replace(found, labelled=labelled)


def start(training, seed: int = 0, **values) -> Devnet:
    return Devnet(training, seed=seed, **shelves.bind(Devnet, {**SMALL, **values}))


def images(count: int = 4, side: int = 16) -> Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(1))


def same(one: nn.Module, other: nn.Module) -> bool:
    others = other.state_dict()
    return all(torch.equal(tensor, others[name]) for name, tensor in one.state_dict().items())


# The score


def test_the_score_is_the_mean_of_the_largest_absolute_places_of_two_sizes():
    network = LocationScores(shelves.Item("backbones", "small_resnet", {"width": 4}), 1, top=0.25)
    locations = [torch.tensor([[1.0, 9.0, 2.0, 3.0, 4.0, 5.0, 7.0, 6.0]]), torch.tensor([[2.0]])]
    assert network.pooled(locations).tolist() == [(8 + 2) / 2]
    network.head.weight.data.zero_()
    network.head.bias.data.fill_(-3)
    assert network.eval()(images()).tolist() == [3.0] * 4


def test_the_half_size_is_another_look_at_the_image():
    network = LocationScores(shelves.Item("backbones", "small_resnet", {"width": 4, "shrink": 1}), 1, top=0.1).eval()
    assert [tuple(one.shape) for one in network.maps(images(2, 64))] == [(2, 32, 8, 8), (2, 32, 4, 4)]
    assert [tuple(one.shape) for one in network.maps(images(2, 17))] == [(2, 32, 3, 3), (2, 32, 2, 2)]


class Blind(nn.Module):
    features = 3


def blind(*, channels: int) -> nn.Module:
    return Blind()


def test_a_backbone_without_a_feature_map_is_refused():
    with pytest.raises(InputError, match=r"backbone 'test:blind' gives no feature map.*maps\(images\).*assay ls"):
        LocationScores(Named("backbones", "test:blind", {}), 1, top=0.1)


class Named(shelves.Item):
    function = staticmethod(blind)


@pytest.mark.parametrize("flat", [0.0, 0.5, 1.0])
def test_a_constant_image_and_a_batch_of_one_have_a_finite_score_and_gradient(training, flat):
    detector = start(training).detector()
    pixels = torch.full((1, 1, 16, 16), flat).requires_grad_(True)
    score = detector(pixels)
    (gradient,) = torch.autograd.grad(score.sum(), pixels)
    assert score.shape == (1,)
    assert score.isfinite().all()
    assert gradient.isfinite().all()


# Training


def test_training_tells_squares_from_noise(training):
    run = start(training, epochs=6, steps_per_epoch=12, learning_rate=5e-3)
    losses = [run.train_epoch()["deviation"] for _ in range(6)]
    assert losses[-1] < losses[0] / 2
    with torch.no_grad():
        scores = run.detector()(torch.from_numpy(np.array(training.validation.pixels)).float() / 255)
    assert detection.auroc(training.validation.labels, scores.numpy()) > 0.9


def test_one_labelled_anomaly_is_enough_to_train(training):
    few = training.labelled
    one = splits.Images(few.pixels[:1], few.labels[:1], few.ids[:1], few.defects[:1], few.hashes[:1])
    assert start(replace(training, labelled=one)).train_epoch()["deviation"] > 0


def test_no_labelled_anomaly_is_an_error_that_says_what_to_set(training):
    without = replace(training, labelled=no_images())
    with pytest.raises(
        InputError, match=r"devnet needs labelled anomalies .* set labelled_anomalies .* pseudo_anomaly"
    ):
        start(without)
    assert start(without, pseudo_anomaly="cutpaste").train_epoch()["deviation"] > 0


def test_pseudo_anomalies_are_half_of_the_anomalies_of_a_batch(training):
    run = start(training, pseudo_anomaly="cutpaste", batch_size=16)
    rows, pseudo = run._rows()
    assert pseudo == 4
    assert ((rows >= run.normals) == torch.tensor([False] * 8 + [True] * 4 + [False] * 4)).all()
    rows, pseudo = start(training, batch_size=16)._rows()
    assert (pseudo, int((rows >= 24).sum())) == (0, 8)


class Frozen(nn.Module):
    """Means of 4 x 4 pixels; counts how often it is asked."""

    features, calls = 1, 0

    def maps(self, pixels: Tensor) -> Tensor:
        type(self).calls += 1
        return nn.functional.avg_pool2d(pixels, 4)


def frozen(*, channels: int) -> nn.Module:
    return Frozen()


def test_a_frozen_backbone_sees_images_that_never_change_once(training, monkeypatch):
    item = type("Pools", (shelves.Item,), {"function": staticmethod(frozen)})("backbones", "test:frozen", {})
    monkeypatch.setattr(Frozen, "calls", 0)
    values = {"epochs": 1, "steps_per_epoch": 3}
    runs = [Devnet(training, seed=0, backbone=item, **values)]
    runs[0].train_epoch()
    assert Frozen.calls == 2
    runs.append(Devnet(training, seed=0, backbone=item, **values))
    runs[1].remembered = None
    runs[1].train_epoch()
    assert Frozen.calls == 4 + 2 * 3
    assert same(runs[0].detector(), runs[1].detector())
    for more in ({"rotation": 10.0}, {"adversary": {"epsilon": 0.1}}, {"pseudo_anomaly": "cutpaste"}):
        bound = shelves.bind(Devnet, more) | {"backbone": item}
        assert Devnet(training, seed=0, **bound).remembered is None


@pytest.mark.parametrize("attacked", ["score", "locations"])
def test_adversarial_training_is_training_on_other_images_and_comes_back_to_train_mode(training, attacked):
    run = start(training, adversary={"epsilon": "8/255", "steps": 2}, attacked=attacked)
    plain = start(training)
    attacked_loss, plain_loss = run.train_epoch()["deviation"], plain.train_epoch()["deviation"]
    assert attacked_loss > 0
    assert run.network.training
    assert not same(run.detector(), plain.detector())
    assert plain_loss != attacked_loss


def test_the_two_attacks_of_training_differ(training):
    one, other = (start(training, adversary={"epsilon": "8/255"}, attacked=kind) for kind in ("score", "locations"))
    one.train_epoch(), other.train_epoch()
    assert not same(one.detector(), other.detector())


def test_a_loss_that_is_not_a_number_is_told_and_not_hidden(training):
    run = start(training)
    with torch.no_grad():
        run.network.head.weight.fill_(float("nan"))
    assert np.isnan(run.train_epoch()["deviation"])


def test_rotation_turns_each_image_by_its_own_angle_about_its_middle():
    disc = torch.zeros(16, 1, 32, 32)
    disc[..., 12:20, 12:20] = 1
    disc[..., 4:8, 14:18] = 1
    turned = rotated(disc, 180, torch.Generator().manual_seed(0))
    assert torch.allclose(turned[..., 15:17, 15:17], torch.ones(()), atol=1e-3)
    assert turned.flatten(1).sum(1).sub(80).abs().max() < 6
    assert len({tuple(one.flatten().round(decimals=3).tolist()) for one in turned}) == 16
    assert torch.allclose(rotated(disc, 0, torch.Generator()), disc, atol=1e-4)


# Explanations


def weighted(weights: Tensor):
    return lambda pixels: (pixels * weights).sum((1, 2, 3))


def test_an_explanation_is_the_absolute_gradient_over_channels_clipped_at_its_99th_percentile():
    weights = torch.arange(200.0).view(2, 10, 10)
    found = explain(weighted(weights), torch.rand(3, 2, 10, 10), sigma=0)
    total = weights.abs().sum(0)
    assert torch.allclose(found, total.clamp(max=float(total.quantile(0.99))).expand(3, -1, -1))
    assert float(found.max()) < float(total.max())


def test_an_explanation_leaves_pixels_and_weights_alone():
    network, pixels = nn.Sequential(nn.Flatten(), nn.Linear(256, 1)), images()
    with torch.no_grad():
        found = explain(lambda x: network(x).squeeze(1), pixels)
    assert found.shape == (4, 16, 16)
    assert not found.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not pixels.requires_grad


def test_smoothing_keeps_what_is_constant_and_spreads_a_point_as_a_gaussian():
    assert torch.allclose(smooth(torch.full((2, 9, 5), 3.0), 4.0), torch.tensor(3.0))
    point = torch.zeros(1, 65, 65)
    point[0, 32, 32] = 1
    found = smooth(point, 4.0)[0]
    assert float(found.sum()) == pytest.approx(1, abs=1e-4)
    assert float(found[32, 36] / found[32, 32]) == pytest.approx(np.exp(-0.5), abs=1e-4)


def test_a_score_without_a_gradient_or_with_a_broken_one_is_refused():
    with pytest.raises(InputError, match="no gradient with respect to the pixels"):
        explain(lambda x: x.detach().sum((1, 2, 3)), images())
    with pytest.raises(DivergedError, match="not finite"):
        explain(lambda x: (x.sum((1, 2, 3)) * 0).sqrt(), images())


# Localisation


def test_localisation_is_the_mean_pixel_auroc_of_images_whose_mask_marks_a_part():
    maps = np.zeros((4, 4, 4), np.float32)
    marked = np.zeros((4, 4, 4), bool)
    marked[0, :2], maps[0, :2] = True, 1  # found
    marked[1, :2], maps[1, 2:] = True, 1  # the wrong half
    marked[2] = True  # everything; and the last marks nothing
    assert localisation.localisation(maps, marked) == Localisation(0.5, 2, 2)
    with pytest.raises(DataError, match="none of 2 masks marks a part"):
        localisation.localisation(maps[2:], marked[2:])
    with pytest.raises(DataError, match="same shape"):
        localisation.localisation(maps[:1], marked)
    with pytest.raises(DataError, match="NaN"):
        localisation.localisation(np.full_like(maps, np.nan), marked)


def test_masks_are_soft_and_a_sample_without_one_marks_nothing(tmp_path):
    grey = np.zeros((8, 8), np.uint8)
    grey[:2], grey[2:4], grey[4:] = 255, 128, 127
    Image.fromarray(grey).save(tmp_path / "mask.png")
    Image.fromarray(grey).save(tmp_path / "a.png")
    samples = (
        Sample("a", tmp_path / "a.png", 1, "test", "crack", masks=(tmp_path / "mask.png",)),
        Sample("b", tmp_path / "b.png", 1, "test", "crack"),
    )
    dataset = Dataset("cells", samples, 8, 1, "pseudo")
    found = localisation.masks(dataset, ["b", "a"])
    assert not found[0].any()
    assert found[1].sum() == 32
    assert found[1, :4].all()
    with pytest.raises(DataError, match="no sample is called c"):
        localisation.masks(dataset, ["c"])


def test_a_bright_square_is_found_by_its_gradient():
    squares, marked = torch.zeros(2, 1, 64, 64), np.zeros((2, 64, 64), bool)
    squares[0, 0, 8:20, 8:20], squares[1, 0, 40:52, 30:42] = 1, 1
    marked[0, 8:20, 8:20], marked[1, 40:52, 30:42] = True, True
    maps = explain(lambda x: x.square().sum((1, 2, 3)), squares).numpy()
    assert localisation.localisation(maps, marked).auroc > 0.95
