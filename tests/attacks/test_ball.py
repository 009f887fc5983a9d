"""The geometry shared by the attacks: projection, steps, random points, rounding to 8 bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from assay.attacks._plane import onto_plane
from assay.contracts import ThreatModel
from assay.norm_balls import (
    furthest,
    outward,
    per_image,
    project,
    random_point,
    size,
    sparse_share,
    steepest,
    streams,
    to_8_bit,
)

LINF, L2, L1 = ThreatModel("linf", 8 / 255), ThreatModel("l2", 0.5), ThreatModel("l1", 12.0)
every_norm = pytest.mark.parametrize("threat", [LINF, L2, L1], ids=lambda threat: threat.norm)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def on_grid(images: Tensor) -> bool:
    return bool(((images * 255).round() / 255 == images).all())


@every_norm
@pytest.mark.parametrize("shape", [(4, 1, 2, 2), (4, 3, 16, 16), (2, 3, 224, 224)])
def test_projection_ends_inside_ball_and_box(threat, shape):
    clean = torch.rand(shape, generator=generator()).round(decimals=1)
    far = clean + torch.randn(shape, generator=generator())
    inside = project(far, clean, threat)
    assert inside.min() >= 0
    assert inside.max() <= 1
    assert (size(inside.double() - clean.double(), threat.norm) <= threat.epsilon + 1e-6).all()
    assert torch.equal(project(clean, clean, threat), clean)
    shorter = ThreatModel(threat.norm, threat.epsilon / 2)
    near = project(far, clean, shorter)
    assert torch.equal(project(near, clean, threat), near)


def test_a_large_l2_ball_of_large_images_is_as_sharp():
    clean, threat = torch.full((2, 3, 224, 224), 0.5), ThreatModel("l2", 5.0)
    moved = project(clean + 0.05 * torch.randn(clean.shape, generator=generator()), clean, threat)
    lengths = size(moved.double() - clean.double(), "l2")
    torch.testing.assert_close(lengths, torch.full_like(lengths, 5.0), atol=1e-6, rtol=0)


def test_projection_on_l2_keeps_the_direction():
    clean = torch.full((1, 1, 2, 2), 0.5)
    far = clean + torch.tensor([3.0, 4.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
    moved = project(far, clean, ThreatModel("l2", 0.1)) - clean
    torch.testing.assert_close(moved.flatten(), torch.tensor([0.06, 0.08, 0.0, 0.0]))


@every_norm
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_steepest_is_a_unit_step_at_every_scale(threat, scale):
    gradient = torch.randn(3, 3, 4, 4, generator=generator())
    gradient[1] = 0
    step = steepest(gradient * scale, threat.norm)
    torch.testing.assert_close(size(step, threat.norm), torch.tensor([1.0, 0.0, 1.0]), check_dtype=False)
    torch.testing.assert_close(step, steepest(gradient, threat.norm))


@every_norm
def test_random_points_fill_the_ball_and_differ(threat):
    clean = torch.full((64, 3, 8, 8), 0.5)
    random = streams(generator(), clean)
    first, second = random_point(clean, threat, random), random_point(clean, threat, random)
    lengths = size(first - clean, threat.norm)
    assert (lengths <= threat.epsilon + 1e-6).all()
    assert (lengths > 0.95 * threat.epsilon).all()
    assert (size(first - second, threat.norm) > threat.epsilon).all()
    assert (first - clean).mean().abs() < 0.02 * (first - clean).abs().amax()


def test_random_points_belong_to_the_image_not_to_its_batch():
    clean = torch.full((5, 1, 4, 4), 0.5)
    carried = generator()
    parts = [random_point(part, LINF, streams(carried, part)) for part in clean.split([2, 3])]
    assert torch.equal(torch.cat(parts), random_point(clean, LINF, streams(generator(), clean)))


@every_norm
@pytest.mark.parametrize("levels", [0.3, 1.0, 2.5, 20.0])
def test_8_bit_images_are_on_the_grid_in_the_ball_and_in_the_box(threat, levels):
    clean = torch.randint(256, (8, 3, 16, 16), generator=generator()) / 255
    threat = ThreatModel(threat.norm, levels / 255 * {"linf": 1, "l2": 28, "l1": 600}[threat.norm])
    adversarial = project(clean + torch.randn(clean.shape, generator=generator()) * 0.1, clean, threat)
    rounded = to_8_bit(adversarial, clean, threat)
    assert on_grid(rounded)
    assert rounded.min() >= 0
    assert rounded.max() <= 1
    assert (size(rounded.double() - clean.double(), threat.norm) <= threat.epsilon + 1e-6).all()


def test_8_bit_keeps_what_can_be_kept():
    clean = torch.randint(256, (8, 3, 16, 16), generator=generator()) / 255
    noise = torch.randn(clean.shape, generator=generator())
    linf = project(clean + noise.sign() * 2 / 255, clean, ThreatModel("linf", 2 / 255))
    torch.testing.assert_close(to_8_bit(linf, clean, ThreatModel("linf", 2 / 255)), linf, atol=1e-6, rtol=0)
    assert torch.equal(to_8_bit(clean, clean, L2), clean)
    for epsilon in (0.5, 0.8, 0.99):
        l2 = project(clean + noise, clean, ThreatModel("l2", 1.0))
        kept = size(to_8_bit(l2, clean, ThreatModel("l2", epsilon)) - clean, "l2")
        assert (kept > 0.98 * epsilon).all()
        assert (kept <= epsilon + 1e-6).all()


def test_without_a_ball_8_bit_is_the_nearest():
    clean, patched = torch.zeros(1, 1, 2, 2), torch.tensor([0.0, 0.5, 1.0, 0.3]).reshape(1, 1, 2, 2)
    for norm in ("patch", "spatial"):
        levels = to_8_bit(patched, clean, ThreatModel(norm, 0.1)) * 255
        torch.testing.assert_close(levels.flatten(), torch.tensor([0.0, 128.0, 255.0, 76.0]))


def test_8_bit_of_a_clean_image_off_the_grid_is_on_it():
    clean = torch.full((1, 1, 2, 2), 100.5 / 255)
    for threat in (ThreatModel("linf", 0.2 / 255), ThreatModel("l2", 0.1 / 255)):
        assert on_grid(to_8_bit(clean, clean, threat))
    within = to_8_bit(clean + 2 / 255, clean, ThreatModel("linf", 2 / 255))
    assert torch.equal(within, torch.full_like(clean, 102 / 255))


def test_per_image_scales_images():
    assert (torch.ones(2, 3, 4, 4) * per_image(torch.tensor([1.0, 2.0]))).sum((1, 2, 3)).tolist() == [48, 96]


# What is done in closed form, against what a slow search or scipy's linear programming finds.


def some(count: int = 6, pixels: int = 12) -> tuple[Tensor, Tensor]:
    """Images (count, 1, 1, pixels) with entries at the box's edges, and directions with zeros in them."""
    images = (torch.rand(count, 1, 1, pixels, generator=generator()) * 1.4 - 0.2).clamp(0, 1).double()
    directions = torch.randn(count, 1, 1, pixels, generator=generator()).double()
    directions[:, :, :, :2] = 0
    return images, directions


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
def test_the_l1_projection_is_the_nearest_point_of_ball_and_box(epsilon):
    clean, directions = some()
    far = clean + 2 * directions
    found = project(far, clean, ThreatModel("l1", epsilon))
    for start, origin, ours in zip(far.flatten(1), clean.flatten(1), found.flatten(1), strict=True):
        low, high = torch.zeros(()).double(), (start - origin).abs().amax()
        for _ in range(80):  # bisect for the multiplier of the ball's constraint; the box is separable
            middle = (low + high) / 2
            shrunk = (start - origin).sign() * ((start - origin).abs() - middle).clamp(min=0)
            moved = (origin + shrunk).clamp(0, 1)
            low, high = (middle, high) if (moved - origin).abs().sum() > epsilon else (low, middle)
        torch.testing.assert_close(ours, moved, atol=1e-6, rtol=0)


