"""One shard of an audit: its rows, its pictures, and when it is not computed again."""

from __future__ import annotations

import dataclasses
import io
import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
import torch
import toy_audit
from PIL import Image

from assay import shelves
from assay.audits import attack_job, audit, suite
from assay.data import splits
from assay.data.reduced import take
from assay.errors import DataError
from assay.metrics.worst_case import worst_first
from assay.models import model_folder
from assay.models.scoring import pixels
from assay.norm_balls import TOLERANCE
from assay.runtime.threads import one_thread
from assay.store import parquet, schemas


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread():
        yield


@pytest.fixture
def loaded(store):
    return model_folder.load(store, store.names("models")[0])


@pytest.fixture
def images(loaded, own_cache):
    found, _ = audit.test_split(loaded)
    return found


@pytest.fixture
def make(images, loaded, tmp_path):
    """A function: (attack, more of the entry) -> a shard of all test images."""

    def make(attack="pgd", norm="linf", epsilons=("1/255", "2/255", "4/255"), of=images, **more):
        threats = {"it": {"norm": norm, "epsilons": list(epsilons), "why": "to see"}}
        entries = [{"name": name, "attack": it, "threat": "it"} for name, it in (("it", attack), ("other", "pgd"))]
        values = {"headline": {"norm": norm, "epsilon": epsilons[-1]}, "threats": threats, "attacks": entries}
        found, _ = suite.read(toy_audit.write_suite(tmp_path / "one.yaml", **values)).attacks
        settings = {"audit": "a", "model": loaded.hash, "dataset": "d", "seed": 0, "threshold": 0.3} | more
        headline = (norm, found.epsilons[-1])
        return attack_job.AttackJob(
            entry=found.plain(), parameters=found.hash, headline=headline, images=of, **settings
        )

    return make


def rows_of(found: attack_job.AttackJob, detector):
    scores, worst = found.compute(found.images, detector)
    return scores.to_pylist(), worst.to_pylist()


def test_a_row_for_every_sample_and_epsilon_with_all_columns(make, loaded, images):
    table, _ = make().compute(images, loaded.detector)
    assert table.schema == schemas.SCORES
    scores = table.to_pylist()
    empty = {name for name in table.column_names if table[name].null_count}
    assert empty == {schemas.CATEGORY}, "the dataset has no categories; all else is known"
    assert len(scores) == 3 * len(images)
    assert {row["sample"] for row in scores} == set(images.ids)
    assert {row["parameters"] for row in scores} == {make().parameters}


def test_normals_are_raised_and_anomalies_lowered(make, loaded):
    rows, _ = rows_of(make(), loaded.detector)
    assert {(row["label"], row["direction"], row["regime"]) for row in rows} == {
        (0, 1, "false_alarm"),
        (1, -1, "evasion"),
    }
    assert all(row["direction"] * (row["adversarial_score"] - row["clean_score"]) > 0 for row in rows)


@pytest.mark.parametrize("attack", ["noise", "fgsm", "pgd", "apgd"])
@pytest.mark.parametrize(("norm", "epsilons"), [("linf", ["1/255", "2/255", "4/255"]), ("l2", [0.1, 0.2, 0.4])])
def test_a_larger_epsilon_never_does_less(make, loaded, attack, norm, epsilons):
    rows, _ = rows_of(make(attack, norm, epsilons), loaded.detector)
    shifts = {}
    for row in rows:
        shifts.setdefault(row["sample"], []).append(row["direction"] * (row["adversarial_score"] - row["clean_score"]))
    assert all(later >= earlier >= 0 for of in shifts.values() for earlier, later in itertools.pairwise(of))


def test_each_epsilon_begins_where_the_last_one_ended(make, loaded):
    rows, _ = rows_of(make("toy_audit:tired"), loaded.detector)
    first = {row["sample"]: row["adversarial_score"] for row in rows if row["epsilon"] == pytest.approx(1 / 255)}
    assert all(row["adversarial_score"] == first[row["sample"]] != row["clean_score"] for row in rows)


def test_clean_scores_are_those_of_a_plain_forward(make, loaded, images):
    rows, _ = rows_of(make(), loaded.detector)
    with torch.no_grad():
        plain = loaded.detector(pixels(images, 0, len(images))).tolist()
    by_id = dict(zip(images.ids, plain, strict=True))
    assert all(row["clean_score"] == by_id[row["sample"]] for row in rows)


