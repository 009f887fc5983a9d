"""Corrupted slices are made once and by image, and their figures, check and section are what the scores say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import toy_audit

from assay import shelves
from assay.audits.corruption_job import CorruptionJob
from assay.contracts import Images
from assay.data.random_streams import streams_of
from assay.errors import DataError, UnknownName
from assay.metrics import detection
from assay.metrics.corruption import cube, figures, monotone
from assay.store import parquet
from assay.store.audit_reader import Audit
from assay.store.schemas import CORRUPTED, METRICS
from assay.store.store import Store

KINDS = ("brightness", "fog", "shot_noise")
WHERE = {"audit": "a", "model": "m" * 24, "dataset": "d" * 64, "seed": 0}


def pictures(count: int = 12) -> Images:
    rng = np.random.default_rng(0)
    pixels = rng.integers(40, 160, (count, 1, 16, 16), dtype=np.uint8)
    labels = np.arange(count) % 2
    pixels[labels == 1, :, 4:9, 4:9] = 200
    ids = tuple(f"cell{number}" for number in range(count))
    return Images(pixels, labels.astype(np.int64), ids, tuple("spot" if y else "normal" for y in labels), ids)


def work(**changes) -> CorruptionJob:
    return replace(CorruptionJob(**WHERE, images=pictures(), corruption="fog", severities=(1, 3, 5)), **changes)


def corrupt(job: CorruptionJob, detector) -> pa.Table:
    [found] = job.compute(job.images, detector)
    return found


def part(images: Images, first: int, last: int) -> Images:
    kept = slice(first, last)
    return Images(images.pixels[kept], images.labels[kept], images.ids[kept], images.defects[kept], images.hashes[kept])


def detector() -> torch.nn.Module:
    return toy_audit.Detector("none")


def light(images):
    return images.mean((1, 2, 3))


def table(scores, clean=None, labels=None, kinds=KINDS) -> pa.Table:
    """CORRUPTED of scores (S, K, N)."""
    scores = np.asarray(scores, dtype=np.float64)
    severities, _, count = scores.shape
    clean = np.zeros(count) if clean is None else clean
    labels = np.arange(count) % 2 if labels is None else labels
    parts = [
        parquet.table(
            {
                "model": "m",
                "dataset": "d",
                "sample": [f"cell{i:04d}" for i in range(count)],
                "sample_hash": [f"{i}" for i in range(count)],
                "label": labels,
                "defect": ["spot" if y else "normal" for y in labels],
                "corruption": kinds[k],
                "severity": s + 1,
                "clean_score": clean,
                "score": scores[s, k],
                "seconds": 0.1,
                "seed": 0,
                "group": [f"cell{i:04d}" for i in range(count)],
            },
            CORRUPTED,
        )
        for s in range(severities)
        for k in range(scores.shape[1])
    ]
    return pa.concat_tables(parts)


def noisy(severities=5, kinds=3, count=80, seed=0):
    """Scores (S, K, N) of a detector that gets worse with severity, its clean scores and the labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    clean = labels + rng.normal(0, 0.3, count)
    step = rng.normal(0, 1, (1, kinds, count))
    return clean + 0.2 * np.arange(1, severities + 1)[:, None, None] * step, clean, labels


@pytest.mark.parametrize(
    "change",
    [
        {"model": "n" * 24}, {"dataset": "e" * 64}, {"corruption": "snow"}, {"severities": (1, 3)},
        {"seed": 1}, {"images": pictures(10)},
    ],
)  # fmt: skip
def test_the_key_is_of_all_that_decides_the_scores(change):
    assert work().key == work().key
    assert work(**change).key.rpartition("/")[2] != work().key.rpartition("/")[2]


def test_a_slice_has_a_row_for_each_sample_and_severity_and_the_scores_are_the_detectors():
    images = pictures()
    found = corrupt(work(), detector())
    assert found.schema.names == CORRUPTED.names
    assert found["severity"].to_pylist() == [1] * 12 + [3] * 12 + [5] * 12
    assert found["sample"].to_pylist() == list(images.ids) * 3
    assert found["label"].to_pylist() == images.labels.tolist() * 3
    clean = torch.from_numpy(images.pixels).float() / 255
    assert np.allclose(found["clean_score"].to_numpy()[:12], detector()(clean).detach().numpy())
    foggy = shelves.load("corruptions", "fog")(clean, 5, streams_of(images, 0, "fog"))
    stored = (foggy * 255).round() / 255
    assert np.allclose(found["score"].to_numpy()[24:], detector()(stored).detach().numpy(), atol=1e-6)
    assert found["seconds"].to_numpy().min() > 0


def test_an_image_gets_the_same_corruption_in_any_slice_and_another_with_another_seed_or_name():
    images = pictures()
    whole = corrupt(work(images=images), light).filter(pa.compute.field("severity") == 3)
    tail = corrupt(work(images=part(images, 7, 12)), light).filter(pa.compute.field("severity") == 3)
    assert np.allclose(whole["score"].to_numpy()[7:], tail["score"].to_numpy(), atol=1e-6)
    seeds = [
        stream.initial_seed()
        for seed, name in ((0, "fog"), (1, "fog"), (0, "snow"))
        for stream in streams_of(images, seed, name)
    ]
    assert len(set(seeds)) == 36


