"""What a report says about the sweep behind a model, and about smaller neighbour banks: the numbers and the page."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from torch import nn

from assay import shelves
from assay.audits import bank_size_job, suite
from assay.contracts import Images
from assay.errors import SpecError
from assay.metrics import importance, rungs, sweep_audit_gap
from assay.metrics.intervals import Interval
from assay.shelves import Item
from assay.store import schemas, trials_table
from assay.store.audit_reader import Audit
from assay.store.trial_log import Record
from trainables._head_and_neighbours import HeadAndNeighbours, ScoreWeights
from trainables._nearest import nearest_others
from trainables.neighbours import NeighbourBank
from trainables.patchcore import PatchBank

PIXELS = Item("backbones", "pixels", {})
MAX = {"clean_auroc": "max"}


def sweep(count: int, seed: int = 0) -> pa.Table:
    """Trials whose clean AUROC rises with `a`; `b` does nothing; `kind.x.u` is there for every other trial."""
    random = np.random.default_rng(seed)
    trials = []
    for number in range(count):
        a = random.random()
        objectives = {"clean_auroc": 0.5 + 0.4 * a + 0.01 * random.random(), "robust_auroc": 0.4}
        parameters = {"a": a, "b": 10 ** random.uniform(-4, 0), "kind": "xy"[number % 2]}
        parameters |= {} if number % 2 else {"kind.x.u": random.random()}
        trials.append(
            trials_table.Trial(
                number, "complete", number == 0, 1, 1, objectives, parameters, "", 0, 0.0, 1, "", "", "", config={}
            )
        )
    return trials_table.table(trials)


def section(folder, name: str) -> str:
    return str(shelves.load("sections", name)(Audit(folder)).html)


def text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


# Importance


def test_importance_finds_what_decides_and_counts_who_has_a_parameter(monkeypatch):
    monkeypatch.setattr(importance, "RESAMPLES", 8)
    found = importance.table(sweep(40), MAX)
    assert found.schema.equals(schemas.IMPORTANCE)
    rows = {row["parameter"]: row for row in found.to_pylist()}
    assert set(rows) == {"a", "b", "kind", "kind.x.u"}
    assert rows["a"]["importance"] > max(rows["a"]["chance"], 0.7)
    assert rows["b"]["importance"] < rows["b"]["chance"]
    assert sum(row["importance"] for row in rows.values()) == pytest.approx(1)
    assert all(0 <= row["lower"] <= row["importance"] <= row["upper"] <= 1 for row in rows.values())
    assert [rows[name]["trials"] for name in ("a", "kind.x.u")] == [40, 20]
    assert {row["complete"] for row in rows.values()} == {40}


def test_a_number_of_few_values_is_a_choice_between_them():
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    assert importance._range([0.0, 1.0, None, 1.0]) == CategoricalDistribution((0.0, 1.0))
    assert importance._range([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == FloatDistribution(0.1, 0.6)
    assert importance._range([1e-4, 1e-3, 1e-2, 0.1, 0.2, 0.3]) == FloatDistribution(1e-4, 0.3, log=True)


def test_importance_is_the_same_every_time(monkeypatch):
    monkeypatch.setattr(importance, "RESAMPLES", 2)
    assert importance.table(sweep(20), MAX).equals(importance.table(sweep(20), MAX))


def test_few_trials_and_rare_parameters_give_no_numbers(monkeypatch):
    monkeypatch.setattr(importance, "RESAMPLES", 2)
    few = importance.table(sweep(importance.NEEDED - 1), MAX).to_pylist()
    assert all(np.isnan(row[name]) for row in few for name in ("importance", "lower", "upper", "chance"))
    table = sweep(importance.NEEDED)
    rare = [0.5 if trial == 0 else None for trial in range(len(table))]
    place = table.schema.get_field_index("parameter.kind.x.u")
    rows = importance.table(
        table.set_column(place, "parameter.kind.x.u", pa.array(rare, pa.float64())), MAX
    ).to_pylist()
    told = {row["parameter"]: (row["trials"], bool(np.isnan(row["importance"]))) for row in rows}
    assert told["kind.x.u"] == (1, True)
    assert told["a"] == (20, False)


def test_there_are_resamples_enough_for_the_quantiles_of_the_interval():
    beyond = importance.RESAMPLES * (1 - importance.CONFIDENCE) / 2
    assert beyond >= 10, "fewer make no 2.5 % quantile, but the largest or the second of them"


def test_only_complete_trials_count():
    table = sweep(30)
    states = pa.array(["pruned" if trial % 3 else "complete" for trial in range(30)])
    rows = importance.table(table.set_column(1, "state", states), MAX).to_pylist()
    assert {row["complete"] for row in rows} == {10}


def test_the_report_shows_importance_or_says_that_trials_are_too_few(audit_folder, monkeypatch):
    monkeypatch.setattr(importance, "RESAMPLES", 4)
    assert "no importance.parquet" in section(audit_folder, "importance")
    pq.write_table(importance.table(sweep(8), MAX), audit_folder / "importance.parquet")
    few = section(audit_folder, "importance")
    assert "Too few trials to say anything: 8 are complete, and 20 are needed" in text(few)
    assert "<svg" not in few
    pq.write_table(importance.table(sweep(40), MAX), audit_folder / "importance.parquet")
    html = section(audit_folder, "importance")
    assert html.count("<svg") == 1
    assert "Above it: a for clean AUROC; of 4 shares without any effect about 0.2 would be" in text(html)
    assert "A guided search such as TPE tries what did well more often" in text(html), "the level is of random search"
    assert "20 of 40" in text(html)


# Cheap against audited


def test_a_difference_is_as_wide_as_both_of_its_figures():
    found = sweep_audit_gap.difference(Interval(0.8, 0.7, 0.85), Interval(0.5, 0.46, 0.62))
    assert found.value == pytest.approx(0.3)
    assert found.lower == pytest.approx(0.3 - np.hypot(0.1, 0.12))
    assert found.upper == pytest.approx(0.3 + np.hypot(0.05, 0.04))


def models(cheap, audited, half: float) -> dict[str, np.ndarray]:
    cheap, audited = np.array(cheap), np.array(audited)
    columns = {"metric": np.array(["robust_auroc"] * len(cheap), dtype=object)}
    for name, values in (("cheap", cheap), ("audited", audited)):
        columns |= {name: values, f"{name}_lower": values - half, f"{name}_upper": values + half}
    return columns


def test_a_rank_correlation_needs_three_models_and_is_wide_where_figures_are():
    assert sweep_audit_gap.rank_correlation(models([0.5, 0.6], [0.4, 0.5], 0.01), "robust_auroc") is None
    assert sweep_audit_gap.rank_correlation(models([0.5, 0.6, 0.7], [0.4, 0.5, np.nan], 0.01), "robust_auroc") is None
    loose = sweep_audit_gap.rank_correlation(models([0.5, 0.6, 0.7], [0.4, 0.5, 0.6], 0.1), "robust_auroc")
    assert loose.value == pytest.approx(1)
    assert loose.lower < 0
    many = np.linspace(0.2, 0.9, 20)
    sure = sweep_audit_gap.rank_correlation(models(many, many, 0.01), "robust_auroc")
    assert sure.lower > 0.9
    assert sweep_audit_gap.rank_correlation(models(many, many[::-1], 0.01), "robust_auroc").upper < -0.9


@pytest.fixture
def of_a_sweep(store):
    """The store, its audit's account, and beside it audits of another model of it, and of other sweeps and data."""
    [name] = store.names("audits")
    folder = f"audits/{name}"
    info = yaml.safe_load(store.read(f"{folder}/audit.yaml"))
    manifest = store.read_json(f"{folder}/manifest.json")
    for other, changes in (
        ("second", {"model": "m2", "trial": 1}),
        ("older", {"model": "m2", "trial": 1, "created": "2000-01-01T00:00:00+00:00"}),
        ("elsewhere", {"model": "m3", "sweep": "other"}),
        ("other-data", {"model": "m4", "dataset": {**info["dataset"], "hash": "0"}}),
    ):
        content = {**info, "audit": other, **changes}
        store.write(f"audits/{other}/audit.yaml", yaml.safe_dump(content).encode())
        store.write(f"audits/{other}/metrics.parquet", store.read(f"{folder}/metrics.parquet"))
        figures = {**manifest["figures"], "robust_auroc": 0.9}
        manifest["evaluation"] = {**manifest["evaluation"], "norm": "linf"}
        store.write(f"audits/{other}/manifest.json", json.dumps({**manifest, "figures": figures}).encode())
    store.write(f"{folder}/manifest.json", json.dumps(manifest).encode())
    return store, info