@pytest.mark.parametrize(("norm", "epsilons"), [("linf", ["1/255", "8/255"]), ("l2", [0.1, 0.5])])
def test_distances_are_within_epsilon(make, loaded, norm, epsilons):
    rows, _ = rows_of(make("apgd", norm, epsilons), loaded.detector)
    assert all(0 < row[norm] <= row["epsilon"] + TOLERANCE for row in rows)
    assert max(row[norm] / row["epsilon"] for row in rows) > 0.999, "the budget is used"


def test_an_image_outside_the_box_is_infinitely_far(make, loaded):
    rows, _ = rows_of(make("toy_audit:cheat"), loaded.detector)
    assert {row["linf"] for row in rows} | {row["l2"] for row in rows} == {math.inf}


def test_an_attack_is_not_believed_but_scored(make, loaded):
    rows, _ = rows_of(make("toy_audit:boast"), loaded.detector)
    assert all(row["adversarial_score"] == row["clean_score"] for row in rows)


def test_the_rounded_score_is_of_an_8_bit_image_in_the_ball(make, loaded, images):
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, batch):
            seen.append(batch.detach().clone())
            return loaded.detector(batch)

    rows, _ = rows_of(make(epsilons=["1.6/255"]), Spy())
    rounded = seen[-1]  # the last thing scored of an epsilon
    assert torch.equal((rounded * 255).round() / 255, rounded)
    distance = (rounded - pixels(images, 0, len(images))).abs().flatten(1).amax(1)
    assert float(distance.max()) == pytest.approx(1 / 255, abs=1e-6), "the nearest level inside 1.6/255"
    assert [row["rounded_score"] for row in rows] == loaded.detector(rounded).tolist()


def test_a_score_that_is_no_number_is_an_error_and_not_a_row(make, loaded, images):
    class Broken(torch.nn.Module):
        def forward(self, batch):
            return loaded.detector(batch) / (batch.flatten(1).amax(1) * 0)

    with pytest.raises(DataError, match="not finite"):
        make("toy_audit:idle").compute(images, Broken())


def run(found: attack_job.AttackJob, store) -> tuple[dict, pa.Table]:
    seconds = found.run(str(store.root))
    scores = parquet.load(store, found.key, schemas.SCORES)
    return {"seconds": seconds, "scores": scores.drop(["seconds"])}, parquet.load(store, found.keys[1], schemas.WORST)


def test_the_same_shard_twice_has_the_same_scores_bit_for_bit(make, store):
    first, worst = run(make("apgd"), store)
    for key in (make("apgd").key, make("apgd").keys[1]):
        store.path(key).unlink()
    torch.rand(3)  # the global generator is nobody's business
    again, worst_again = run(make("apgd"), store)
    assert again["scores"].equals(first["scores"])
    assert worst_again.equals(worst)


def test_a_part_that_is_there_is_not_computed_again(make, store):
    assert run(make(), store)[0]["seconds"] > 0
    before = store.path(make().key).stat().st_mtime_ns
    assert make().run(str(store.root)) == 0
    assert store.path(make().key).stat().st_mtime_ns == before


def test_a_part_without_its_pictures_is_computed_again(make, store):
    run(make(), store)
    store.path(make().keys[1]).unlink()
    assert not make().done(store)
    assert make().run(str(store.root)) > 0
    assert make().done(store)


def test_whatever_changes_the_scores_changes_the_key(make, images):
    key = make().key
    assert make().key == key
    renamed = dataclasses.replace(images, ids=tuple(f"x{id_}" for id_ in images.ids))
    relabelled = dataclasses.replace(images, labels=1 - images.labels)
    others = [
        make(seed=1),
        make(model="other"),
        make(dataset="other"),
        make({"pgd": {"steps": 7}}),
        make(epsilons=["1/255"]),
        make("pgd", "l2", [0.1]),
        make(of=take(images, range(5))),
        make(of=renamed),
        make(of=relabelled),
    ]
    assert len({key, *(other.key for other in others)}) == 1 + len(others)


def test_another_seed_starts_elsewhere(make, loaded):
    first, second = (rows_of(make("noise", seed=seed), loaded.detector)[0] for seed in (0, 1))
    assert [row["adversarial_score"] for row in first] != [row["adversarial_score"] for row in second]


