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
from trainables.losses._pairs import Pair, log_probabilities, pair_matrix
from trainables.losses.classification import classification
from trainables.losses.cobra import cobra
from trainables.losses.deviation import deviation
from trainables.losses.focal import focal
from trainables.losses.nt_xent import nt_xent
from trainables.losses.opposite import opposite
from trainables.losses.supcon import supcon
from trainables.losses.trades import divergence, trades

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
    assert pairs(pair_matrix(2, 2) == Pair.POSITIVE) == both_ways("a1-a2", "b1-b2", "A1-A2", "B1-B2")


def test_opposite_is_a_normal_and_its_own_pseudo_anomaly_in_the_same_view():
    assert pairs(pair_matrix(2, 2) == Pair.OPPOSITE) == both_ways("a1-A1", "b1-B1", "a2-A2", "b2-B2")


def test_later_views_may_have_no_opposites():
    assert pairs(pair_matrix(2, 2, opposite_views=1) == Pair.OPPOSITE) == both_ways("a1-A1", "b1-B1")


def test_positive_may_be_the_same_class():
    normals, anomalies = ("a1", "b1", "a2", "b2"), ("A1", "B1", "A2", "B2")
    same = {f"{one}-{other}" for rows in (normals, anomalies) for one in rows for other in rows if one != other}
    assert pairs(pair_matrix(2, 2, same="class") == Pair.POSITIVE) == same


def test_the_whole_matrix_of_two_views_of_one_normal():
    # a1 A1 a2 A2
    expected = [[0, 3, 2, 1], [3, 0, 1, 2], [2, 1, 0, 3], [1, 2, 3, 0]]
    assert pair_matrix(2, 1).tolist() == expected


@given(st.integers(2, 4), st.integers(1, 5), st.sampled_from(["image", "class"]))
def test_every_row_has_its_positives_one_opposite_and_else_negatives(views, normals, same):
    matrix = pair_matrix(views, normals, same=same)
    assert torch.equal(matrix, matrix.T)
    assert ((matrix == Pair.ITSELF) == torch.eye(len(matrix), dtype=torch.bool)).all()
    assert ((matrix == Pair.POSITIVE).sum(1) == (views - 1 if same == "image" else views * normals - 1)).all()
    assert ((matrix == Pair.OPPOSITE).sum(1) == 1).all()


def test_a_row_chooses_among_all_others_but_not_itself():
    probabilities = log_probabilities(embeddings(2, 2), 0.5).exp()
    assert torch.allclose(probabilities.sum(1), torch.ones(8, dtype=torch.float64))
    assert (probabilities.diagonal() == 0).all()


@settings(max_examples=25)
@given(st.integers(2, 3), st.integers(1, 3), st.sampled_from([0.1, 0.5, 2.0]), SEEDS)
def test_nt_xent_is_the_mean_over_rows_of_the_mean_over_positives(views, normals, temperature, seed):
    rows = embeddings(views, normals, seed)
    total = 0.0
    for i in range(len(rows)):
        mine = [j for j in range(len(rows)) if j != i and (j - i) % (2 * normals) == 0]
        total += sum(-log_p(rows, i, j, temperature) for j in mine) / len(mine) / len(rows)
    assert float(nt_xent(rows, views=views, temperature=temperature)) == pytest.approx(total)
    summed = nt_xent(rows, views=views, temperature=temperature, over_positives="sum")
    assert float(summed) == pytest.approx(total * (views - 1))


def test_supcon_is_the_mean_over_rows_of_the_mean_over_its_class():
    rows, total = embeddings(2, 3), 0.0
    for i in range(12):
        mine = [j for j in range(12) if j != i and (i % 6 < 3) == (j % 6 < 3)]
        total += sum(-log_p(rows, i, j, 0.5) for j in mine) / len(mine) / 12
    assert float(supcon(rows, views=2)) == pytest.approx(total)


def test_one_view_of_one_normal_has_nothing_to_draw_together():
    rows = embeddings(1, 1).requires_grad_(True)
    for loss in (nt_xent, supcon):
        assert loss(rows, views=1) == 0
        assert torch.autograd.grad(loss(rows, views=1), rows)[0].abs().max() == 0


@settings(max_examples=25)
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


def test_opposite_as_released_has_no_margin_and_is_held_by_its_floor():
    rows = embeddings(2, 2)
    logs = [math.log(math.exp(log_p(rows, i, i ^ 2, 0.5)) + 1e-8) for i in range(8)]
    assert float(opposite(rows, views=2, as_released=True)) == pytest.approx(sum(logs) / 8)
    apart = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64).repeat(2, 1)
    assert float(opposite(apart, views=2, temperature=0.01, as_released=True)) == pytest.approx(math.log(1e-8))


def test_rows_of_views_without_opposites_count_nothing():
    rows = embeddings(3, 2)
    every = [max(0.0, log_p(rows, i, i + 2 if i % 4 < 2 else i - 2, 0.5) + 8) for i in range(8)]
    assert float(opposite(rows, views=3, opposite_views=2)) == pytest.approx(sum(every) / 12)