def test_the_l1_ball_is_used_in_full_although_the_box_stops_some():
    clean = torch.tensor([1.0, 0.9, 0.5, 0.5]).reshape(1, 1, 2, 2)
    moved = project(clean + 1, clean, ThreatModel("l1", 0.5)) - clean
    torch.testing.assert_close(moved.flatten(), torch.tensor([0.0, 0.1, 0.2, 0.2]))


@every_norm
def test_a_radius_of_each_image_takes_the_place_of_epsilon(threat):
    clean = torch.full((2, 3, 8, 8), 0.5)
    far = clean + torch.randn(clean.shape, generator=generator())
    radius = torch.tensor([0.03, 0.02])
    found = project(far, clean, threat, radius)
    torch.testing.assert_close(size(found - clean, threat.norm), radius.double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.3), ("l1", 0.2), ("l1", 2.0)])
def test_furthest_is_the_optimum_of_the_linear_program(norm, epsilon):
    clean, directions = some()
    found = furthest(directions, clean, ThreatModel(norm, epsilon))
    for gradient, origin, ours in zip(directions.flatten(1), clean.flatten(1), found.flatten(1), strict=True):
        count = len(gradient)
        if norm == "linf":
            box = torch.stack([(origin - epsilon).clamp(min=0), (origin + epsilon).clamp(max=1)], 1)
            best = linprog(-gradient.numpy(), bounds=box.numpy())
        else:  # the step is the difference of two that are not negative
            bounds = torch.stack([torch.zeros(2 * count), torch.cat([1 - origin, origin])], 1)
            both = torch.cat([-gradient, gradient])
            best = linprog(both.numpy(), A_ub=np.ones((1, 2 * count)), b_ub=[epsilon], bounds=bounds.numpy())
        at_best = -best.fun - (0 if norm == "linf" else -float(gradient @ origin))
        assert float(gradient @ ours) == pytest.approx(at_best, abs=1e-6)


