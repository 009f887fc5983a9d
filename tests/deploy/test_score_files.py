"""Scores of files and arrays are those of the audit, whatever stands beside them."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import toy_export
from PIL import Image
from torch import nn

import assay
from assay.data import splits
from assay.deploy import heat_map, score_files
from assay.deploy.score_files import Unread, p_value
from assay.errors import InputError
from assay.models import model_folder
from assay.models.scoring import clean_scores
from assay.store.store import Store


@pytest.fixture(scope="module")
def pristine(tmp_path_factory, own_cache):
    folder = tmp_path_factory.mktemp("scores")
    store = Store(folder / "store")
    item = toy_export.pictures(folder / "images")
    return folder, {name: toy_export.write_model(store, item, name) for name in ("patchcore", "deep_svdd")}, item


@pytest.fixture
def model(pristine):
    return pristine[1]["patchcore"]


@pytest.fixture
def folder(pristine, tmp_path):
    """A copy of the images, with things beside them that are none."""
    copy = shutil.copytree(pristine[0] / "images", tmp_path / "images")
    (copy / "broken.png").write_bytes(b"not an image")
    (copy / ".hidden.png").write_bytes(b"not an image")
    (copy / "notes.txt").write_text("not an image")
    return copy


@pytest.fixture
def store(pristine):
    return Store(pristine[0] / "store")


@pytest.fixture
def run(pristine, monkeypatch):
    from click.testing import CliRunner

    from assay.cli import main

    def run(*words, code=0, stdin=None):
        told = CliRunner().invoke(main, [*map(str, words), "--store", str(pristine[0] / "store")], input=stdin)
        assert told.exit_code == code, told.output
        return told

    return run


def test_scores_of_files_are_those_of_the_audit_s_images(store, model, pristine):
    dataset = model_folder.dataset_of(pristine[2])
    images = splits.test_images(dataset)
    loaded = assay.load(model, store=store)
    expected = dict(zip(images.ids, clean_scores(loaded, images), strict=True))
    paths = {sample.id: sample.path for sample in dataset.samples if sample.split == "test"}
    found = loaded.score([paths[name] for name in images.ids])
    assert not found.unread
    scores = [one.score for one in found.scored]
    assert np.allclose(scores, [expected[name] for name in images.ids], rtol=1e-6)
    assert [one.anomalous for one in found.scored] == [score > loaded.threshold for score in scores]


def test_arrays_and_pictures_are_scored_as_their_files_are(store, model, folder):
    paths = sorted(folder.glob("spot/*.png"))
    loaded = assay.load(model, store=store)
    expected = [one.score for one in loaded.score(paths).scored]
    pictures = [Image.open(path) for path in paths]
    arrays = [np.asarray(picture) for picture in pictures]
    for given in (
        pictures,
        arrays,
        [array[..., None] for array in arrays],
        [np.stack([one] * 3, -1) for one in arrays],
    ):
        assert np.allclose([one.score for one in loaded.score(given).scored], expected, rtol=1e-6)
    assert loaded.score(arrays[0]).scored[0].score == pytest.approx(expected[0], rel=1e-6)
    assert loaded.score(pictures[0]).scored[0].name == "0"
    batch = np.stack([np.asarray(picture.resize((16, 16))) for picture in pictures])[..., None]
    assert len(loaded.score(batch).scored) == len(paths)


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8)])
def test_what_is_no_image_is_among_the_results_with_its_reason(bad, store, model):
    [found] = assay.score(model, [bad], store=store).results
    assert isinstance(found, Unread)
    assert "give uint8 (H, W) or (H, W, 3)" in found.reason


def test_a_loaded_model_is_the_module_it_was_and_more(store, model, pristine):
    loaded = assay.load(model, store=store)
    inner = model_folder.load(store, model).detector
    assert loaded.bank_rows() == inner.bank_rows()
    assert hasattr(loaded, "score_with")
    assert not hasattr(loaded, "certify")
    assert not any(part.training for part in loaded.modules())
    assert isinstance(loaded, nn.Module)
    assert loaded.threshold == loaded.model.threshold
    assert "<td>anomalous</td>" in loaded.score(pristine[0] / "images")._repr_html_()


def test_a_p_value_counts_the_normals_that_score_as_high():
    normals = np.array([1.0, 2.0, 2.0, 3.0])
    assert [p_value(score, normals) for score in (0.5, 2.0, 2.5, 9.0)] == [1.0, 0.8, 0.4, 0.2]
    assert p_value(1.0, np.array([])) is None


def test_p_values_of_normals_are_valid():
    random = np.random.default_rng(0)
    small = [p_value(random.normal(), np.sort(random.normal(size=19))) <= 0.1 for _ in range(4000)]
    assert 0.085 < np.mean(small) < 0.115


def test_the_others_go_on_where_a_file_is_no_image(run, model, folder):
    told = run("score", model, folder, folder / "none.png", "--format", "jsonl", code=1)
    rows = [json.loads(line) for line in told.stdout.splitlines()]
    assert len(rows) == 44
    failed = [row for row in rows if row["error"]]
    assert [row["file"] for row in failed] == [str(folder / "broken.png"), str(folder / "none.png")]
    assert "not an image of a known format" in failed[0]["error"]
    assert failed[1]["error"].endswith("none.png: no such file")
    assert all(0 < row["p_value"] <= 1 for row in rows if not row["error"])
    assert "44 images:" in told.stderr
    assert "2 could not be read" in told.stderr


def test_the_exit_code_tells_of_anomalies_if_asked(run, model, folder, store):
    threshold = model_folder.load(store, model).threshold
    loaded = assay.load(model, store=store)
    by_score = sorted(loaded.score(folder / "spot").scored, key=lambda one: one.score)
    assert by_score[-1].score > threshold
    run("score", model, by_score[-1].name)
    run("score", model, by_score[-1].name, "--fail-on-anomaly", code=3)
    normal = min(loaded.score(folder / "good").scored, key=lambda one: one.score)
    run("score", model, normal.name, "--fail-on-anomaly")


def test_names_come_on_standard_input(run, model, folder):
    names = [str(path) for path in sorted(folder.glob("good/*.png"))[:3]]
    told = run("score", model, "-", stdin="\n".join(names) + "\n\n")
    lines = told.stdout.splitlines()
    assert lines[0].split() == ["score", "threshold", "decision", "p", "file"]
    assert [line.split()[-1] for line in lines[1:]] == names


def test_tables_are_written_by_the_ending_of_the_file(run, model, folder, tmp_path):
    run("score", model, folder / "spot", "--output", tmp_path / "s.parquet")
    run("score", model, folder / "spot", "--output", tmp_path / "s.csv")
    run("score", model, folder / "spot", "--output", tmp_path / "s.jsonl")
    tables = [pd.read_parquet(tmp_path / "s.parquet"), pd.read_csv(tmp_path / "s.csv")]
    tables.append(pd.read_json(tmp_path / "s.jsonl", lines=True))
    for table in tables:
        assert list(table.columns) == ["file", "score", "threshold", "decision", "p_value", "error"]
        assert np.allclose(table.score, tables[0].score)
        assert len(table) == 9
    assert "Parquet is not for a terminal" in run("score", model, folder, "--format", "parquet", code=2).output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--output", "{}/none/s.csv"), "there is no folder"),
        (("--output", "{}"), "is a folder; name a file in it"),
        (("--output", "{}/s.xlsx"), r"no format is known by .xlsx; end it in .csv, .jsonl, .parquet or .txt"),
        (("--map", "{}/a.txt"), "a.txt is a file, and heat maps need a folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_known_first(run, model, folder, tmp_path, words, why, monkeypatch):
    (tmp_path / "a.txt").write_text("")
    monkeypatch.setattr("assay.api.score.scored", lambda *_: pytest.fail("an image was scored"))
    assert why in run("score", model, folder, *(word.format(tmp_path) for word in words), code=2).stderr


def test_an_old_model_has_no_p_values_and_says_so(run, store, model, folder, tmp_path):
    loaded = model_folder.load(store, model)
    manifest = {key: value for key, value in loaded.manifest.items() if key not in ("normal_scores", "weights_sha256")}
    old = model_folder.write(store, loaded.detector, manifest)
    told = run("score", old, folder / "spot", "--format", "jsonl")
    assert {json.loads(line)["p_value"] for line in told.stdout.splitlines()} == {None}
    assert "there are no p-values: the model was made before" in told.stderr


@pytest.mark.parametrize("name", ["patchcore", "deep_svdd"])
def test_heat_maps_are_drawn_over_the_images_at_their_own_size(name, run, pristine, folder, tmp_path):
    shutil.copytree(folder / "good", folder / "again")
    run("score", pristine[1][name], folder / "good", folder / "again", folder / "spot", "--map", tmp_path / "maps")
    drawn = sorted((tmp_path / "maps").iterdir())
    assert len(drawn) == 24 + 24 + 9
    for file in drawn[:3]:
        stem = file.stem.partition("-")[0]
        assert Image.open(file).size in [Image.open(one).size for one in folder.rglob(f"{stem}.png")]


def test_a_map_is_strongest_where_the_image_is_anomalous():
    places = np.zeros((4, 4), np.float32)
    places[1, 2] = 1.0
    image = Image.new("L", (40, 40), 100)
    drawn = np.asarray(heat_map.overlay(image, places, None)).astype(int)
    change = np.abs(drawn - 100).sum(axis=2)
    assert np.unravel_index(change.argmax(), change.shape)[0] in range(10, 20)
    assert (change[:5, :5] == 0).all()
    assert np.abs(np.asarray(heat_map.overlay(image, places, 100.0)).astype(int) - 100).max() < 30


def test_without_a_map_or_a_gradient_there_is_an_error():
    class Flat(nn.Module):
        def forward(self, images):
            return images.round().sum((1, 2, 3)).detach()

    from assay.audits.explanations import explain

    with pytest.raises(InputError, match="there is no heat map: the detector has none of its own, and"):
        heat_map._map(Flat(), np.zeros((1, 1, 4, 4), np.uint8), explain)


def test_a_folder_without_images_is_an_error(run, model, tmp_path):
    assert "no image in it or below it" in run("score", model, tmp_path, code=2).output


def test_standard_output_holds_the_rows_alone(model, pristine):
    """So that a pipe gets what it can parse."""
    from click.testing import CliRunner

    from assay.cli import main

    words = ["score", model, str(pristine[0] / "images" / "spot"), "--format", "csv", "--store"]
    told = CliRunner().invoke(main, [*words, str(pristine[0] / "store")])
    assert len(pd.read_csv(io.StringIO(told.stdout))) == 9


class FirstColumn(nn.Module):
    """Its light, which a resize of the image would mix with that of others; it takes no wide images."""

    def forward(self, images):
        if images.shape[-1] > 100:
            raise ValueError("too wide for me")
        return images[..., 0].mean((1, 2))


def test_a_detector_that_resizes_images_itself_is_given_them_at_their_own_size():
    random = np.random.default_rng(0)
    sizes = [(20, 36), (20, 36), (9, 50), (20, 101), (20, 36)]
    arrays = [random.integers(0, 256, size, dtype=np.uint8) for size in sizes]
    manifest = {"channels": 1, "image_size": [20, 36], "input": "native", "threshold": {"value": 0.5}}
    named = [(str(place), array) for place, array in enumerate(arrays)]
    found = list(score_files.score(model_folder.Model("a", manifest, FirstColumn()), named))
    assert found[3] == Unread("3", "the detector, audited at 20 x 36, fails at 20 x 101: too wide for me")
    for place in (0, 1, 2, 4):
        assert found[place].score == pytest.approx(arrays[place][:, 0].mean() / 255)


def test_a_failure_at_the_size_that_was_audited_ends_the_command():
    manifest = {"channels": 1, "image_size": [20, 101], "threshold": {"value": 0.5}}
    model = model_folder.Model("a", manifest, FirstColumn())
    with pytest.raises(ValueError, match="too wide"):
        list(score_files.score(model, [("0", np.zeros((20, 101), np.uint8))]))