@pytest.mark.parametrize("attraction", ["nt_xent", "supcon"])
def test_cobra_is_the_weighted_sum_of_its_terms(attraction):
    rows = embeddings(3, 2)
    drawn = {"nt_xent": nt_xent, "supcon": supcon}[attraction](rows, views=3, temperature=0.2)
    pushed = opposite(rows, views=3, temperature=0.2, margin=3.0)
    found = cobra(
        rows, views=3, attraction=attraction, contrastive_weight=2.0, opposite_weight=0.5, temperature=0.2, margin=3.0
    )
    assert float(found) == pytest.approx(float(2 * drawn + 0.5 * pushed))


def test_nt_xent_falls_as_views_come_together_and_opposite_as_pairs_part():
    images = F.normalize(torch.eye(4, 5, dtype=torch.float64), dim=1)
    assert nt_xent(torch.cat([images, images]), views=2) < nt_xent(embeddings(2, 2), views=2)
    together = torch.cat([images[:2], images[:2]])
    assert opposite(together, views=1) > opposite(images, views=1)


def test_classification_is_binary_cross_entropy_on_the_logit():
    logits, labels = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1, 0, 0])
    chance = [1 / (1 + math.exp(-value)) for value in logits.tolist()]
    expected = -(math.log(chance[0]) + math.log(1 - chance[1]) + math.log(1 - chance[2])) / 3
    assert float(classification(logits, labels)) == pytest.approx(expected)
    assert float(classification(logits, labels.bool())) == pytest.approx(expected)


def test_classification_of_two_logits_is_that_of_their_difference():
    logits, labels = torch.tensor([[0.5, 2.0], [1.0, -1.0], [0.0, 0.3]]), torch.tensor([1, 0, 0])
    expected = classification(logits[:, 1] - logits[:, 0], labels)
    assert float(classification(logits, labels)) == pytest.approx(float(expected))


@pytest.mark.parametrize("logits", [torch.tensor([2.0, -1.0]), torch.tensor([[0.0, 2.0], [0.0, -1.0]])])
def test_classification_weighs_anomalies(logits):
    labels = torch.tensor([1, 0])
    one, other = (math.log(1 + math.exp(-z)) for z in (2.0, 1.0))
    assert float(classification(logits, labels, anomaly_weight=3.0)) == pytest.approx((3 * one + other) / 2)


def test_focal_counts_what_is_right_less():
    logits, labels = torch.tensor([2.0, -1.0]), torch.tensor([1, 0])
    p = [1 / (1 + math.exp(-2.0)), 1 / (1 + math.exp(-1.0))]
    expected = sum(0.25 * (1 - q) ** 2 * -math.log(q) for q in p) / 2
    assert float(focal(logits, labels, gamma=2.0, alpha=0.25)) == pytest.approx(expected, rel=1e-5)
    assert float(focal(logits, labels, gamma=0.0)) == pytest.approx(float(classification(logits, labels)))


def test_focal_has_a_gradient_at_certainty():
    logits = torch.tensor([200.0, -200.0], requires_grad=True)
    for labels in (torch.tensor([1, 0]), torch.tensor([0, 1])):
        (gradient,) = torch.autograd.grad(focal(logits, labels, gamma=0.5), logits)
        assert gradient.isfinite().all()


def test_deviation_is_absolute_for_normals_and_a_hinge_for_anomalies():
    scores, labels = torch.tensor([-1.5, 2.0, 1.0, 9.0]), torch.tensor([0, 0, 1, 1])
    assert float(deviation(scores, labels)) == pytest.approx((1.5 + 2 + 4 + 0) / 4)
    assert float(deviation(scores, labels, margin=10.0, prior_mean=1.0, prior_deviation=2.0)) == pytest.approx(
        (1.25 + 0.5 + 10 + 6) / 4
    )


def test_trades_is_the_clean_loss_and_the_divergence_of_the_attacked_answer():
    clean, moved, labels = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 1.0]), torch.tensor([1, 0])
    kl = 0.0
    for a, b in zip(clean.tolist(), moved.tolist(), strict=True):
        p, q = 1 / (1 + math.exp(-a)), 1 / (1 + math.exp(-b))
        kl += (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))) / 2
    assert float(divergence(clean, moved)) == pytest.approx(kl, rel=1e-5)
    expected = float(classification(clean, labels)) + 3 * kl
    assert float(trades(clean, moved, labels, robust_weight=3.0)) == pytest.approx(expected, rel=1e-5)
    assert float(divergence(clean, clean)) == 0
    assert float(divergence(torch.tensor([90.0]), torch.tensor([-90.0]))) == pytest.approx(90.0)


@pytest.mark.parametrize("name", ["nt_xent", "supcon", "opposite", "cobra"])
def test_pair_losses_have_finite_gradients(name):
    rows = embeddings(3, 4).requires_grad_(True)
    (gradient,) = torch.autograd.grad(shelves.load("losses", name)(rows, views=3), rows)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("name", ["nt_xent", "supcon", "opposite", "cobra"])
def test_rows_that_are_all_alike_give_a_finite_loss_and_gradient(name):
    rows = F.normalize(torch.ones(12, 5, dtype=torch.float64), dim=1).requires_grad_(True)
    loss = shelves.load("losses", name)(rows, views=2)
    assert loss.isfinite()
    assert torch.autograd.grad(loss, rows)[0].isfinite().all()