@every_norm
def test_no_point_of_ball_and_box_is_further_than_furthest(threat):
    clean, directions = some(pixels=30)
    threat = ThreatModel(threat.norm, {"linf": 0.3, "l2": 1.0, "l1": 2.0}[threat.norm])
    best = ((furthest(directions, clean, threat) - clean) * directions).sum((1, 2, 3))
    for length in (0.1, 0.3, 1.0, 3.0, 10.0, 100.0):
        for step in (directions, directions.sign(), directions**3):
            other = project(clean + length * step, clean, threat)
            assert (((other - clean) * directions).sum((1, 2, 3)) <= best + 1e-6).all()


@every_norm
@pytest.mark.parametrize("gap", [0.05, -0.05, 0.8])
def test_the_step_onto_the_plane_ends_there_and_is_the_smallest(threat, gap):
    clean, directions = some(pixels=30)
    gaps = torch.full((len(clean),), gap).double()
    step = onto_plane(directions, clean, gaps, threat.norm)
    assert (clean + step).min() >= -1e-9
    assert (clean + step).max() <= 1 + 1e-9
    torch.testing.assert_close((directions * step).sum((1, 2, 3)), gaps)
    for image, way, length in zip(clean.split(1), directions.split(1), size(step, threat.norm).tolist(), strict=True):
        uphill, smaller = way * (1 if gap > 0 else -1), ThreatModel(threat.norm, 0.99 * length)
        most = ((furthest(uphill, image, smaller) - image) * uphill).sum()
        assert most < abs(gap)  # in a ball a little smaller, nothing reaches the plane


def test_a_plane_the_box_keeps_out_of_reach_is_approached():
    clean = torch.full((1, 1, 1, 4), 0.5)
    for norm in ("linf", "l2", "l1"):
        step = onto_plane(torch.ones_like(clean), clean, torch.tensor([100.0]).double(), norm)
        torch.testing.assert_close(step, torch.full_like(clean, 0.5))


def test_outward_keeps_the_direction_and_leaves_the_clean_image():
    clean = torch.full((2, 1, 2, 2), 0.5)
    near = clean.clone()
    near[0, 0, 0] += torch.tensor([0.01, -0.02])
    for threat in (ThreatModel("linf", 0.2), ThreatModel("l2", 0.2 * 1.25**0.5), ThreatModel("l1", 0.3)):
        moved = outward(near, clean, threat) - clean
        torch.testing.assert_close(moved[0].flatten(), torch.tensor([0.1, -0.2, 0.0, 0.0]))
        assert (moved[1] == 0).all()


def test_sparse_steps_move_the_largest_entries_that_the_box_lets_move():
    gradient = torch.tensor([5.0, 4.0, -3.0, 2.0, 1.0]).reshape(1, 1, 1, 5)
    at = torch.tensor([1.0, 0.5, 0.0, 0.5, 0.5]).reshape(1, 1, 1, 5)
    assert steepest(gradient, "l1").flatten().tolist() == [1, 0, 0, 0, 0]
    assert steepest(gradient, "l1", at).flatten().tolist() == [0, 1, 0, 0, 0]
    assert steepest(gradient, "l1", at, 0.4).flatten().tolist() == [0, 0.5, 0, 0.5, 0]
    assert (
        steepest(gradient.repeat(2, 1, 1, 1), "l1", None, torch.tensor([0.2, 0.6])).flatten(1)[1].count_nonzero() == 3
    )


def test_the_sparse_share_falls_to_one_entry_and_stays_there():
    shares = [sparse_share(step / 20, 3000) for step in range(20)]
    assert shares[0] == 0.1
    assert shares == sorted(shares, reverse=True)
    assert shares[16:] == pytest.approx([1 / 3000] * 4)
