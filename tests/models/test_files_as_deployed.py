"""Detectors in files as they are deployed: several outputs, weights beside, fixed batches, other types and layouts."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import toy_audit
import toy_outside
import yaml
from hostile_files import program
from PIL import Image
from torch import nn

from assay.approval import verification
from assay.audits import audit, suite
from assay.contracts import Images
from assay.errors import DataError, InputError, ModelError, SpecError
from assay.models import card, model_folder, preflight
from assay.store import parquet, schemas
from assay.store.store import Store

SIZE = toy_audit.SIZE
MANIFEST = {"kind": "onnx", "higher_is": "anomalous", "channels": 1, "image_size": SIZE}
FLOAT, UINT8, HALF = 1, 2, 10


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(5, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, own_cache):
    return toy_audit.pictures(tmp_path_factory.mktemp("images") / "toy")


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def write(tmp_path, dataset):
    """Writes files and the card of the first; returns its path."""

    def write(files: dict[str, bytes], **values) -> str:
        folder = tmp_path / "line"
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        first = next(iter(files))
        about = {"detector": first, "dataset": dataset, "threshold": {"false_alarm_rate": 0.2}, **values}
        (folder / Path(first).with_suffix(".yaml")).write_text(yaml.safe_dump(about))
        return str(folder / first)

    return write


def graph(batch="batch", kind=FLOAT, last=False, outputs=("pred_score",), column=(), weight=None, size=SIZE, scale=1.0):
    """An ONNX file: the mean of an image times a weight of 2, with outputs as anomalib has them."""
    onnx = pytest.importorskip("onnx", reason="ONNX files are written with the package onnx")
    make = onnx.helper
    shape = [batch, size, size, 1] if last else [batch, 1, size, size]
    axes, ends = make.make_tensor("axes", 7, [3], [1, 2, 3]), [batch, *column]
    weight = weight or make.make_tensor("weight", FLOAT, [1], [2.0 * scale])
    made = {
        "pred_score": make.make_node("Identity", ["scaled"], ["pred_score"]),
        "other_score": make.make_node("Neg", ["scaled"], ["other_score"]),
        "pred_label": make.make_node("Greater", ["scaled", "weight"], ["pred_label"]),
        "anomaly_map": make.make_node("Mul", ["floats", "weight"], ["anomaly_map"]),
    }
    shapes = {"pred_label": ends, "anomaly_map": shape}
    nodes = [
        make.make_node("Cast", ["in"], ["floats"], to=FLOAT),
        make.make_node("ReduceMean", ["floats", "axes"], ["mean"], keepdims=0),
        make.make_node("Mul", ["mean", "weight"], ["flat"]),
        *([make.make_node("Unsqueeze", ["flat", "more"], ["scaled"])] if column else []),
        *(made[name] for name in outputs),
    ]
    if not column:
        nodes[2].output[0] = "scaled"
    results = [
        make.make_tensor_value_info(name, 9 if name == "pred_label" else FLOAT, shapes.get(name, ends))
        for name in outputs
    ]
    more = [make.make_tensor("more", 7, [len(column)], list(range(1, 1 + len(column))))] if column else []
    image = make.make_tensor_value_info("in", kind, shape)
    whole = make.make_graph(nodes, "detector", [image], results, [axes, weight, *more])
    return make.make_model(whole, opset_imports=[make.make_opsetid("", 18)], ir_version=9).SerializeToString()


def loads(content: bytes, sides=model_folder.NO_SIDES, **manifest) -> nn.Module:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is an extra")
    return model_folder.build("detector.onnx", {**MANIFEST, **manifest}, content, sides)


@pytest.mark.parametrize(
    ("batch", "words"),
    [(0, "takes 0 images at a time"), (1000, "takes 1000 images at a time; at most 256"), (10**9, "makes 'in' of 2")],
)
def test_a_batch_that_nobody_could_fill_is_refused(batch, words):
    with pytest.raises(ModelError, match=words):
        loads(graph(batch=batch))


FOUR = ("anomaly_map", "pred_label", "pred_score")


@pytest.mark.parametrize(
    "changes",
    [
        {"outputs": FOUR},
        {"outputs": FOUR, "column": (1,)},
        {"column": (1, 1, 1)},
        {"batch": 1},
        {"batch": 1, "outputs": FOUR},
        {"batch": 4},
        {"kind": HALF},
        {"kind": UINT8, "scale": 1 / 255},
        {"last": True},
        {"last": True, "kind": UINT8, "batch": 1, "outputs": FOUR, "column": (1,), "scale": 1 / 255},
    ],
    ids=str,
)
def test_every_form_of_a_file_scores_the_same(images, changes):
    detector = loads(graph(**changes))
    for count in (5, 1):
        apart = detector(images[:count]) - 2 * images[:count].mean((1, 2, 3))
        assert detector(images[:count]).shape == (count,)
        assert apart.abs().max() < 3e-3
    assert detector.runs == {"output": "pred_score"}


def test_the_card_says_which_of_two_scores_is_meant(store, write):
    file = write({"two.onnx": graph(outputs=("pred_score", "other_score"))})
    words = r"2 outputs and 2 that may be the score: pred_score \(float32, \?\), other_score .*`output: pred_score`"
    with pytest.raises(ModelError, match=words):
        card.bring(store, file)
    file = write({"two.onnx": graph(outputs=("pred_score", "other_score"))}, output="score")
    with pytest.raises(ModelError, match=r"has no output 'score', .*it has: pred_score .*, other_score"):
        card.bring(store, file)
    file = write({"two.onnx": graph(outputs=("pred_score", "other_score"))}, output="other_score", higher_is="normal")
    assert model_folder.load(store, card.bring(store, file)).manifest["output"] == "other_score"


def test_a_decision_or_a_map_is_no_score(images):
    pixels = (images * 255).byte().numpy()
    names = tuple(map(str, range(len(images))))
    some = Images(pixels, np.arange(len(images)) % 2, names, names, names)
    with pytest.raises(ModelError, match=r"torch\.bool: decisions or counts\?"):
        preflight.inspect(loads(graph(outputs=FOUR), output="pred_label"), some, None)
    with pytest.raises(ModelError, match=r"an anomaly map\?"):
        preflight.inspect(loads(graph(outputs=FOUR), output="anomaly_map"), some, None)
    with pytest.raises(ModelError, match=r"2 outputs and none that has one number for each image"):
        loads(graph(outputs=("anomaly_map", "pred_label")))


def outside(place="weights.data", offset=4, length=4):
    """The weight of `graph`, in another file after four other bytes."""
    onnx = pytest.importorskip("onnx", reason="ONNX files are written with the package onnx")
    tensor = onnx.TensorProto(name="weight", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    for key, value in (("location", place), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


SIDE = b"\0\0\0\0" + np.float32(2).tobytes()


def test_weights_beside_an_onnx_file_become_part_of_its_model(store, write, images):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is an extra")
    file = write({"model.onnx": graph(weight=outside()), "weights.data": SIDE})
    name = card.bring(store, file)
    assert sorted(store.names(f"models/{name}")) == ["detector.onnx", "external-0.bin", "manifest.json"]
    found = model_folder.load(store, name)
    assert torch.allclose(found.detector(images), 2 * images.mean((1, 2, 3)))
    [verified] = verification.verify(store, name, [])
    assert verified.good
    key = f"models/{name}/external-0.bin"
    store.write(key, SIDE[:-1] + b"\x41")
    [verified] = verification.verify(store, name, [])
    assert verified.changed == ("external-0.bin",)
    with pytest.raises(ModelError, match=r"external-0\.bin is damaged or was changed"):
        model_folder.load(store, name)
    store.remove(key)
    [verified] = verification.verify(store, name, [])
    assert verified.missing == ("external-0.bin",)


def test_other_weights_beside_an_equal_file_are_another_model(store, write):
    first = card.bring(store, write({"model.onnx": graph(weight=outside()), "weights.data": SIDE}))
    other = b"\0\0\0\0" + np.float32(3).tobytes()
    assert card.bring(store, write({"model.onnx": graph(weight=outside()), "weights.data": other})) != first


@pytest.mark.parametrize("place", ["../weights.data", "/etc/hostname", "folder/weights.data", "", "..", ".hidden"])
def test_weights_anywhere_but_beside_the_file_are_refused(store, write, place):
    with pytest.raises(ModelError, match=r"model\.onnx keeps weights in '.*'; they must be in a file beside it"):
        card.bring(store, write({"model.onnx": graph(weight=outside(place))}))


def test_a_link_out_of_the_folder_is_no_side_file(store, write, tmp_path):
    file = write({"model.onnx": graph(weight=outside())})
    (tmp_path / "secret").write_bytes(SIDE)
    (tmp_path / "line" / "weights.data").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match="side files must lie beside it"):
        card.bring(store, file)
    assert store.names("models") == []


def test_side_files_that_are_missing_or_cut_short(store, write):
    file = write({"model.onnx": graph(weight=outside())})
    with pytest.raises(InputError, match=r"keeps its weights in weights\.data, which is not in .*copy it there"):
        card.bring(store, file)
    file = write({"model.onnx": graph(weight=outside()), "weights.data": SIDE[:6]})
    with pytest.raises(ModelError, match=r"wants bytes 4 to 8 of 'weights\.data' for 'weight', which has 6"):
        card.bring(store, file)
    file = write({"model.onnx": graph(weight=outside(length="-4")), "weights.data": SIDE})
    with pytest.raises(ModelError, match="states the length '-4'"):
        card.bring(store, file)


def test_many_tensors_of_one_side_file_do_not_add_up_to_more_than_a_file_can_hold(monkeypatch):
    monkeypatch.setattr("assay.models.loaders._onnx_weights.MOST", 100)
    with pytest.raises(ModelError, match="the most that one ONNX file can hold"):
        loads(graph(weight=outside(offset=0, length=400)), {"external-0.bin": bytes(400)})


def converted(content: bytes, folder: Path) -> dict[str, bytes]:
    """An ONNX file as OpenVINO writes it."""
    openvino = pytest.importorskip("openvino", reason="OpenVINO is an extra")
    (folder / "m.onnx").write_bytes(content)
    openvino.save_model(openvino.Core().read_model(folder / "m.onnx"), folder / "m.xml", compress_to_fp16=False)
    return {"model.xml": (folder / "m.xml").read_bytes(), "model.bin": (folder / "m.bin").read_bytes()}


def test_an_openvino_model_is_a_black_box_of_two_files(store, write, images, tmp_path):
    name = card.bring(store, write(converted(graph(outputs=FOUR, column=(1,)), tmp_path)))
    assert sorted(store.names(f"models/{name}")) == ["detector.xml", "manifest.json", "weights.bin"]
    found = model_folder.load(store, name)
    assert (found.manifest["precision"], found.manifest["output"]) == ("f32", "pred_score")
    assert torch.allclose(found.detector(images), 2 * images.mean((1, 2, 3)))
    assert not preflight.differentiable(found.detector, images)
    [verified] = verification.verify(store, name, [])
    assert verified.good
    store.write(f"models/{name}/weights.bin", store.read(f"models/{name}/weights.bin")[:-1] + b"x")
    with pytest.raises(ModelError, match=r"weights\.bin is damaged or was changed"):
        model_folder.load(store, name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda xml: b"<net/>", "cannot be read by OpenVINO"),
        (lambda xml: b"<!DOCTYPE net>" + xml, "declares entities"),
        (lambda xml: xml.replace(b'type="ReduceMean"', b'type="TensorIterator"'), "holds a TensorIterator, which may"),
        (
            lambda xml: xml.replace(b'type="ReduceMean" version="opset1"', b'type="ReduceMean" version="mine"'),
            "of 'mine'",
        ),
        (lambda xml: xml.replace(b'type="ReduceMean"', b'note=">" type="ReduceMean"'), "only OpenVINO's own operators"),
    ],
)
def test_an_openvino_model_that_is_refused(tmp_path, change, words):
    files = converted(graph(), tmp_path)
    with pytest.raises(ModelError, match=rf"^detector\.xml .*{words}"):
        model_folder.build(
            "detector.xml",
            {**MANIFEST, "kind": "openvino"},
            change(files["model.xml"]),
            {"weights.bin": files["model.bin"]},
        )


def test_an_openvino_model_without_its_weights(store, write, tmp_path):
    files = converted(graph(), tmp_path)
    with pytest.raises(InputError, match=r"keeps its weights in model\.bin, which is not in"):
        card.bring(store, write({"model.xml": files["model.xml"]}))


def on_gpu(content: bytes) -> bytes:
    """The program as it would be if it had been exported on cuda:0."""

    def moved(value):
        if isinstance(value, dict):
            if set(value) == {"type", "index"} and value["type"] == "cpu":
                return {"type": "cuda", "index": 0}
            return {key: moved(below) for key, below in value.items()}
        return [moved(below) for below in value] if isinstance(value, list) else value

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            record = old.read(name)
            new.writestr(name, json.dumps(moved(json.loads(record))).encode() if name.endswith(".json") else record)
    return out.getvalue()


def test_a_program_exported_on_a_gpu_is_loaded_to_the_cpu(images):
    content = on_gpu(program())
    assert b"cuda" in content
    detector = model_folder.build("detector.pt2", {**MANIFEST, "kind": "exported"}, content)
    assert torch.allclose(detector(images), toy_outside.good()(images))
    assert {weight.device.type for weight in detector.parameters()} == {"cpu"}
    assert preflight.differentiable(detector, images)


def test_a_buffer_that_is_not_a_number_has_not_changed(images):
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.light = toy_outside.good()
            self.register_buffer("maximum", torch.tensor([float("nan"), 1.0]))
            self.grows = False

        def forward(self, images):
            if self.grows:
                self.maximum = self.maximum + 1
            return self.light(images)

    names = tuple(map(str, range(len(images))))
    some = Images((images * 255).byte().numpy(), np.arange(len(images)) % 2, names, names, names)
    detector = model_folder.freeze(Normalised())
    preflight.inspect(detector, some, None)
    detector.grows = True
    with pytest.raises(ModelError, match="changes itself when it scores: maximum"):
        preflight.inspect(detector, some, None)


def photographs(folder: Path, sizes) -> dict:
    """A dataset whose files have those (height, width), in turn; anomalies are brighter."""
    random = np.random.default_rng(0)
    for kind, light in (("good", 60), ("spot", 180)):
        (folder / kind).mkdir(parents=True)
        for i in range(24):
            height, width = sizes[i % len(sizes)]
            pixels = (random.integers(0, 60, (height, width)) + light).astype(np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{i:02}.png")
    return {"name": "folder", "root": str(folder), "normal": "good", "anomalous": "spot", "channels": 1}


@pytest.fixture
def resizing() -> bytes:
    """A file that takes images of any size."""
    return graph(size=None)


def test_native_images_go_in_at_their_own_size(store, write, tmp_path, own_cache, resizing):
    data = photographs(tmp_path / "native", [(20, 36)])
    name = card.bring(store, write({"own.onnx": resizing}, dataset=data, input="native"))
    found = model_folder.load(store, name)
    assert (found.manifest["image_size"], found.manifest["input"]) == ([20, 36], "native")
    square = {"name": "square", "attack": {"square": {"queries": 5}}, "threat": toy_audit.SUITE["attacks"][0]["threat"]}
    attacks = [*toy_audit.SUITE["attacks"], square]
    done = audit.run(store, name, suite.read(toy_audit.write_suite(tmp_path / "tiny.yaml", attacks=attacks)))
    worst = parquet.load(store, f"audits/{done}/worst.parquet", schemas.WORST)
    shown = Image.open(io.BytesIO(worst["adversarial_png"][0].as_py()))
    assert shown.size == (36, 20)
    assert (Image.open(tmp_path / "native" / "good" / "00.png").size) == (36, 20)


def test_native_images_of_several_sizes_are_counted(store, write, tmp_path, own_cache, resizing):
    data = photographs(tmp_path / "native", [(20, 36), (20, 36), (24, 24)])
    with pytest.raises(DataError, match=r"2 sizes \(height x width\): 32 of 20 x 36, 16 of 24 x 24; native images"):
        card.bring(store, write({"own.onnx": resizing}, dataset=data, input="native"))


def test_keys_that_contradict_each_other_or_the_file(store, write, dataset, resizing):
    with pytest.raises(SpecError, match="image_size: found 16; the size of the files themselves"):
        card.bring(store, write({"own.onnx": resizing}, input="native"))
    with pytest.raises(SpecError, match=r"precision: found .*f16.*; a key for detectors of the kind openvino"):
        card.bring(store, write({"own.onnx": resizing}, precision="f16"))
    with pytest.raises(SpecError, match=r"image_size: .*16 to 4096 pixels, as a number or as \[height, width\]"):
        card.bring(store, write({"own.onnx": resizing}, image_size=8))


def test_images_of_any_height_and_width(store, write, dataset, resizing):
    data = {**dataset, "image_size": [16, 24]}
    name = card.bring(store, write({"own.onnx": resizing}, dataset=data, image_size=[16, 24]))
    assert model_folder.read_manifest(store, name)["image_size"] == [16, 24]
    with pytest.raises(ModelError, match=r"takes images \(1, 16, 16\) .*; those of the dataset are \(1, 16, 24\)"):
        card.bring(store, write({"own.onnx": graph()}, dataset=data))
