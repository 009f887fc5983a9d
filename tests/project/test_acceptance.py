"""The acceptance filter: what it learns, what it refuses, what it reports."""

from __future__ import annotations

import numpy as np
import pydantic
import pytest
import torch
from seeded import rng
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from assay import shelves
from assay.contracts import Images, TrainingData
from assay.errors import InputError
from trainables.cobra import Cobra
from trainables.pseudo_anomalies._density import Density, shrunk_covariance
from trainables.pseudo_anomalies.acceptance import Acceptance

PIXELS = shelves.Item("backbones", "pixels", {"side": 8})
FAINT_OR_PLAIN = {
    "faint": {"item": {"cutpaste": {"area": 0.02, "jitter": 0.0}}},
    "plain": {"item": "cutout"},
}


def normals(count: int, seed: int = 0) -> Tensor:
    """Grain alone, so that a piece of it moved elsewhere is grain again."""
    return (0.5 + 0.1 * torch.randn(count, 1, 32, 32, generator=rng(seed))).clamp(0, 1)


def fitted(**parameters: object) -> Acceptance:
    item = Acceptance(**shelves.bind(Acceptance, {"backbone": PIXELS, **parameters}))
    item.fit(normals(400))
    return item


def test_the_covariance_is_ledoit_and_wolf_s() -> None:
    for count, size in ((20, 30), (200, 5)):
        features = torch.randn(count, size, generator=rng(), dtype=torch.float64) * torch.arange(1.0, size + 1)
        centred = features - features.mean(0)
        expected, _ = ledoit_wolf(features.numpy())
        np.testing.assert_allclose(shrunk_covariance(centred).numpy(), expected, rtol=1e-9)


def test_density_orders_and_survives_features_that_are_all_alike() -> None:
    density = Density(torch.randn(50, 80, generator=rng()))
    near, far = density(torch.zeros(1, 80)), density(torch.full((1, 80), 5.0))
    assert near > far
    alike = Density(torch.ones(10, 4))
    assert alike(torch.ones(1, 4)) > alike(torch.zeros(1, 4))


@pytest.mark.parametrize("percentile", [0.05, 0.5, 0.99])
def test_the_percentile_is_the_share_of_unseen_normals_that_would_be_accepted(percentile: float) -> None:
    item = fitted(percentile=percentile)
    accepted = (item.densities(normals(400, seed=50)) < item.limit).float().mean()
    assert accepted.item() == pytest.approx(percentile, abs=0.08)


def test_what_looks_normal_is_drawn_again_and_counted() -> None:
    images = normals(60, seed=7)
    item = fitted(of={"mixture": {"of": FAINT_OR_PLAIN}}, percentile=0.05, tries=8)
    made = item(images, rng())
    assert (item.densities(made.images) < item.limit).float().mean() > 0.95
    assert 0.3 < item.rejected < 0.6, "about every second draw is a faint one"
    assert made.images.eq(0).flatten(1).any(1).float().mean() > 0.95


def test_after_the_last_try_the_least_usual_draw_is_taken() -> None:
    images = normals(30, seed=7)
    faint = {"of": {"cutpaste": {"area": 0.02, "jitter": 0.0}}, "percentile": 1e-9}
    one, several = fitted(**faint, tries=1), fitted(**faint, tries=6)
    first, best = one(images, rng()), several(images, rng())
    assert one.rejected > 0.8
    assert several.rejected > 0.8
    gain = one.densities(first.images) - several.densities(best.images)
    assert gain.min() >= 0
    assert gain.max() > 0
    changed = (best.images != images).any(1, keepdim=True)
    assert not (changed & ~best.mask).any()


def test_the_released_threshold_rejects_next_to_nothing() -> None:
    item = fitted(of={"cutpaste": {"area": 0.02, "jitter": 0.0}}, percentile=0.99)
    item(normals(100, seed=7), rng())
    assert item.rejected < 0.1


def test_random_weights_are_the_same_every_time_and_the_global_rng_is_not_touched() -> None:
    state = torch.get_rng_state()
    first, second = (fitted(backbone="small_resnet") for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.limit == second.limit


def test_it_says_what_it_needs() -> None:
    with pytest.raises(InputError, match="at least 10 normals, there are 9"):
        Acceptance(backbone=PIXELS).fit(normals(9))
    with pytest.raises(pydantic.ValidationError, match="works on features"):
        shelves.bind(Acceptance, {"of": "feature_noise"})
    with pytest.raises(pydantic.ValidationError):
        shelves.bind(Acceptance, {"percentile": 0})


def test_cobra_fits_it_and_logs_what_was_rejected() -> None:
    pixels = (normals(12).numpy() * 255).astype(np.uint8)
    ids = tuple(map(str, range(12)))
    images = Images(pixels, np.zeros(12, dtype=np.int64), ids, ("normal",) * 12, ids)
    item = shelves.Item("pseudo_anomalies", "acceptance", {"of": "cutout", "backbone": {"pixels": {"side": 4}}})
    small = shelves.Item("backbones", "small_resnet", {"width": 4})
    data = TrainingData(images, images, {})
    run = Cobra(data, seed=0, epochs=1, batch_size=6, backbone=small, pseudo_anomaly=item)
    assert 0 <= run.train_epoch()["rejected"] <= 1
    assert "rejected" not in Cobra(data, seed=0, epochs=1, batch_size=6, backbone=small).train_epoch()
