"""The geometry shared by the attacks: projection, steps, random points, rounding to 8 bits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from assay.attacks._ball import per_image, project, random_point, size, steepest, streams, to_8_bit
from assay.contracts import ThreatModel

LINF, L2 = ThreatModel("linf", 8 / 255), ThreatModel("l2", 0.5)
both_norms = pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def on_grid(images: Tensor) -> bool:
    return bool(((images * 255).round() / 255 == images).all())


@both_norms
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


@both_norms
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_steepest_is_a_unit_step_at_every_scale(threat, scale):
    gradient = torch.randn(3, 3, 4, 4, generator=generator())
    gradient[1] = 0
    step = steepest(gradient * scale, threat.norm)
    torch.testing.assert_close(size(step, threat.norm), torch.tensor([1.0, 0.0, 1.0]), check_dtype=False)
    torch.testing.assert_close(step, steepest(gradient, threat.norm))


@both_norms
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


@both_norms
@pytest.mark.parametrize("levels", [0.3, 1.0, 2.5, 20.0])
def test_8_bit_images_are_on_the_grid_in_the_ball_and_in_the_box(threat, levels):
    clean = torch.randint(256, (8, 3, 16, 16), generator=generator()) / 255
    threat = ThreatModel(threat.norm, levels / 255 * (1 if threat.norm == "linf" else 28))
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


def test_8_bit_of_a_clean_image_off_the_grid_is_on_it():
    clean = torch.full((1, 1, 2, 2), 100.5 / 255)
    for threat in (ThreatModel("linf", 0.2 / 255), ThreatModel("l2", 0.1 / 255)):
        assert on_grid(to_8_bit(clean, clean, threat))
    within = to_8_bit(clean + 2 / 255, clean, ThreatModel("linf", 2 / 255))
    assert torch.equal(within, torch.full_like(clean, 102 / 255))


def test_per_image_scales_images():
    assert (torch.ones(2, 3, 4, 4) * per_image(torch.tensor([1.0, 2.0]))).sum((1, 2, 3)).tolist() == [48, 96]
