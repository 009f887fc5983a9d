"""COBRA trained on interval bounds: what is proven holds, and is worth more than without."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from assay import delong, shelves
from assay.contracts import Images, ThreatModel, TrainingData
from assay.errors import InputError
from assay.models import certificates
from trainables.backbones.plain_cnn import plain_cnn
from trainables.cobra import Cobra

EPSILON = 4 / 255
PLAIN = {
    "backbone": {"plain_cnn": {"width": 8}},
    "pseudo_anomaly": "shade",
    "score": {"neighbours": 0},
    "epochs": 12,
    "batch_size": 8,
    "adversary": {"epsilon": EPSILON, "views": "contrastive"},
}


@pytest.fixture(scope="module")
def data() -> TrainingData:
    """Light plates with a little grain; of the validation images every second has a dark box."""
    random = np.random.default_rng(0)

    def split(count: int, marked: int) -> Images:
        pixels = random.normal(150, 4, (count, 1, 16, 16))
        for number in range(0, count, 2) if marked else ():
            row, column = random.integers(1, 10, 2)
            pixels[number, 0, row : row + 5, column : column + 5] -= 60
        labels = (np.arange(count) % 2 == 0).astype(np.int64) * marked
        names = tuple(map(str, range(count)))
        return Images(pixels.clip(0, 255).astype(np.uint8), labels, names, ("box",) * count, names)

    return TrainingData(split(48, 0), split(32, 1), {"channels": 1, "image_size": 16})


def trained(data, **changes):
    run = Cobra(data, seed=0, **shelves.bind(Cobra, {**PLAIN, **changes}))
    losses = [run.train_epoch() for _ in range(run.epochs)]
    return run.detector(), losses


def some(data) -> Tensor:
    return torch.from_numpy(data.validation.pixels.copy()).float() / 255


@pytest.mark.parametrize("channels", [1, 3])
def test_no_image_in_the_ball_has_features_outside_the_bounds(channels):
    generator = torch.Generator().manual_seed(0)
    network, images = plain_cnn(channels=channels, width=4), torch.rand(3, channels, 12, 15, generator=generator)
    low, high = network.bounds(images, 0.1)
    for number in range(50):
        noise = torch.rand(images.shape, generator=generator) * 2 - 1
        moved = (images + 0.1 * (noise.sign() if number % 2 else noise)).clamp(0, 1)
        features = network(moved)
        assert (features >= low - 1e-5).all()
        assert (features <= high + 1e-5).all()
    exact_low, exact_high = network.bounds(images, 0)
    torch.testing.assert_close(exact_low, network(images))
    torch.testing.assert_close(exact_high, network(images))


@pytest.mark.parametrize("pixels", [0.0, 1.0])
def test_no_attack_passes_what_is_proven_of_the_score(data, pixels):
    detector, _ = trained(data, loss={"certified": 1.0}, epochs=2, score={"neighbours": 0, "pixels": pixels})
    images, radii = some(data), torch.tensor([1 / 255, EPSILON, 0.1], dtype=torch.float64)
    lower, upper = certificates.bounds(detector, images, "linf", radii, [], 1)
    attack = shelves.load("attacks", "pgd")
    random = [torch.Generator().manual_seed(row) for row in range(len(images))]
    for at, radius in enumerate(radii.tolist()):
        for sign, bound in ((1, upper), (-1, lower)):
            asked = torch.full((len(images),), sign)
            threat = ThreatModel("linf", radius)
            found = attack(detector, images, asked, threat, random, **shelves.bind(attack, {"steps": 20}))
            assert (sign * found.scores.double() <= sign * bound[:, at]).all()


def test_training_on_the_bounds_makes_the_proof_worth_more(data):
    proven = {}
    for weight in (0.0, 1.0):
        detector, losses = trained(data, loss={"certified": weight})
        assert ("certified" in losses[0]) == (weight > 0)
        radii = torch.tensor([EPSILON], dtype=torch.float64)
        lower, upper = certificates.bounds(detector, some(data), "linf", radii, [], 1)
        labels = data.validation.labels
        worst = torch.where(torch.from_numpy(labels) == 1, lower[:, 0], upper[:, 0])
        proven[weight] = delong.auroc(labels, worst.numpy()).value
    assert proven[1.0] > proven[0.0] + 0.1


@pytest.mark.parametrize(
    "changes", [{"backbone": {"small_resnet": {"width": 4}}}, {"adversary": {"norm": "l2", "epsilon": 0.5}}]
)
def test_what_has_no_bounds_is_refused(data, changes):
    with pytest.raises(InputError, match=r"plain_cnn and adversary\.norm linf"):
        Cobra(data, seed=0, **shelves.bind(Cobra, {**PLAIN, "loss": {"certified": 1.0}, **changes}))


@pytest.mark.parametrize(
    "changes", [{"score": {}}, {"score": {"neighbours": 0, "views": 2}}, {"backbone": {"resnet18": {}}}]
)
def test_a_score_with_a_part_that_is_not_bounded_claims_no_proof(data, changes):
    detector = Cobra(data, seed=0, **shelves.bind(Cobra, {**PLAIN, **changes})).averaged
    assert detector.CERTIFIES == ()


@pytest.mark.parametrize("variant", ["paper", "as_released"])
def test_the_published_steps_take_the_term_as_well(data, variant):
    _, losses = trained(data, loss={"certified": 1.0, "classification": 0.0}, variant=variant, epochs=1)
    assert set(losses[0]) == {"certified"}
