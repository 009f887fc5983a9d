"""COBRA: its variants, its score and bank, its guard, and what it does with data and losses that have no answer."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import pytest
import torch
from other_device import other_device
from torch import Tensor, nn
from torch.nn import functional as F

from assay import shelves
from assay.contracts import Images, PseudoAnomalies, TrainingData
from assay.errors import DivergedError, InputError
from trainables import _cobra_steps, _nearest
from trainables._adversary import Adversary
from trainables._cobra_loss import CobraLoss
from trainables._coreset import kept
from trainables._head_and_neighbours import HeadAndNeighbours, ScoreWeights
from trainables._nearest import nearest, nearest_others
from trainables._views import Views
from trainables.backbones import _folded
from trainables.cobra import Cobra

ALL = {"contrastive": 1.0, "opposite": 0.5}


def data(pixels: np.ndarray) -> TrainingData:
    ids = tuple(map(str, range(len(pixels))))
    images = Images(pixels, np.zeros(len(pixels), dtype=np.int64), ids, ("normal",) * len(pixels), ids)
    return TrainingData(images, images, {})


def noise(count: int = 12, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(40, 200, (count, channels, 16, 16)).astype(np.uint8)


def cobra(pixels: np.ndarray | None = None, device: str = "cpu", **parameters: Any) -> Cobra:
    small = {"epochs": 2, "batch_size": 6, "backbone": {"name": "small_resnet", "width": 4}, "warm_up": 0.0}
    arguments = shelves.bind(Cobra, {**small, **parameters})
    return Cobra(data(noise() if pixels is None else pixels), seed=0, device=device, **arguments)


def images(count: int = 5, channels: int = 1) -> Tensor:
    return torch.rand(count, channels, 16, 16, generator=torch.Generator().manual_seed(1))


class TestVariants:
    def blocks(self, monkeypatch, variant: str, **parameters: Any) -> list[tuple[int, dict[str, Any]]]:
        """Views and options of every call of the pair terms in one step; the last one is the training's."""
        run, seen = cobra(variant=variant, loss={**ALL, "pairs": "cobra"}, **parameters), []
        pair_terms = type(run.loss).pair_terms

        def note(loss, rows, views, **options):
            seen.append((views, options))
            return pair_terms(loss, rows, views, **options)

        monkeypatch.setattr(type(run.loss), "pair_terms", note)
        run._train_step(run.normals[:6])
        return seen

    def test_fixed_has_an_attacked_view_and_opposites_in_all(self, monkeypatch):
        assert self.blocks(monkeypatch, "fixed")[-1] == (3, {})

    def test_paper_has_an_attacked_view_without_opposites(self, monkeypatch):
        seen = self.blocks(monkeypatch, "paper")
        assert seen[-1] == (3, {"over_positives": "sum", "opposite_views": 2})
        assert len(seen) == 1 + 3  # and every step of the attack is against the loss itself

    def test_released_has_a_view_drawn_to_the_other_class_and_attacks_nt_xent(self, monkeypatch):
        seen = self.blocks(monkeypatch, "as_released")
        assert seen == [(4, {"over_positives": "sum", "opposite_views": 2})]

    @pytest.mark.parametrize("variant", ["paper", "fixed"])
    def test_negative_views_take_the_place_of_the_attacked_one(self, monkeypatch, variant):
        seen = self.blocks(monkeypatch, variant, adversary={"views": "negative"})
        assert [views for views, _ in seen] == [3]

    @pytest.mark.parametrize(("variant", "expected"), [("fixed", 12), ("paper", 36), ("as_released", 36)])
    def test_what_is_classified(self, monkeypatch, variant, expected):
        run, seen = cobra(variant=variant), []
        classify = type(run.loss).classify

        def note(loss, logits, anomalous):
            seen.append(len(logits))
            return classify(loss, logits, anomalous)

        monkeypatch.setattr(type(run.loss), "classify", note)
        run._train_step(run.normals[:6])
        assert seen == [12, 12, 12, expected]

    @pytest.mark.parametrize("variant", ["paper", "as_released"])
    def test_attacks_of_one_step_are_those_made_one_by_one(self, variant):
        """Batched in one, an attack finds what it would have found alone."""
        run = cobra(variant=variant, loss=ALL, adversary={"start": "zero"})
        seen = []

        def step(views: str, *, together: bool) -> list[Tensor]:
            adversary = run.adversary.model_copy(update={"views": views})
            batch = torch.cat([run.normals[:6], 1 - run.normals[:6]])
            generator = torch.Generator().manual_seed(0)
            network = copy.deepcopy(run.network)  # a step moves its running statistics
            features = network.features
            network.features = lambda x: (seen.append(x.detach()), features(x))[1]
            made = _cobra_steps.Step(network, batch, adversary, run.loss, Views(flips=False), generator, together)
            seen.clear()
            _cobra_steps.terms(made, variant)
            return list(seen[-1].split(12))[2:]

        both = step("both", together=True)
        alone = [*step("contrastive", together=False), *step("classification", together=False)]
        assert len(both) == len(alone)
        for one, other in zip(both, alone, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
        assert not torch.equal(both[0], both[-1])

    def test_a_negative_view_comes_nearer_to_the_other_class_and_a_positive_leaves_its_own(self):
        run = cobra(variant="as_released", loss=ALL, adversary={"epsilon": 0.05, "steps": 5, "start": "zero"})
        batch = torch.cat([run.normals[:6], 1 - run.normals[:6]])
        step = _cobra_steps.Step(
            run.network, batch, run.adversary, run.loss, Views(flips=False), torch.Generator().manual_seed(0)
        )
        fixed = step.encoded(batch)
        for raised in (
            _cobra_steps._towards_others(step, fixed, run.network.embeddings),
            _cobra_steps._against_pairs(step, fixed, 1, run.network.embeddings, plain=True),
        ):
            found = step.worst(raised, batch)
            run.network.eval()
            assert raised(found) > raised(batch)

    @pytest.mark.parametrize("variant", ["fixed", "paper", "as_released"])
    @pytest.mark.parametrize(
        "loss",
        [
            {"pairs": "none", **ALL},
            {"classification": 0.0, **ALL, "pairs": "nt_xent"},
            {**ALL, "pairs": "supcon"},
            {**ALL, "pairs": "opposite"},
            {**ALL, "pairs": "cobra_as_released"},
            {"trades": 2.0},
            {"classification": 0.0, "trades": 2.0, "contrastive": 1.0},
            {"classifier": {"focal": {"gamma": 1.0}}},
            {"classifier": "deviation"},
        ],
        ids=["none", "nt_xent", "supcon", "opposite", "released", "trades", "trades alone", "focal", "deviation"],
    )
    def test_every_loss_trains_in_every_variant(self, variant, loss):
        run = cobra(variant=variant, loss=loss)
        told = run.train_epoch()
        weights = {"classification": 1.0, **loss}
        pairs = {"none": set(), "nt_xent": {"contrastive"}, "supcon": {"contrastive"}, "opposite": {"opposite"}}
        named = {name for name in ("classification", "trades", "contrastive", "opposite") if weights.get(name)}
        wanted = named - {"contrastive", "opposite"} | named & pairs.get(loss.get("pairs"), {"contrastive", "opposite"})
        assert set(told) == wanted
        assert run.detector()(images()).isfinite().all()

    @pytest.mark.parametrize("variant", ["fixed", "paper", "as_released"])
    def test_without_an_adversary_only_clean_views_are_left(self, monkeypatch, variant):
        assert [views for views, _ in self.blocks(monkeypatch, variant, adversary={"epsilon": 0})] == [2]


class TestNoAnswer:
    def test_a_loss_that_is_not_finite_is_said_with_the_step(self):
        run = cobra()
        with torch.no_grad():
            run.network.head.weight.fill_(torch.nan)
        with pytest.raises(DivergedError, match=r"not finite at step 0: \{'classification': nan\}.*learning rate"):
            run.train_epoch()

    def test_nothing_to_train_is_refused(self):
        for loss in ({"classification": 0}, {"classification": 0, **ALL, "pairs": "none"}):
            with pytest.raises(InputError, match="nothing to train"):
                cobra(loss=loss)

    def test_a_guard_without_a_head_is_refused(self):
        with pytest.raises(InputError, match=r"raise loss\.classification"):
            cobra(loss={"classification": 0, **ALL}, adversary={"guard": "watch"})

    @pytest.mark.parametrize("variant", ["fixed", "paper", "as_released"])
    @pytest.mark.parametrize("pixels", [noise(1), np.full((6, 1, 16, 16), 128, np.uint8)], ids=["one", "constant"])
    def test_one_image_or_images_all_alike_train_and_score(self, variant, pixels):
        run = cobra(pixels, variant=variant, loss=ALL, score={"pixels": 1.0, "bank": 0.5})
        assert all(np.isfinite(value) for value in run.train_epoch().values())
        detector = run.detector()
        assert detector(images(1)).isfinite().all()
        flat = torch.full((2, 1, 16, 16), 0.5, requires_grad=True)
        (gradient,) = torch.autograd.grad(detector(flat).sum(), flat)
        assert gradient.isfinite().all()


class TestGuard:
    def test_its_figures_are_logged_and_training_is_not_changed(self):
        one, other = cobra(), cobra(adversary={"guard": "watch"})
        plain, watched = one.train_epoch(), other.train_epoch()
        assert set(watched) - set(plain) == {"fgsm_accuracy", "pgd_accuracy", "overfitted"}
        assert {name: watched[name] for name in plain} == plain

    def test_once_seen_it_stays_marked_and_falls_back_to_pgd_also_when_restored(self, monkeypatch):
        run = cobra(adversary={"guard": "fall_back", "method": "fgsm_rs", "steps": 1})
        seen = iter([1.0, 0.0])
        monkeypatch.setattr(
            run.guard, "look", lambda *_: {"fgsm_accuracy": 1.0, "pgd_accuracy": 0.0, "overfitted": next(seen)}
        )
        assert run.train_epoch()["overfitted"] == 1.0
        assert (run.adversary.method, run.adversary.steps) == ("pgd", 3)
        content = io.BytesIO()
        torch.save(run.state_dict(), content)
        content.seek(0)
        assert run.train_epoch()["overfitted"] == 1.0
        again = cobra(adversary={"guard": "fall_back", "method": "fgsm_rs", "steps": 1})
        again.load_state_dict(torch.load(content, weights_only=True))
        assert again.adversary.method == "pgd"

    def test_watching_alone_changes_no_method(self, monkeypatch):
        run = cobra(adversary={"guard": "watch", "method": "n_fgsm"})
        monkeypatch.setattr(run.guard, "look", lambda *_: {"overfitted": 1.0})
        assert run.train_epoch()["overfitted"] == 1.0
        assert run.adversary.method == "n_fgsm"


class TestScore:
    def detector(self, **weights: Any) -> HeadAndNeighbours:
        with torch.random.fork_rng():
            torch.default_generator.manual_seed(0)
            item = shelves.Item("backbones", "small_resnet", {"width": 4})
            detector = HeadAndNeighbours(item, 3, ScoreWeights(**weights), Views(jitter=0.3, crop=0.6))
        detector.eval().fit(images(20, 3))
        return detector.requires_grad_(False)

    @pytest.mark.parametrize("form", ["standardised", "as_released"])
    def test_head_and_neighbours_add_up(self, form):
        head, near, both = (
            self.detector(form=form, head=h, neighbours=n)(images(4, 3)) for h, n in ((1, 0), (0, 1), (1, 1))
        )
        torch.testing.assert_close(head + near, both)
        assert head.std() > 0
        assert near.std() > 0

    def test_views_are_the_same_every_time_and_for_every_image(self):
        detector = self.detector(views=4)
        state = torch.random.get_rng_state()
        scores = detector(images(4, 3))
        assert torch.equal(scores, detector(images(4, 3)))
        assert torch.equal(torch.random.get_rng_state(), state)
        torch.testing.assert_close(detector(images(4, 3)[2:3]), scores[2:3], atol=1e-4, rtol=1e-4)
        assert not torch.allclose(scores, self.detector(views=1)(images(4, 3)))

    def test_it_is_differentiable_through_all_views(self):
        pixels = images(2, 3).requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.detector(views=3, form="as_released")(pixels).sum(), pixels)
        assert gradient.isfinite().all()
        assert (gradient != 0).float().mean() > 0.5

    def test_the_released_score_is_the_sum_of_product_and_logit_each_over_its_mean(self):
        detector = self.detector(form="as_released", k=1)
        with torch.no_grad():
            rows, normals = (detector.projection(detector.features(x)) for x in (images(4, 3), images(20, 3)))
            similarity = (rows @ F.normalize(normals, dim=1).T).max(1).values / normals.norm(dim=1).mean()
            logits, known = detector.logits(images(4, 3)), detector.logits(images(20, 3))
            expected = logits / known.mean().abs() - similarity
        torch.testing.assert_close(detector(images(4, 3)), expected, atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize(("bank", "rows"), [(1.0, 20), (0.25, 5), (7, 7), (500, 20), (0.001, 1)])
    def test_the_bank_is_a_share_or_a_number(self, bank, rows):
        detector = self.detector(bank=bank, pixels=1.0)
        assert len(detector.bank) == len(detector.pixel_bank) == rows
        assert detector(images(4, 3)).isfinite().all()


class TestBank:
    def rows(self, count: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return F.normalize(torch.randn(count, 6, generator=generator, dtype=torch.float64), dim=1)

    def test_the_kept_rows_are_the_furthest_from_each_other(self):
        angles = torch.tensor([0.0, 0.01, 0.02, 2.0, 2.01, 4.0])
        rows = torch.stack([angles.cos(), angles.sin()], dim=1)
        for seed in range(4):
            assert sorted(int(angle) for angle in angles[kept(rows, 3, seed)]) == [0, 2, 4]
        assert torch.equal(kept(rows, 3), kept(rows, 3))

    def test_rows_that_are_alike_are_each_kept_once(self):
        assert kept(torch.ones(5, 2), 3).unique().numel() == 3

    @pytest.mark.parametrize("k", [1, 3, 40])
    def test_blocks_find_what_a_whole_search_finds_and_its_gradient(self, monkeypatch, k):
        rows, bank = self.rows(5), self.rows(23, seed=1)
        expected = (1 - rows @ bank.T).topk(min(k, 23), largest=False).values.mean(1)
        monkeypatch.setattr(_nearest, "BLOCK", 4)
        asked = rows.clone().requires_grad_(True)
        found = nearest(asked, bank, k)
        torch.testing.assert_close(found.detach(), expected)
        (gradient,) = torch.autograd.grad(found.sum(), asked)
        chosen = (rows @ bank.T).topk(min(k, 23)).indices
        torch.testing.assert_close(gradient, -bank[chosen].mean(1))

    @pytest.mark.parametrize("block", [4, 8192])
    def test_no_row_is_its_own_neighbour(self, monkeypatch, block):
        monkeypatch.setattr(_nearest, "BLOCK", block)
        monkeypatch.setattr(_nearest, "QUERIES", 5)
        rows, chosen = self.rows(13), torch.tensor([1, 4, 5, 9, 12])
        distances = 1 - rows @ rows[chosen].T
        for place, row in enumerate(chosen):
            distances[row, place] = torch.inf
        expected = distances.topk(2, largest=False).values.mean(1)
        torch.testing.assert_close(nearest_others(rows, chosen, 2), expected)

    def test_a_bank_of_one_row_is_its_own_neighbour(self):
        rows = self.rows(3)
        found = nearest_others(rows, torch.tensor([1]), 3)
        torch.testing.assert_close(found, 1 - rows @ rows[1])


@pytest.mark.parametrize("option", [{"precision": "bfloat16"}, {"channels_last": False}])
def test_how_the_backbone_computes_changes_losses_by_rounding_alone(option):
    plain, other = (cobra(variant="paper", loss=ALL, **chosen) for chosen in ({}, option))
    one, two = plain.train_epoch(), other.train_epoch()
    assert one == pytest.approx(two, rel=0.1)
    scores = other.detector()(images())
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()


def test_views_of_colour_crop_and_grey_stay_in_range_and_are_drawn_one_by_one():
    clean = images(1, 3).expand(40, -1, -1, -1)
    random = torch.Generator().manual_seed(0)
    for options in ({"colour": 0.4}, {"crop": 0.5}, {"grey": 0.5}, {"jitter": 0.4, "chance": 0.5}):
        found = Views(flips=False, **options).draw(clean, random)
        assert found.min() >= 0
        assert found.max() <= 1
        kinds = found.flatten(1).unique(dim=0)
        assert 10 < len(kinds) <= 40 or options == {"grey": 0.5}
        shared = Views(flips=False, **options).draw(clean, random, shared=True)
        assert torch.allclose(shared, shared[:1].expand_as(shared), atol=1e-6)
    grey = Views(flips=False, grey=1.0).draw(clean, random)
    torch.testing.assert_close(grey[:, 0], grey[:, 2])
    mono = Views(flips=False, colour=0.4, grey=1.0)
    assert torch.equal(mono.draw(images(), random), images())


def test_a_pseudo_anomaly_of_ones_own_is_used(monkeypatch):
    """The item is asked once a step, for the normals of the batch."""
    run, asked = cobra(), []

    def flat(normals: Tensor, generator: torch.Generator) -> PseudoAnomalies:
        asked.append(len(normals))
        return PseudoAnomalies(torch.zeros_like(normals), torch.ones_like(normals[:, :1], dtype=torch.bool))

    monkeypatch.setattr(run, "make_anomalous", flat)
    run.train_epoch()
    assert asked == [6, 6]


@pytest.mark.parametrize("variant", ["fixed", "paper", "as_released"])
def test_on_a_gpu_a_step_waits_a_few_times_and_folds_each_layer_once(variant, monkeypatch):
    folds, fuse, waits = [], _folded.fuse_conv_bn_eval, []
    monkeypatch.setattr(_folded, "fuse_conv_bn_eval", lambda *pair: folds.append(pair) or fuse(*pair))
    for steps in (1, 4):
        adversary = {"steps": steps, "budget": "fixed"}
        with other_device() as seen:
            run = cobra(device="cuda", variant=variant, loss=ALL, adversary=adversary)
            run._train_step(run.normals[:4])  # whereupon the places of the pairs are known
            seen.waits.clear()
            folds.clear()
            run._train_step(run.normals[:4])
            waits.append({where: n for where, n in seen.waits.items() if "pseudo_anomalies" not in where})
    assert waits[0] == waits[1]
    assert sum(waits[0].values()) <= 2, waits[0]
    layers = sum(isinstance(one, nn.BatchNorm2d) for one in run.network.backbone.modules())
    times = 2 if variant == "fixed" else 1  # there the head's pass has moved the statistics when pairs are attacked
    assert len(folds) == times * layers


@pytest.mark.parametrize(("device", "side", "at_once"), [("cpu", 64, True), ("cpu", 96, False), ("cuda", 96, True)])
def test_attacks_run_as_one_batch_where_one_alone_does_not_fill_the_device(device, side, at_once):
    with other_device():
        batch = torch.zeros(16, 1, side, side, device=device)
        step = _cobra_steps.Step(None, batch, Adversary(), CobraLoss(), Views(), torch.Generator(device))
        assert step.at_once == at_once
        large = torch.zeros(1, 1, 1, 1, device=device).expand(96, 1, 224, 224)  # three at once: 20 GB of a ResNet-18
        assert not _cobra_steps.Step(None, large, Adversary(), CobraLoss(), Views(), torch.Generator(device)).at_once