@pytest.fixture
def model_store(tmp_path, own_cache) -> tuple[Store, str]:
    """A store and the hash of the toy model in it."""
    store = Store(tmp_path / "store")
    return store, toy_audit.write_model(store, toy_audit.pictures(tmp_path / "images"))


def test_a_finished_part_is_not_made_again(model_store):
    store, name = model_store
    one = work(model=name)
    assert not one.done(store)
    assert one.run(str(store.root)) > 0
    assert one.done(store)
    before = store.read(one.key)
    assert parquet.load(store, one.key, CORRUPTED).num_rows == 36
    assert one.run(str(store.root)) == 0
    assert store.read(one.key) == before


def test_a_part_made_twice_holds_the_same_scores(model_store):
    store, name = model_store
    one = work(model=name, corruption="frost")
    scores = []
    for _ in range(2):
        one.run(str(store.root))
        scores.append(parquet.load(store, one.key, CORRUPTED)["score"].to_pylist())
        store.remove(one.key)
    assert scores[0] == scores[1]


def beyond(images, severity, random):
    return images + 0.5


def smaller(images, severity, random):
    return images[:, :, ::2]


def test_a_corruption_that_leaves_the_range_or_the_shape_is_refused(monkeypatch):
    for function in (beyond, smaller):
        monkeypatch.setattr(shelves, "load", lambda shelf, name, function=function: function)
        with pytest.raises(DataError, match=r"corruption 'own' must give images \(12, 1, 16, 16\)"):
            corrupt(work(corruption="own"), light)


def test_an_unknown_corruption_and_a_broken_score_are_told():
    with pytest.raises(UnknownName, match="corruption 'frog'"):
        corrupt(work(corruption="frog"), light)
    with pytest.raises(DataError, match="brightness 5"):
        corrupt(work(corruption="brightness"), lambda images: light(images).log1p() / (light(images) < 0.8))


def test_the_cube_is_the_table_in_any_order():
    scores, clean, labels = noisy(severities=2, count=10)
    whole = table(scores, clean, labels)
    shuffled = whole.take(np.random.default_rng(1).permutation(len(whole)))
    for given in (whole, shuffled, {name: whole[name].to_numpy() for name in CORRUPTED.names}):
        found = cube(given)
        assert np.array_equal(found.scores, scores)
        assert np.array_equal(found.clean, clean)
        assert np.array_equal(found.labels, labels)
        assert found.kinds == sorted(KINDS)
        assert found.severities.tolist() == [1, 2]


@pytest.mark.parametrize("rows", [slice(1, None), [*range(60), 3]])
def test_a_table_with_holes_or_repeats_is_refused(rows):
    scores, clean, labels = noisy(severities=2, count=10)
    whole = table(scores, clean, labels)
    with pytest.raises(DataError, match="not every sample"):
        cube(whole.take(np.arange(60)[rows] if isinstance(rows, slice) else rows))


def test_figures_are_those_of_every_kind_and_severity_and_their_mean():
    scores, clean, labels = noisy()
    rows = figures(table(scores, clean, labels), threshold=0.5, replicates=200).to_pylist()
    assert pa.Table.from_pylist(rows, schema=METRICS).num_rows == 5 * (3 + 1) * 5
    value = {(row["attack"], row["epsilon"], row["metric"]): row for row in rows}
    for s in range(5):
        for k, kind in enumerate(KINDS):
            expected = detection.figures(labels, scores[s, k], threshold=0.5, replicates=200)
            for metric, interval in expected.items():
                row = value[kind, s + 1.0, metric]
                assert (row["value"], row["lower"], row["upper"]) == interval
                assert (row["norm"], row["regime"], row["defect"]) == ("corruption", "natural", "all")
                assert (row["normals"], row["anomalies"], row["confidence"]) == (40, 40, 0.95)
        for metric in expected:
            mean = value["corruptions", s + 1.0, metric]
            assert mean["value"] == pytest.approx(np.mean([value[kind, s + 1.0, metric]["value"] for kind in KINDS]))
            assert mean["lower"] < mean["value"] < mean["upper"]


def test_the_interval_of_the_mean_is_of_images_drawn_together():
    """Three times the same corruption: the mean is as uncertain as each, not less by the root of three."""
    scores, clean, labels = noisy(severities=1, kinds=1, count=200)
    rows = figures(table(np.repeat(scores, 3, axis=1), clean, labels), threshold=0.5).to_pylist()
    width = {(row["attack"], row["metric"]): row["upper"] - row["lower"] for row in rows}
    for metric in ("auroc", "average_precision"):
        assert width["corruptions", metric] == pytest.approx(width["fog", metric], rel=0.02)
    for metric in ("fpr95", "miss_rate", "false_alarm_rate"):  # an exact interval is a little wider
        assert width["corruptions", metric] == pytest.approx(width["fog", metric], rel=0.15)


