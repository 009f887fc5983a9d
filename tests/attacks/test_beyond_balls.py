"""Attacks whose images lie in no ball: one square of any content, and the image turned and shifted."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from assay import shelves
from assay.attacks.patch import patch
from assay.attacks.spatial import moved, spatial
from assay.contracts import ThreatModel
from assay.errors import DataError, InputError
from assay.norm_balls import streams

SIDE = 12
QUICK = {"steps": 10, "restarts": 2}
WEIGHTS = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def linear(batch: Tensor) -> Tensor:
    return (batch * WEIGHTS).sum((1, 2, 3))


def inputs(count: int = 4) -> tuple[Tensor, Tensor]:
    smooth = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    images = F.interpolate(smooth, (SIDE, SIDE), mode="bilinear").clamp(0, 1)
    return images, torch.tensor([1.0, -1.0]).repeat(count)[:count]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def square_of(images: Tensor, found: Tensor) -> Tensor:
    """(B, 2) height and width of what changed."""
    changed = (found != images).any(1)
    spans = []
    for lines in (changed.any(2), changed.any(1)):
        at = [line.nonzero().flatten() for line in lines]
        spans.append(torch.tensor([int(of[-1] - of[0]) + 1 if len(of) else 0 for of in at]))
    return torch.stack(spans, 1)


class TestPatch:
    @pytest.mark.parametrize(("share", "side"), [(0.006, 0), (0.007, 1), (0.25, 6), (0.3, 6), (1.0, 12)])
    def test_changes_one_square_of_that_share_of_the_image(self, share, side):
        images, direction = inputs()
        found = patch(linear, images, direction, ThreatModel("patch", share), streams(seeded(), images), **QUICK)
        spans = square_of(images, found.images)
        assert (spans <= side).all()
        assert (spans > 0).all() or side == 0
        assert found.images.min() >= 0
        assert found.images.max() <= 1
        assert torch.equal(found.scores, linear(found.images))
        if side == 0:
            assert torch.equal(found.images, images)

    def test_finds_the_best_square_of_a_linear_score(self):
        images, direction = inputs()
        found = patch(
            linear, images, direction, ThreatModel("patch", 0.07), streams(seeded(), images), steps=20, restarts=1
        )
        signed = direction.reshape(-1, 1, 1, 1) * WEIGHTS
        gain = torch.where(signed > 0, signed * (1 - images), -signed * images).sum(1, keepdim=True)
        best = F.avg_pool2d(gain, 3, stride=1).flatten(1).amax(1) * 9
        torch.testing.assert_close(direction * (found.scores - linear(images)), best, rtol=1e-4, atol=1e-4)

    def test_tries_places_where_the_gradient_says_nothing(self):
        """A score that only counts how many blocks are nearly black has a gradient nowhere."""
        images = torch.full((3, 3, SIDE, SIDE), 0.5)

        def dark(batch: Tensor) -> Tensor:
            blocks = F.avg_pool2d(batch.mean(1, keepdim=True), 4)
            return (blocks < 0.05).float().sum((1, 2, 3)) + 0 * batch.sum((1, 2, 3))

        found = patch(dark, images, torch.ones(3), ThreatModel("patch", 0.12), streams(seeded(), images), **QUICK)
        assert torch.equal(found.scores, torch.ones(3))

    def test_goes_on_from_a_start_and_refuses_one_that_is_too_large(self):
        images, direction = inputs()
        small = patch(linear, images, direction, ThreatModel("patch", 0.07), streams(seeded(), images), **QUICK)
        large = patch(
            linear, images, direction, ThreatModel("patch", 0.2), streams(seeded(), images), start=small.images, **QUICK
        )
        assert (direction * (large.scores - small.scores) > 0).all()
        assert (square_of(images, large.images) <= 5).all()
        with pytest.raises(InputError, match="one square of 2 x 2 pixels"):
            patch(
                linear,
                images,
                direction,
                ThreatModel("patch", 0.03),
                streams(seeded(), images),
                start=large.images,
                **QUICK,
            )

    def test_an_image_is_attacked_alike_in_any_batch(self):
        images, direction = inputs()
        threat = ThreatModel("patch", 0.1)
        whole = patch(linear, images, direction, threat, streams(seeded(), images), **QUICK)
        parts = [
            patch(linear, images[a:b], direction[a:b], threat, streams(seeded(), images[a:b]), **QUICK).images
            for a, b in itertools.pairwise([0, 1, 4])
        ]
        torch.testing.assert_close(torch.cat(parts), whole.images)

    def test_other_norms_are_refused(self):
        with pytest.raises(InputError, match=r"norm 'linf'.*choose from: patch"):
            patch(linear, *inputs(), ThreatModel("linf", 0.1), seeded())

    def test_a_score_without_gradient_is_refused(self):
        with pytest.raises(InputError, match="not differentiable"):
            patch(lambda batch: linear(batch.detach()), *inputs(), ThreatModel("patch", 0.1), seeded())


class TestMoved:
    def test_nothing_is_the_image_itself(self):
        images, _ = inputs()
        assert torch.equal(moved(images, torch.zeros(4, 3)), images)

    def test_a_shift_by_whole_pixels(self):
        images, _ = inputs()
        by = torch.tensor([0.0, 2 * 2 / SIDE, 0.0]).expand(4, 3)  # two pixels, of half a side
        torch.testing.assert_close(moved(images, by)[..., : SIDE - 2], images[..., 2:])
        down = torch.tensor([0.0, 0.0, 2 * 3 / SIDE]).expand(4, 3)
        torch.testing.assert_close(moved(images, down)[..., : SIDE - 3, :], images[..., 3:, :])

    def test_what_comes_in_is_the_image_mirrored(self):
        images, _ = inputs()
        by = torch.tensor([0.0, 2 * 2 / SIDE, 0.0]).expand(4, 3)
        torch.testing.assert_close(moved(images, by)[..., -2:], images[..., -2:].flip(3))

    def test_a_quarter_turn(self):
        images, _ = inputs()
        by = torch.tensor([torch.pi / 2, 0.0, 0.0]).expand(4, 3)
        torch.testing.assert_close(moved(images, by), images.rot90(1, (2, 3)), atol=1e-5, rtol=0)

    def test_a_wide_image_is_turned_and_not_sheared(self):
        """A square in the middle of a wide image turns like the square alone."""
        small = inputs(1)[0]
        wide = F.pad(small, (6, 6, 0, 0))
        by = torch.tensor([[0.3, 0.0, 0.0]])
        centre = slice(4, 8)
        torch.testing.assert_close(
            moved(wide, by)[..., centre, 10:14], moved(small, by)[..., centre, centre], atol=1e-4, rtol=0
        )


class TestSpatial:
    def test_finds_where_an_image_was_moved_from(self):
        """The score is the distance to an image turned and shifted: hiding means turning it back."""
        images, _ = inputs()
        target = moved(images, torch.tensor([[0.12, 0.1, -0.05]]).expand(4, 3))

        def apart(batch: Tensor) -> Tensor:
            return (batch - target).square().mean((1, 2, 3)).sqrt()

        found = spatial(
            apart, images, -torch.ones(4), ThreatModel("spatial", 1.0), streams(seeded(), images), queries=400
        )
        assert (found.scores < 0.1 * apart(images)).all()
        assert (found.backwards == 0).all()
        assert torch.equal(found.scores, apart(found.images))

    def test_moves_no_further_than_epsilon_allows(self):
        """Of a ramp from left to right a shift changes every pixel by as much: only the padding differs."""
        ramp = torch.linspace(0, 1, SIDE).expand(4, 3, SIDE, SIDE).clone()
        score = lambda batch: batch[..., 3:-3, 3:-3].mean((1, 2, 3))  # noqa: E731
        threat = ThreatModel("spatial", 0.5)
        found = spatial(
            score, ramp, torch.ones(4), threat, streams(seeded(), ramp), queries=60, degrees=1e-6, shift=0.2
        )
        torch.testing.assert_close(found.scores - score(ramp), torch.full((4,), 0.1 * SIDE / (SIDE - 1)))

    def test_epsilon_zero_is_the_clean_image(self):
        images, direction = inputs()
        found = spatial(linear, images, direction, ThreatModel("spatial", 0.0), streams(seeded(), images), queries=60)
        assert torch.equal(found.images, images)

    def test_raises_and_lowers_and_keeps_a_better_start(self):
        images, direction = inputs()
        threat = ThreatModel("spatial", 1.0)
        found = spatial(linear, images, direction, threat, streams(seeded(), images), queries=60)
        assert (direction * (found.scores - linear(images)) > 0).all()
        assert found.images.min() >= 0
        assert found.images.max() <= 1
        again = spatial(linear, images, direction, threat, streams(seeded(1), images), start=found.images, queries=1)
        assert torch.equal(again.images, found.images)

    def test_a_stream_per_image(self):
        images, direction = inputs()
        threat, random, state = ThreatModel("spatial", 1.0), streams(seeded(), images), torch.get_rng_state()
        whole = spatial(linear, images, direction, threat, streams(seeded(), images), queries=60)
        parts = [
            spatial(linear, images[a:b], direction[a:b], threat, random[a:b], queries=60).images
            for a, b in itertools.pairwise([0, 1, 4])
        ]
        torch.testing.assert_close(torch.cat(parts), whole.images)
        assert torch.equal(torch.get_rng_state(), state)
        assert not torch.equal(
            spatial(linear, images, direction, threat, streams(seeded(1), images), queries=60).images, whole.images
        )

    def test_other_norms_and_images_outside_the_box_are_refused(self):
        images, direction = inputs()
        with pytest.raises(InputError, match=r"norm 'l2'.*choose from: spatial"):
            spatial(linear, images, direction, ThreatModel("l2", 0.1), streams(seeded(), images))
        with pytest.raises(DataError):
            spatial(linear, images + 1, direction, ThreatModel("spatial", 0.1), streams(seeded(), images + 1))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("patch", {"steps": 0}),
        ("patch", {"step_size": 0}),
        ("patch", {"momentum": 1.5}),
        ("spatial", {"queries": 0}),
        ("spatial", {"degrees": 0}),
        ("spatial", {"shift": 2}),
    ],
)
def test_parameters_have_limits(name, values):
    with pytest.raises(ValueError):
        shelves.bind(shelves.load("attacks", name), values)
