"""An exported file is the detector on images as they are on disk, says so beside it, and is refused where it is not."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest
import toy_export
import yaml
from PIL import Image
from torch import Tensor, nn

import assay
from assay.approval import exported_file
from assay.data.images import open_image, pixels_of
from assay.deploy import export as stage
from assay.deploy import parity
from assay.deploy.formats import onnx as onnx_format
from assay.deploy.formats import pt2
from assay.errors import DataError, InputError, ModelError
from assay.models import model_folder
from assay.models.model_folder import Model
from assay.store.store import Store


@pytest.fixture(scope="module")
def pristine(tmp_path_factory, own_cache):
    folder = tmp_path_factory.mktemp("exports")
    store = Store(folder / "store")
    item = toy_export.pictures(folder / "images")
    names = {name: toy_export.write_model(store, item, name) for name in ("patchcore", "deep_svdd")}
    return folder, item, names


@pytest.fixture
def store(pristine, tmp_path):
    return Store(shutil.copytree(pristine[0] / "store", tmp_path / "store"))


@pytest.fixture(scope="module")
def as_onnx(pristine):
    """Patchcore exported to ONNX, and the store it is of."""
    folder, _, names = pristine
    (folder / "onnx").mkdir()
    return assay.export(names["patchcore"], output=folder / "onnx", store=folder / "store")


@pytest.fixture
def patchcore(pristine):
    return pristine[2]["patchcore"]


def native(folder, count=5):
    return [pixels_of(open_image(path), 1)[None] for path in sorted(folder.rglob("*.png"))[:count]]


def test_what_lies_beside_a_file_says_what_it_is_and_how_it_was_compared(as_onnx, patchcore):
    made = as_onnx
    content = json.loads(made.sidecar.read_text())
    assert content["model"] == patchcore
    assert content["opset"] == 18
    assert content["outputs"] == ["score", "decision", "map"]
    assert content["verdict"] is None
    assert content["compared"]["on"] == "validation images"
    assert content["compared"]["images"] == made.parity.images == 12
    assert 0 <= content["compared"]["largest_difference"] <= content["compared"]["tolerance"]
    props = {one.key: one.value for one in onnx.load(made.file).metadata_props}
    assert props["assay.model"] == patchcore
    assert props["assay.verdict"] == "not audited"
    [images] = onnx.load(made.file).graph.input
    assert [one.dim_param or one.dim_value for one in images.type.tensor_type.shape.dim] == [
        "batch",
        1,
        "height",
        "width",
    ]


def test_one_file_gives_scores_decisions_and_maps_of_any_number_and_size(as_onnx, store, patchcore, pristine):
    read, model = onnx_format.reader(as_onnx.file), model_folder.load(store, patchcore)
    for images in (*native(pristine[0] / "images"), np.repeat(native(pristine[0] / "images", 1)[0], 7, axis=0)):
        score, decision, places = read(images)
        assert score.shape == decision.shape == (len(images),)
        assert decision.dtype == bool
        assert places.shape[0] == len(images)
        assert np.allclose(score, places.max(axis=(1, 2)), rtol=1e-3)
        assert np.array_equal(decision, score > model.threshold)


def test_decisions_are_the_detector_s_although_its_threshold_is_the_score_of_an_image(store, patchcore, tmp_path):
    model = model_folder.load(store, patchcore)
    assert model.threshold in model.manifest["normal_scores"]
    made = assay.export(patchcore, "pt2", output=tmp_path, store=store)
    assert made.parity.decisions_differ == 0
    content = json.loads(made.sidecar.read_text())
    assert 0 < content["threshold_in_file"] - content["threshold"] <= content["compared"]["tolerance"]


def test_an_exported_file_can_be_audited_by_its_card(store, patchcore, pristine, tmp_path):
    made = assay.export(patchcore, "pt2", output=tmp_path, store=store)
    written = yaml.safe_load(made.card.read_text())
    assert written["trained_on"] == "train"
    [brought] = [name for name in assay_names(store, made.file) if name != patchcore]
    mine, its = (model_folder.load(store, name) for name in (patchcore, brought))
    assert its.threshold == mine.threshold
    assert np.allclose(its.manifest["normal_scores"], mine.manifest["normal_scores"], rtol=1e-5)


def assay_names(store, file):
    from assay.api.audit import models_of

    return models_of(store, str(file))


def test_formats_of_one_name_share_a_card_and_nothing_is_overwritten(store, pristine, tmp_path):
    name = pristine[2]["deep_svdd"]
    first = assay.export(name, "pt2", output=tmp_path, store=store)
    second = assay.export(name, "openvino", output=tmp_path, store=store)
    assert {one.name for one in tmp_path.glob(f"{name[:12]}.*")} >= {f"{name[:12]}.xml", f"{name[:12]}.bin"}
    assert first.card == second.card
    with pytest.raises(InputError, match=r"\.pt2 is there already; remove it, or name another --output"):
        assay.export(name, "pt2", output=tmp_path, store=store)
    other = tmp_path / f"{name[:12]}.yaml"
    other.write_text("mine")
    first.file.unlink()
    first.sidecar.unlink()
    with pytest.raises(InputError, match=r"\.yaml is there already"):
        assay.export(name, "pt2", output=tmp_path, store=store)


def test_verify_knows_the_file_and_says_when_it_changed(store, patchcore, tmp_path):
    made = assay.export(patchcore, "pt2", output=tmp_path, store=store)
    file, model = assay.verify(str(made.file), store=store)
    assert file.good
    assert model.good
    assert model.name == patchcore
    assert "no record" not in file.says
    elsewhere = assay.verify(str(made.file), store=tmp_path / "other")
    assert len(elsewhere) == 1
    assert "no record of the file, so its sidecar alone says so" in elsewhere[0].says
    made.file.write_bytes(made.file.read_bytes() + b"\0")
    assert assay.verify(str(made.file), store=store)[0].changed == (made.file.name,)
    made.sidecar.unlink()
    with pytest.raises(InputError, match="nothing says what it was exported from"):
        assay.verify(str(made.file), store=store)
    with pytest.raises(InputError, match="no exported file"):
        exported_file.verify(store, made.card, None)


class Off(nn.Module):
    """A detector whose exported form is another one: it adds something where it is traced."""

    def __init__(self, inner: nn.Module, by: float) -> None:
        super().__init__()
        self.inner, self.by = inner, by

    def forward(self, images: Tensor) -> Tensor:
        import torch

        return self.inner(images) + (self.by if torch.compiler.is_exporting() else 0.0)


@pytest.mark.parametrize("by", [0.5, float("nan")])
def test_a_file_that_does_not_agree_is_not_left_behind(by, store, pristine, tmp_path):
    model = model_folder.load(store, pristine[2]["deep_svdd"])
    changed = Model(model.hash, model.manifest, Off(model.detector, by).eval())
    folder = tmp_path / "out"
    folder.mkdir()
    recorded = store.names("exports")
    with pytest.raises(ModelError, match=r"does not agree with it, so none was left behind: on 12 images"):
        stage.export(store, changed, "pt2", folder / "off.pt2", None, None)
    assert list(folder.iterdir()) == []
    assert store.names("exports") == recorded


def test_decisions_alone_can_differ(store, pristine):
    model = model_folder.load(store, pristine[2]["deep_svdd"])
    paths = sorted((pristine[0] / "images").rglob("*.png"))
    expected = parity.reference(model, paths)
    ordered = iter(expected.scores)

    def read(images):
        scores = np.array([next(ordered) for _ in images])
        return [scores, np.zeros(len(images), bool)]

    found = parity.compare(read, expected, float(np.median(expected.scores)))
    assert found.largest_difference == 0
    assert found.decisions_differ > found.at_threshold
    assert not found.equal


def test_a_detector_that_has_no_such_form_is_refused_by_its_operation(pristine, tmp_path):
    store = Store(tmp_path / "store")
    of = {"name": "neighbours", "backbone": {"name": "small_resnet", "width": 4}}
    name = toy_export.write_model(store, pristine[1], "smoothed", of=of, draws=3)
    with pytest.raises(ModelError, match=r"\(smoothed\): cannot be exported: `pixels = .*numpy\(\)` \(_image_noise"):
        assay.export(name, "pt2", output=tmp_path, store=store)
    assert not list(tmp_path.glob("*.pt2"))


def write_file(path):
    path.write_text("")
    return path


def test_a_folder_that_is_not_there_is_made(store, patchcore, tmp_path):
    made = assay.export(patchcore, "pt2", output=f"{tmp_path}/new/deploy/", store=store)
    assert made.file.parent == tmp_path / "new" / "deploy"


def test_wrong_words_are_errors_before_any_work(store, patchcore, pristine, tmp_path):
    for words, why in (
        ({"format": "tflite"}, "format 'tflite' is not known; there is: onnx, pt2, openvino"),
        ({"output": tmp_path / "a.onnx", "format": "pt2"}, r"ends in \.pt2"),
        ({"output": tmp_path / "none" / "a.onnx"}, "there is no folder"),
        ({"output": str(tmp_path / "deploy")}, r"ends in \.onnx; a folder is written .*deploy/"),
        ({"output": f"{write_file(tmp_path / 'file')}/x/"}, "no such folder can be made"),
    ):
        with pytest.raises(InputError, match=why):
            assay.export(patchcore, store=store, **words)
    with pytest.raises(DataError, match="no image in it"):
        assay.export(patchcore, "pt2", output=tmp_path, images=tmp_path, store=store)


def test_another_folder_of_images_can_be_compared_on(store, patchcore, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    Image.new("RGB", (30, 50), (90, 80, 70)).save(folder / "one.png")
    made = assay.export(patchcore, "pt2", output=tmp_path, images=folder, store=store)
    assert made.parity.images == 1
    assert json.loads(made.sidecar.read_text())["compared"]["on"] == str(folder)
    read = pt2.reader(made.file)
    assert read(np.zeros((1, 1, 9, 200), np.uint8))[0].shape == (1,)