def test_every_audited_model_of_the_sweep_is_beside_its_cheap_figures(of_a_sweep):
    store, info = of_a_sweep
    found = sweep_audit_gap.table(store, info)
    assert found.schema.equals(schemas.FIDELITY)
    rows = {(row["model"], row["metric"]): row for row in found.to_pylist()}
    both = ("clean_auroc", "robust_auroc")
    assert set(rows) == {(model, metric) for model in (info["model"], "m2") for metric in both}
    assert rows["m2", "clean_auroc"]["audit"] == "second"
    mine = rows["m2", "robust_auroc"]
    metrics = Audit(store.path(f"audits/{info['audit']}"))
    assert mine["audited"] == metrics.attacked("auroc", metrics.budgets_of("linf")[1]).value
    assert mine["cheap"] == 0.9
    assert mine["gap"] == pytest.approx(0.9 - mine["audited"])
    assert mine["cheap_lower"] < 0.9 < mine["cheap_upper"]


def test_a_budget_that_the_suite_lacks_is_not_made_up(of_a_sweep, audit_folder):
    store, info = of_a_sweep
    key = "audits/second/manifest.json"
    manifest = store.read_json(key)
    manifest["evaluation"]["epsilon"] = 3 / 255
    store.write(key, json.dumps(manifest).encode())
    found = sweep_audit_gap.table(store, info)
    [row] = [row for row in found.to_pylist() if (row["model"], row["metric"]) == ("m2", "robust_auroc")]
    assert np.isnan(row["audited"])
    pq.write_table(found, audit_folder / "fidelity.parquet")
    html = section(audit_folder, "fidelity")
    assert "its suite has no such budget" in html
    assert "2 models of this sweep are audited" in text(html)
    assert "A rank correlation needs 3 models" in text(html)
    assert html.count("<svg") == 1