def test_pictures_are_of_the_headline_and_of_the_samples_the_attacker_gained_most_on(make, loaded, images):
    found = make(epsilons=["1/255", "4/255"])
    rows, worst = rows_of(found, loaded.detector)
    assert len(worst) == attack_job.SHOWN_PER_JOB
    last = [row for row in rows if row["epsilon"] > 3 / 255]
    order = worst_first(*([row[key] for row in last] for key in ("label", "clean_score", "adversarial_score")), 0.3)
    assert [row["sample"] for row in worst] == [last[i]["sample"] for i in order[: attack_job.SHOWN_PER_JOB]]
    for row in worst:
        assert row["epsilon"] == pytest.approx(4 / 255)
        clean, adversarial = (
            np.asarray(Image.open(io.BytesIO(row[f"{kind}_png"]))) for kind in ("clean", "adversarial")
        )
        assert clean.shape == adversarial.shape == (toy_audit.SIZE, toy_audit.SIZE)
        assert np.array_equal(clean, images.pixels[images.ids.index(row["sample"])][0])
        assert 0 < np.abs(clean.astype(int) - adversarial).max() <= 4


def test_no_pictures_of_noise(make, loaded):
    entry = make("noise")
    assert entry.entry["knowledge"] == "none"
    assert entry.compute(entry.images, loaded.detector)[1].num_rows == 0


def test_the_model_is_left_as_it_was(make, loaded, images):
    before = {name: value.clone() for name, value in loaded.detector.state_dict().items()}
    make("apgd").compute(images, loaded.detector)
    assert all(parameter.grad is None for parameter in loaded.detector.parameters())
    assert all(torch.equal(value, before[name]) for name, value in loaded.detector.state_dict().items())
    assert not loaded.detector.training


def test_threads_and_the_global_generator_are_left_as_they_were(make, store):
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    make().run(str(store.root))
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), state)


def test_the_test_split_is_no_part_of_what_a_trial_sees(loaded, images):
    name, arguments = shelves.normal_form(loaded.manifest["dataset"]["item"])
    training = splits.training_data(shelves.load("datasets", name)(**arguments))
    seen = training.train.ids + training.validation.ids
    assert not set(seen) & set(images.ids)
    assert not set(training.train.hashes + training.validation.hashes) & set(images.hashes)


@pytest.mark.parametrize("attack", ["noise", "pgd", "apgd", {"square": {"queries": 40}}, {"nes": {"steps": 4}}])
def test_no_score_depends_on_the_slice_or_its_order(make, loaded, images, attack):
    found = make(attack)
    whole = {(row["sample"], row["epsilon"]): row for row in rows_of(found, loaded.detector)[0]}
    order = np.random.default_rng(0).permutation(len(images))
    for part in (order[:7], order[7:8], order[8:]):
        scores, _ = found.compute(take(images, part), loaded.detector)
        for row in scores.to_pylist():
            expected = whole[row["sample"], row["epsilon"]]
            assert row["adversarial_score"] == pytest.approx(expected["adversarial_score"], abs=2e-6)


def test_memory_that_runs_out_changes_no_score(make, store, loaded, monkeypatch):
    """A detector that holds three images at most: the slice is halved until it fits, and the rows stay the same."""
    whole = run(make("apgd"), store)[0]["scores"]
    for key in make("apgd").keys:
        store.path(key).unlink()

    class Small(torch.nn.Module):
        def forward(self, batch):
            if len(batch) > 3:
                raise MemoryError
            return loaded.detector(batch)

    monkeypatch.setattr(model_folder, "loaded", lambda *_: Small())
    halved = run(make("apgd"), store)[0]["scores"]
    assert "memory ran out with" in store.read(make("apgd").note_key).decode()
    order = [("sample", "ascending"), ("epsilon", "ascending")]
    assert (
        halved.sort_by(order)
        .drop(["adversarial_score", "rounded_score", "clean_score", "linf", "l2", "l1"])
        .equals(whole.sort_by(order).drop(["adversarial_score", "rounded_score", "clean_score", "linf", "l2", "l1"]))
    )
    for column in ("adversarial_score", "clean_score"):
        pairs = [table.sort_by(order)[column].to_numpy() for table in (whole, halved)]
        np.testing.assert_allclose(*pairs, atol=2e-6)


def test_a_random_score_is_drawn_once_more_to_choose_by(make, loaded, images):
    class Noisy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generator = torch.Generator().manual_seed(0)

        def forward(self, images):
            scores = loaded.detector(images)
            return scores + 0.01 * torch.randn(scores.shape, generator=self.generator)

    plain, _ = rows_of(make(), loaded.detector)
    assert all(row["selection_score"] == row["adversarial_score"] for row in plain)
    rows, _ = rows_of(make(stochastic=True), Noisy())
    assert all(row["selection_score"] != row["adversarial_score"] for row in rows)
    assert make(stochastic=True).key != make().key
