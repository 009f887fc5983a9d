"""The training losses against plain loops over pairs, and which rows the pairs are."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from assay import shelves
from trainables.losses._pairs import log_probabilities, opposite_pairs, positive_pairs
from trainables.losses.classification import classification
from trainables.losses.contrastive import contrastive
from trainables.losses.opposite import opposite

# Two views of two normals a, b and their pseudo-anomalies A, B, in the order of the rows.
ROWS = ["a1", "b1", "A1", "B1", "a2", "b2", "A2", "B2"]
SEEDS = st.integers(0, 1000)


def pairs(mask: Tensor) -> set[str]:
    return {f"{ROWS[i]}-{ROWS[j]}" for i, j in mask.nonzero().tolist()}


def both_ways(*names: str) -> set[str]:
    return {*names, *("-".join(reversed(name.split("-"))) for name in names)}


def embeddings(views: int, normals: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(views * 2 * normals, 5, generator=generator, dtype=torch.float64), dim=1)


def log_p(rows: Tensor, i: int, j: int, temperature: float) -> float:
    total = sum(math.exp(float(rows[i] @ rows[k]) / temperature) for k in range(len(rows)) if k != i)
    return float(rows[i] @ rows[j]) / temperature - math.log(total)


def test_positive_is_the_same_image_in_another_view():
    assert pairs(positive_pairs(2, 2)) == both_ways("a1-a2", "b1-b2", "A1-A2", "B1-B2")


def test_opposite_is_a_normal_and_its_own_pseudo_anomaly_in_the_same_view():
    assert pairs(opposite_pairs(2, 2)) == both_ways("a1-A1", "b1-B1", "a2-A2", "b2-B2")


@given(st.integers(2, 4), st.integers(1, 5))
def test_every_row_has_a_positive_in_each_other_view_and_one_opposite(views, normals):
    positive, opposites = positive_pairs(views, normals), opposite_pairs(views, normals)
    assert (positive.sum(1) == views - 1).all()
    assert (opposites.sum(1) == 1).all()
    assert not (positive & opposites).any()
    assert not (positive | opposites).diagonal().any()
    assert torch.equal(positive, positive.T)
    assert torch.equal(opposites, opposites.T)


def test_a_row_chooses_among_all_others_but_not_itself():
    probabilities = log_probabilities(embeddings(2, 2), 0.5).exp()
    assert torch.allclose(probabilities.sum(1), torch.ones(8, dtype=torch.float64))
    assert (probabilities.diagonal() == 0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 3), st.integers(1, 3), st.sampled_from([0.1, 0.5, 2.0]), SEEDS)
def test_contrastive_is_the_mean_over_rows_of_the_mean_over_positives(views, normals, temperature, seed):
    rows = embeddings(views, normals, seed)
    total = 0.0
    for i in range(len(rows)):
        mine = [j for j in range(len(rows)) if j != i and (j - i) % (2 * normals) == 0]
        total += sum(-log_p(rows, i, j, temperature) for j in mine) / len(mine) / len(rows)
    assert float(contrastive(rows, views=views, temperature=temperature)) == pytest.approx(total)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 3), st.sampled_from([0.1, 0.5]), st.sampled_from([0.5, 8.0]), st.integers(0, 99)
)
def test_opposite_is_the_mean_over_pairs_of_what_is_left_of_the_margin(views, normals, temperature, margin, seed):
    rows = embeddings(views, normals, seed)
    left = []
    for i in range(len(rows)):
        place = i % (2 * normals)
        j = i + normals if place < normals else i - normals
        left.append(max(0.0, log_p(rows, i, j, temperature) + margin))
    found = float(opposite(rows, views=views, temperature=temperature, margin=margin))
    assert found == pytest.approx(sum(left) / len(left))
    assert 0 <= found <= margin


def test_a_pair_beyond_the_margin_pulls_no_more():
    rows = embeddings(2, 2).requires_grad_(True)
    loss = opposite(rows, views=2, temperature=0.5, margin=0.01)
    assert loss == 0
    assert torch.autograd.grad(loss, rows)[0].abs().max() == 0


def test_contrastive_falls_as_views_come_together_and_opposite_as_pairs_part():
    images = F.normalize(torch.eye(4, 5, dtype=torch.float64), dim=1)
    assert contrastive(torch.cat([images, images]), views=2) < contrastive(embeddings(2, 2), views=2)
    together = torch.cat([images[:2], images[:2]])
    assert opposite(together, views=1) > opposite(images, views=1)


def test_classification_is_binary_cross_entropy_on_the_logit():
    logits, labels = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1, 0, 0])
    chance = [1 / (1 + math.exp(-value)) for value in logits.tolist()]
    expected = -(math.log(chance[0]) + math.log(1 - chance[1]) + math.log(1 - chance[2])) / 3
    assert float(classification(logits, labels)) == pytest.approx(expected)
    assert float(classification(logits, labels.bool())) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["contrastive", "opposite"])
def test_pair_losses_have_finite_gradients(name):
    rows = embeddings(3, 4).requires_grad_(True)
    (gradient,) = torch.autograd.grad(shelves.load("losses", name)(rows, views=3), rows)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