# The trials themselves


def test_parallel_coordinates_tell_the_audited_trial_and_what_was_left_out(audit_folder):
    html = section(audit_folder, "parallel_coordinates")
    assert html.count("<svg") == 1
    assert "18 complete trials of 24" in text(html)
    assert "The audited model, trial 17" in html
    assert "none" in html  # one parameter is conditional
    assert "&lt;rotation&gt;" in html
    (audit_folder / "trials.parquet").unlink()
    for name in ("parallel_coordinates", "importance", "fidelity"):
        assert "did not come from a sweep" in section(audit_folder, name)


def test_figures_of_the_front_have_intervals_where_the_counts_are_known(audit_folder):
    assert "How many validation images there were is not recorded" in section(audit_folder, "pareto")
    path = audit_folder / "audit.yaml"
    info = yaml.safe_load(path.read_text())
    info["dataset"]["counts"]["validation"] = {"normal": 40, "anomalous": 30}
    path.write_text(yaml.safe_dump(info))
    html = text(section(audit_folder, "pareto"))
    assert "over the 40 normal and 30 anomalous validation images" in html
    assert re.search(r"0\.\d{3} \[0\.\d{3}, [01]\.\d{3}\]", html)


# The neighbour bank


def normals(count: int = 20) -> torch.Tensor:
    return torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def neighbours() -> NeighbourBank:
    network = NeighbourBank(PIXELS, 1, 2, "cosine").eval()
    network.bank = network.features(normals())
    return network