def test_the_interval_of_the_mean_is_narrower_where_corruptions_err_on_different_images():
    rng = np.random.default_rng(3)
    labels = np.arange(120) % 2
    scores = 0.8 * labels + rng.normal(0, 1, (1, 20, 120))
    rows = figures(
        table(scores, labels=labels, kinds=[f"k{k:02d}" for k in range(20)]), threshold=0.4, replicates=300
    ).to_pylist()
    widths = {row["attack"]: row["upper"] - row["lower"] for row in rows if row["metric"] == "auroc"}
    assert widths["corruptions"] < 1.2 * widths["k00"]
    assert widths["corruptions"] > 0


def test_the_interval_of_the_mean_lies_around_it_where_corruptions_differ():
    labels = np.arange(120) % 2
    half = np.where(np.arange(120) % 4 < 2, 3.0, -3.0) * labels  # half of the anomalies far above, half far below
    scores = np.stack([labels, half, half])[None] + np.random.default_rng(0).normal(0, 0.01, (1, 3, 120))
    rows = figures(table(scores, labels=labels), threshold=0.5).to_pylist()
    [mean] = [row for row in rows if (row["attack"], row["metric"]) == ("corruptions", "auroc")]
    assert mean["value"] == pytest.approx(2 / 3, abs=0.01)
    assert 0.53 < mean["lower"] < 0.6
    assert 0.74 < mean["upper"] < 0.8


def test_perfect_figures_have_an_interval_too():
    labels = np.arange(40) % 2
    rows = figures(table(np.tile(labels, (1, 3, 1)), labels=labels), threshold=0.5, replicates=50).to_pylist()
    for row in rows:
        assert row["value"] == (1.0 if row["metric"] in ("auroc", "average_precision") else 0.0)
        assert row["upper"] - row["lower"] > 0.01


def test_an_effect_that_grows_is_monotone_and_one_that_falls_is_not():
    scores, clean, labels = noisy()
    passed, evidence, value = monotone(table(scores, clean, labels))
    assert passed
    assert value == 0
    assert evidence.startswith("0 of 12 steps")
    swapped = scores.copy()
    swapped[[1, 3], 1] = swapped[[3, 1], 1]  # severities 2 and 4 of one corruption are mistaken for each other
    passed, evidence, value = monotone(table(swapped, clean, labels))
    assert not passed
    assert value > 1
    assert "fog from" in evidence


def test_noise_alone_rarely_counts_as_a_fall():
    failed = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        failed += not monotone(table(rng.normal(0, 1, (5, 3, 60))))[0]
    assert failed <= 6  # one chance in a hundred, and six or fewer with 0.99999


def test_a_corruption_without_any_effect_is_no_fall_and_the_last_bits_of_a_score_are_none():
    scores, clean, labels = noisy()
    scores[:, 0] = clean
    assert monotone(table(scores, clean, labels))[2] == 0
    scores[:3, 0] = clean + 1e-7
    assert monotone(table(scores, clean, labels))[0]


def test_one_severity_has_nothing_to_compare():
    scores, clean, labels = noisy(severities=1)
    passed, evidence, fall = monotone(table(scores, clean, labels))
    assert (passed, fall) == (True, 0.0)
    assert "one severity" in evidence


def section(folder) -> str:
    return str(shelves.load("sections", "corruptions")(Audit(folder)).html)


def add_figures(folder) -> list[dict]:
    scores, clean, labels = noisy(severities=5)
    scores[:, 1] = clean + 3 * (scores[:, 1] - clean)  # fog does most
    rows = figures(table(scores, clean, labels), threshold=0.5, replicates=50).to_pylist()
    path = folder / "metrics.parquet"
    pq.write_table(pa.Table.from_pylist([*pq.ParquetFile(path).read().to_pylist(), *rows], schema=METRICS), path)
    return rows


def test_the_section_of_an_audit_without_corruptions_is_one_sentence(audit_folder):
    html = section(audit_folder)
    assert "did not corrupt" in html
    assert "<table" not in html


def test_the_section_shows_every_kind_worst_first_and_the_mean_last(audit_folder):
    rows = add_figures(audit_folder)
    html = section(audit_folder)
    places = [html.index(f' class="name">{name}</th>') for name in ("fog", "brightness", "Mean of all")]
    assert places == sorted(places)
    assert "Fog hurts most" in " ".join(html.split())
    assert 'class="group"' in html
    for row in rows:
        if row["metric"] == "auroc":
            assert f'>{row["value"]:.3f} <span class="interval">[{row["lower"]:.3f}, {row["upper"]:.3f}]<' in html
        if row["metric"] in ("false_alarm_rate", "miss_rate") and row["epsilon"] == 3:
            assert f"{row['value']:.3f}" in html
    shades = [int(piece[:2], 16) for piece in html.split("background: #")[1:]]
    assert all(140 <= shade <= 255 for shade in shades)
    assert min(shades[:5]) == shades[4] < shades[0], "a greater loss is darker"