def patchcore() -> PatchBank:
    with torch.random.fork_rng(devices=[]):
        network = PatchBank(Item("backbones", "small_resnet", {"width": 4}), 1, (2,), 0).eval()
    network.fit(normals(), 0.5, 0)
    return network


def cobra(**weights) -> HeadAndNeighbours:
    with torch.random.fork_rng(devices=[]):
        network = HeadAndNeighbours(PIXELS, 1, ScoreWeights(pixels=1.0, **weights)).eval()
    network.fit(normals())
    return network


@pytest.mark.parametrize("make", [neighbours, patchcore, cobra, lambda: cobra(form="as_released")])
def test_a_smaller_bank_holds_rows_of_the_larger_and_the_whole_one_scores_alike(make):
    detector, images = make(), normals(5)
    size = detector.bank_rows()
    before = detector(images)
    smaller = detector.with_bank(0.25)
    assert smaller.bank_rows() == round(size / 4)
    assert all((detector.bank == row).all(1).any() for row in smaller.bank)
    assert not torch.equal(smaller(images), before)
    assert torch.equal(detector.with_bank(1.0)(images), before)
    assert detector.bank_rows() == size
    assert detector.with_bank(1e-9).bank_rows() == 1


def test_distances_to_a_smaller_cobra_bank_are_put_on_their_own_scale():
    detector = cobra()
    smaller = detector.with_bank(0.5)
    mine = [int((detector.bank == row).all(1).nonzero()[0]) for row in smaller.bank]
    distances = nearest_others(detector.bank, torch.tensor(mine), detector.weights.k)
    assert float(smaller.location[1]) == pytest.approx(float(distances.mean()))
    assert float(smaller.location[1]) > float(detector.location[1])
    assert torch.equal(smaller.location[:1], detector.location[:1])


def some_images() -> Images:
    pixels = np.random.default_rng(1).integers(0, 256, (12, 1, 16, 16), dtype=np.uint8)
    names = tuple(f"{row:02d}" for row in range(12))
    return Images(pixels, np.repeat([0, 1], 6), names, ("normal",) * 6 + ("dent",) * 6, names)


def works(**changes) -> list[bank_size_job.BankSizeJob]:
    how = {"audit": "a", "model": "m", "dataset": "d", "norm": "linf", "epsilon": 2 / 255, "steps": 2, "seed": 0}
    return [bank_size_job.BankSizeJob(images=some_images(), share=share, **{**how, **changes}) for share in (0.5, 1.0)]


def score(job: bank_size_job.BankSizeJob, detector: nn.Module) -> pa.Table:
    [found] = job.compute(job.images, detector)
    return found


def test_sizes_of_a_bank_become_rows_with_intervals():
    detector = neighbours()
    parts = pa.concat_tables(score(work, detector) for work in works())
    assert parts.schema.names == schemas.BANK_SCORES.names
    labels = parts["label"].to_numpy()
    moved = (parts["adversarial_score"].to_numpy() - parts["clean_score"].to_numpy()) * (1 - 2 * labels)
    assert (moved >= 0).all()
    found = bank_size_job.figures(parts, threshold=0.0)
    assert found.schema.equals(schemas.BANK_SIZE)
    rows = found.to_pylist()
    assert [row["rows"] for row in rows] == [10, 20]
    assert all(row["robust_auroc"] < row["clean_auroc"] for row in rows)
    assert all(row["clean_lower"] < row["clean_auroc"] < row["clean_upper"] for row in rows)
    assert all(0 < row["seconds_25"] <= row["seconds_50"] <= row["seconds_75"] for row in rows)
    again = score(works()[0], detector)
    assert again["adversarial_score"].equals(parts.slice(0, 12)["adversarial_score"])


def test_without_a_gradient_there_is_no_attack():
    detector = neighbours()
    parts = pa.concat_tables(score(work, detector) for work in works(steps=0))
    rows = bank_size_job.figures(parts, threshold=0.0).to_pylist()
    assert all(np.isnan(row["robust_auroc"]) and np.isfinite(row["clean_auroc"]) for row in rows)


def test_the_part_of_a_size_is_named_by_all_that_decides_it():
    key = works()[0].key
    changed = [{"steps": 3}, {"seed": 1}, {"epsilon": 1 / 255}, {"model": "n"}]
    others = [works(**changes)[0].key for changes in changed] + [works()[1].key]
    assert len({key, *others}) == len(others) + 1


def test_the_report_draws_curves_or_says_why_there_are_none(audit_folder):
    assert "the suite does not ask for it" in section(audit_folder, "bank_size")
    detector = neighbours()
    parts = pa.concat_tables(score(work, detector) for work in works())
    pq.write_table(bank_size_job.figures(parts, threshold=0.0), audit_folder / "bank_size.parquet")
    html = section(audit_folder, "bank_size")
    assert html.count("<svg") == 2
    assert "The deployed bank of 20 rows" in text(html)


@pytest.mark.parametrize("shares", [[0.5, 0.1, 1], [0.1, 0.5], [1], [0, 1]])
def test_a_suite_asks_for_rising_shares_up_to_the_whole(tmp_path, shares):
    shipped = yaml.safe_load(suite._shipped("standard").read_text())
    assert suite.read("standard").bank_sizes is not None
    assert suite.read("quick").bank_sizes is None
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({**shipped, "name": "own", "bank_sizes": {"shares": shares}}))
    with pytest.raises(SpecError, match="bank_sizes"):
        suite.read(str(path))


def test_seeds_of_training_are_told_of_the_audited_model(audit_folder):
    assert "seeds" not in section(audit_folder, "pareto")
    path = audit_folder / "manifest.json"
    manifest = json.loads(path.read_text())
    told = {"trained": 3, "trials": [17, 24, 25], "failed": [26], "split": "validation"}
    told |= {"mean": {"robust_auroc": 0.5}, "worst": {"robust_auroc": 0.41}, "sd": {"robust_auroc": 0.07}}
    path.write_text(json.dumps({**manifest, "seeds": told}))
    html = text(section(audit_folder, "pareto"))
    assert "The configuration was trained with 3 seeds, 1 more failed (trials 17, 24, 25): " in html
    assert "robust_auroc 0.500 ± 0.070, worst 0.410. These figures are of validation, too" in html
    path.write_text(json.dumps({**manifest, "seeds": {"trained": 3}}))
    assert "other seeds of training cannot be read" in text(section(audit_folder, "pareto"))


# The rungs of a fidelity ladder


def test_the_report_says_how_well_each_rung_ranked_and_whom_it_lost(audit_folder):
    assert "had no fidelity ladder" in text(section(audit_folder, "rungs"))
    figures = [(0.9, 0.3, "complete"), (0.5, 0.45, "pruned"), (0.6, 0.5, "complete"), (0.4, 0.55, "pruned")]
    records = {}
    for number, (cheap, full, state) in enumerate(figures):
        report = {"epoch": 1, "values": {"robust_auroc": cheap}, "kept": {"epoch": 1}, "rung": "fgsm"}
        report["checked"] = {"robust_auroc": full}
        records[number] = Record(number, {}, {}, {}, reports=[report], state=state)
    pq.write_table(rungs.table(records), audit_folder / "rungs.parquet")
    told = text(section(audit_folder, "rungs"))
    assert "fgsm 4 2 4" in told
    assert "-0.800" in told.replace("−", "-")
    assert "0.050" in told
    assert "trial 0 falls from 0.900 to 0.300: the cheap attack misled" in told
    pq.write_table(rungs.table({1: records[1], 3: records[3]}), audit_folder / "rungs.parquet")
    assert "no cheap attack was seen to mislead" in text(section(audit_folder, "rungs"))
