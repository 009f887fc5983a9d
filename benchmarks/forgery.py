"""Is every forged input refused in one line, with nothing run, nothing written, and less than 1 GB of memory?

    .venv/bin/python benchmarks/forgery.py               about 2 minutes on 2 cores

A store with a toy model and its audit is copied for each forgery. A function of the table FORGERIES changes the copy,
or puts a file beside it, and says which command of Assay's meets it. The command runs in a process of its own that may
take 1 GB more than it starts with, and 60 seconds. It is refused if it ends with 1, 2 or 3, says so in one line (of a
settings file, with a line more for each fault), expected what it found, and every file in the folder but locks is as
before. What runs by mistake leaves a file.

Target: RESULT refused=N tried=N, at least 40 of at least 12 kinds.

Rival in the same run: none. `--only KIND` tries one kind, `--say` prints what was said.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import multiprocessing
import os
import pickle
import resource
import shutil
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
import forged
import hostile_files as files
import pyarrow as pa
import pyarrow.parquet as pq
import signed_store
import torch
import toy_audit
import yaml
from click.testing import CliRunner

from assay.approval import records, signature
from assay.audits import audit, suite
from assay.cli import main as assay
from assay.hashing import canonical, digest
from assay.runtime.provenance import own_code
from assay.store.store import Store

GB, SECONDS = 2**30, 60
MARK = "ran"
PLANTED = f"import pathlib\npathlib.Path({MARK!r}).touch()\ndef make(): pass\n"


@dataclass(frozen=True)
class Place:
    """Where a forgery is put: a working folder that holds `store`, `tiny.yaml` and the pictures of a dataset."""

    folder: Path
    dataset: dict[str, Any]

    @property
    def store(self) -> Store:
        """The store."""
        return Store(self.folder / "store")

    @property
    def model(self) -> str:
        """The hash of the store's first model."""
        return self.store.names("models")[0]

    @property
    def audit(self) -> str:
        """The id of its audit."""
        return self.store.names("audits")[0]

    @property
    def manifest(self) -> dict[str, Any]:
        """That model's manifest."""
        found: dict[str, Any] = self.store.read_json(f"models/{self.model}/manifest.json")
        return found

    @property
    def weights(self) -> bytes:
        """That model's weights."""
        return self.store.read(f"models/{self.model}/model.safetensors")

    def write(self, name: str, content: bytes | str) -> str:
        """Write a file in the working folder and return its name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    def of_audit(self, name: str, content: bytes) -> list[str]:
        """Put a file into the audit; `assay report` meets it."""
        self.write(f"store/audits/{self.audit}/{name}", content)
        return ["report", self.audit]


Words = list[str]
FORGERIES: list[tuple[str, str, Callable[[Place], Words]]] = []
"""(kind, name, function that puts the forgery in its place and returns the command that meets it)."""


def put(kind: str, name: str, function: Callable[[Place], Words]) -> None:
    """Put a forgery into the table."""
    FORGERIES.append((kind, name, function))


def add(kind: str, name: str) -> Callable[[Callable[[Place], Words]], Callable[[Place], Words]]:
    """The same, as a decorator."""

    def take(function: Callable[[Place], Words]) -> Callable[[Place], Words]:
        put(kind, name, function)
        return function

    return take


def audited(what: str) -> Words:
    """The command that loads a model or a detector."""
    return ["audit", what, "--suite", "tiny.yaml", "--workers", "1", "--no-wandb"]


class Bomb:
    """Unpickled, it leaves a file."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path(MARK),)


def bomb() -> bytes:
    """A pickle that leaves a file."""
    return pickle.dumps(Bomb())


# Detectors: archives, expressions, operators, ONNX

DEEP = b"[" * 100_000 + b"]" * 100_000


def changed(*how: Any, **more: Any) -> bytes:
    """The good exported program, changed."""
    return files.changed(files.program(), *how, **more)


def compressed(name: str, size: int) -> bytes:
    return changed({name: bytes(size)}, compression=zipfile.ZIP_DEFLATED)


def unsafe(folder: str) -> bytes:
    """An archive that keeps a tensor as a pickle."""
    meta = {"config": {"x": {"path_name": "weight_0", "use_pickle": True, "is_param": True, "tensor_meta": None}}}
    return changed({f"data/{folder}/model_{folder}_config.json": json.dumps(meta).encode(),
                    f"data/{folder}/weight_0": bomb()})  # fmt: skip


def old_archive() -> bytes:
    """One as the first versions of torch.export wrote it, all of pickles."""
    content = files.io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("version", "8.14")
        for name in ("state_dict", "constants", "example_inputs"):
            archive.writestr(f"serialized_{name}.pt", bomb())
    return content.getvalue()


def multiplied(graph: dict[str, Any]) -> None:
    """Forty products of products."""
    size = lambda i: {"as_sym_int": {"as_name": f"p{i}"}}  # noqa: E731
    graph["graph_module"]["graph"]["nodes"][:0] = [
        {"target": "_operator.mul", "inputs": [{"arg": size(i)}] * 2, "outputs": [size(i + 1)], "metadata": {}}
        for i in range(40)
    ]


def endless(operator: str) -> bytes:
    """An ONNX file with a loop of 2^62 rounds."""
    from onnx import helper as make

    value = make.make_tensor_value_info
    step = make.make_graph(
        [make.make_node("Identity", ["go"], ["on"]), make.make_node("Identity", ["x"], ["y"])], "step",
        [value("i", 7, []), value("go", 9, []), value("x", 1, ["batch"])],
        [value("on", 9, []), value("y", 1, ["batch"])],
    )  # fmt: skip
    mean = make.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0)
    extra = {"num_scan_inputs": 1} if operator == "Scan" else {}
    loop = make.make_node(operator, ["rounds", "", "mean"], ["scores"], body=step, **extra)
    return files.onnx_file([mean, loop], (make.make_tensor("rounds", 7, [], [2**62]),))


def elsewhere(where: str) -> bytes:
    """An ONNX file whose weight lies in another file."""
    import onnx

    make = onnx.helper
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="tiny.yaml")
    mean = make.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0)
    add_ = make.make_node("Add", ["mean", "w"], ["scores"])
    if where == "initializer":
        return files.onnx_file([mean, add_], (tensor,))
    return files.onnx_file([mean, make.make_node("Constant", [], ["w"], value=tensor), add_])


def doubled() -> bytes:
    """An ONNX file of functions that stand for 2^40 operators."""
    from onnx import helper as make

    node, opset = make.make_node, [make.make_opsetid("", 18), make.make_opsetid("mine", 1)]
    found = [make.make_function("mine", "F0", ["x"], ["y"], [node("Neg", ["x"], ["y"])], opset)]
    for i in range(1, 41):
        twice = [node(f"F{i - 1}", ["x"], ["z"], domain="mine"), node(f"F{i - 1}", ["z"], ["y"], domain="mine")]
        found.append(make.make_function("mine", f"F{i}", ["x"], ["y"], twice, opset))
    mean = node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0)
    return files.onnx_file([mean, node("F40", ["mean"], ["scores"], domain="mine")], functions=tuple(found))


HUGE = [("ConstantOfShape", ["n"], ["huge"]), ("ReduceSum", ["huge"], ["sum"])]
DETECTORS: dict[tuple[str, str], Callable[[], bytes]] = {
    ("archive", "pickled weights"): lambda: unsafe("weights"),
    ("archive", "pickled constants"): lambda: unsafe("constants"),
    ("archive", "of pickles alone"): old_archive,
    ("archive", "a bare pickle"): bomb,
    ("archive", "cut short"): lambda: files.program()[:-200],
    ("archive", "a compiled library"): lambda: changed({"data/aotinductor/model/lib.so": b"\x7fELF"}),
    ("archive", "a record that unpacks to 2 GB"): lambda: compressed("data/weights/weight_0", 2 * GB - 1),
    ("archive", "a program that unpacks to 1 GB"): lambda: compressed("models/model.json", GB),
    ("header", "a program nested deeply"): lambda: changed({"models/model.json": b'{"a": ' + DEEP + b"}"}),
    ("header", "a config nested deeply"): lambda: changed(
        {"data/weights/model_weights_config.json": b'{"config": ' + DEEP + b"}"}
    ),
    ("header", "a program that is a list"): lambda: changed({"models/model.json": b"[]"}),
    ("expression", "a power of a power"): lambda: files.sized("Pow(Integer(99), Integer(3000000))"),
    ("expression", "a call"): lambda: files.sized(f"open('{MARK}','w')"),
    ("expression", "a tower"): lambda: files.sized("Mul(" * 99 + "Integer(2)" + ")" * 99),
    ("expression", "a long number"): lambda: files.sized("Integer(" + "9" * 500 + ")"),
    ("expression", "products of products"): lambda: changed(graph=multiplied),
    **{
        ("operator", name): lambda name=name: files.calling(name)  # type: ignore[misc]
        for name in (
            "torch.os.system", "torch.ops.aten.from_file.default", "torch.ops.aten.set_data.default",
            "torch.ops.aten.resize_.default", "torch.ops.aten.manual_seed.default", "_operator.methodcaller",
            "torch.ops.aten.empty.memory_format", "torch.ops.aten._unsafe_index.Tensor", "torch.ops.mine.op.default",
        )
    },
    **{
        ("sizes", name): lambda name=name: files.chain(name)  # type: ignore[misc]
        for name in files.CHAINS
        if name != "of the batch alone"  # few images at a time fit, and are scored
    },
    ("onnx", "weights in another file"): lambda: elsewhere("initializer"),
    ("onnx", "a constant in another file"): lambda: elsewhere("constant"),
    ("onnx", "a loop without end"): lambda: endless("Loop"),
    ("onnx", "a scan"): lambda: endless("Scan"),
    ("onnx", "a constant of 10 GB"): lambda: files.grown(*HUGE, n=[2_500_000_000]),  # type: ignore[arg-type]
    ("onnx", "a size that is multiplied"): lambda: files.grown(
        ("Mul", ["k", "k"], ["n"]), *HUGE, k=[50_000]  # type: ignore[arg-type]
    ),
    ("onnx", "functions of functions"): doubled,
    ("onnx", "no ONNX"): lambda: b"\x08\xff" * 99,
}  # fmt: skip


def detector(content: Callable[[], bytes], suffix: str) -> Callable[[Place], Words]:
    """A detector's file with a card beside it."""

    def put(place: Place) -> Words:
        card = {"detector": f"mine{suffix}", "dataset": place.dataset, "threshold": 0.5}
        place.write("mine.yaml", yaml.safe_dump(card))
        return audited(place.write(f"mine{suffix}", content()))

    return put


for (kind_, name_), content_ in DETECTORS.items():
    put(kind_, name_, detector(content_, ".onnx" if kind_ == "onnx" else ".pt2"))


# Models in a store: weights, manifests, code


def weights(content: bytes) -> Callable[[Place], Words]:
    """A model of those weights, all hashes right."""
    return lambda place: audited(
        forged.model(place.store, {"model.safetensors": content}, weights_sha256=digest(content))
    )


BEYOND = b'{"weight":{"dtype":"F32","shape":[9999],"data_offsets":[0,39996]}}'
SAFETENSORS = {
    "a pickle": bomb(),
    "a header of 2^62 bytes": struct.pack("<Q", 2**62) + b"{}",
    "a header that is no JSON": struct.pack("<Q", 4) + b"{{{{",
    "a header nested deeply": struct.pack("<Q", len(DEEP)) + DEEP,
    "a tensor beyond its end": struct.pack("<Q", len(BEYOND)) + BEYOND,
}
for name_, raw_ in SAFETENSORS.items():
    put("weights", name_, weights(raw_))


@add("weights", "one byte changed")
def _(place: Place) -> Words:
    place.write(f"store/models/{place.model}/model.safetensors", place.weights[:-1] + b"x")
    return audited(place.model)


def manifest(**changes: Any) -> Callable[[Place], Words]:
    """A model with other keys in its manifest, all hashes right."""
    return lambda place: audited(forged.model(place.store, {"model.safetensors": place.weights}, **changes))


MANIFESTS: dict[str, dict[str, Any]] = {
    "a kind that is code": {"kind": "planted:make"},
    "a kind there is none of": {"kind": "no_such"},
    "of a later format": {"format": 99},
    "parameters that are none": {"parameters": {"flaw": "no such"}},
    "a trainable that is a number": {"trainable": 7},
}
for name_, changes_ in MANIFESTS.items():
    put("manifest", name_, manifest(**changes_))


def raw_manifest(content: bytes) -> Callable[[Place], Words]:
    """A model whose manifest is just that, in a folder of its hash."""

    def put(place: Place) -> Words:
        place.write(f"store/models/{digest(content)[:24]}/manifest.json", content)
        return audited(digest(content)[:24])

    return put


for name_, raw_ in {"no JSON": b"{", "nested deeply": DEEP, "a list": b"[]", "a pickle": bomb()}.items():
    put("manifest", name_, raw_manifest(raw_))


@add("manifest", "changed after it was named")
def _(place: Place) -> Words:
    place.write(f"store/models/{place.model}/manifest.json", canonical({**place.manifest, "seed": 1}))
    return audited(place.model)


def code(name: str, how: str) -> Callable[[Place], Words]:
    """A model that names code, which lies in the store where it is called `planted`."""

    def put(place: Place) -> Words:
        place.write("store/planted.py", PLANTED)
        place.write("store/models/planted.py", PLANTED)
        if how == "factory":
            return audited(forged.factory(place.store, name, own_code(name) or digest(PLANTED.encode())))
        changes = (
            {"dataset": {**place.manifest["dataset"], "item": {"name": name}}} if how == "dataset" else {how: name}
        )
        return audited(forged.model(place.store, {"model.safetensors": place.weights}, **changes))

    return put


for how_ in ("factory", "trainable", "dataset"):
    for name_ in ("store.planted:make", "store.models.planted:make", "os:abort", "sys:exit"):
        put("code", f"{how_} {name_}", code(name_, how_))


# Audits and sweeps in a store: YAML, JSON, tables, logs

ALIASES = b"a: &a [x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (i + 1, i + 1, b", ".join([b"*%c" % i] * 9)) for i in b"abcdefghi"
)
YAMLS = {
    "aliases nine deep": ALIASES,
    "a value that holds itself": b"a: &a [*a]\n",
    "a tag": b"a: !!python/object/apply:pathlib.Path.touch [ran]\n",
    "nested deeply": b"a: " + DEEP,
    "2 MB": b"a: " + b"x" * 2**21,
    "a pickle": bomb(),
}
for name_, raw_ in YAMLS.items():
    put("yaml", f"audit.yaml, {name_}", lambda place, raw=raw_: place.of_audit("audit.yaml", raw))  # type: ignore[misc]


@add("yaml", "a search space of a sweep with a tag")
def _(place: Place) -> Words:
    place.write("store/sweeps/s/spec.yaml", YAMLS["a tag"])
    return ["sweep", "--resume", "s"]


@add("yaml", "a search space of a sweep that names installed code")
def _(place: Place) -> Words:
    space = {"name": "s", "trainable": "os:abort", "dataset": {"name": "sys:exit"}, "fixed": {}, "space": {}}
    place.write("store/sweeps/s/spec.yaml", yaml.safe_dump(space))
    return ["sweep", "--resume", "s"]


for name_, raw_ in {
    "nested deeply": DEEP,
    "a list": b"[]",
    "cut short": b'{"verdict": "PA',
    "a pickle": bomb(),
}.items():
    for file_ in ("verdict.json", "manifest.json"):
        put("json", f"{file_}, {name_}", lambda place, file=file_, raw=raw_: place.of_audit(file, raw))  # type: ignore[misc]


def parquet(change: Callable[[pa.Table], pa.Table], **options: Any) -> bytes:
    """A table changed by a function, as a Parquet file."""
    content = files.io.BytesIO()
    pq.write_table(change(pa.table({"metric": ["auroc"], "value": [1.0]})), content, **options)
    return content.getvalue()


def pickled_column(table: pa.Table) -> pa.Table:
    """The table with a column of pickles, by the name that Ray gives such."""
    about = {"ARROW:extension:name": "ray.data.arrow_pickled_object", "ARROW:extension:metadata": b""}
    return table.append_column(pa.field("more", pa.binary(), metadata=about), pa.array([bomb()] * len(table)))


def long(table: pa.Table) -> pa.Table:
    """The table with 200 million rows."""
    return pa.table({name: pa.repeat(table[name][0], 50_000_000) for name in table.column_names})


TABLES = {
    "a column of pickles": lambda: parquet(pickled_column),
    "a bare pickle": bomb,
    "cut short": lambda: parquet(lambda table: table)[:-9],
    "50 million rows in few bytes": lambda: parquet(long, compression="zstd"),
}
for name_, make_ in TABLES.items():
    for file_ in ("metrics.parquet", "checks.parquet"):
        put("table", f"{file_}, {name_}", lambda place, file=file_, make=make_: place.of_audit(file, make()))  # type: ignore[misc]


# Cards, names, links


@add("card", "a tag")
def _(place: Place) -> Words:
    return audited(place.write("mine.yaml", YAMLS["a tag"]))


@add("card", "aliases")
def _(place: Place) -> Words:
    return audited(place.write("mine.yaml", ALIASES))


@add("card", "a password")
def _(place: Place) -> Words:
    card = {"detector": "mine.pt2", "dataset": place.dataset, "threshold": 0.5, "notes": "https://a:hunter2hunter2@b.c"}
    place.write("mine.pt2", files.program())
    return audited(place.write("mine.yaml", yaml.safe_dump(card)))


@add("card", "code of the store")
def _(place: Place) -> Words:
    place.write("store/planted.py", PLANTED)
    card = {"detector": "store.planted:make", "dataset": place.dataset, "threshold": 0.5}
    return audited(place.write("mine.yaml", yaml.safe_dump(card)))


NAMES = ("../../etc", "/etc/passwd", "a" * 5000, "\x1b]0;x\x07", "..", "models/../..", "-", "a\u202eb")
for name_ in NAMES:
    put("name", f"a model {name_[:20]!r}", lambda place, name=name_: audited(name))  # type: ignore[misc]
    put("name", f"an audit {name_[:20]!r}", lambda place, name=name_: ["report", "--", name])  # type: ignore[misc]
    put("name", f"a model to promote {name_[:20]!r}", lambda place, name=name_: ["promote", "--", name])  # type: ignore[misc]


@add("link", "a model folder that leads out of the store")
def _(place: Place) -> Words:
    model = place.model
    shutil.move(place.folder / "store/models" / model, place.folder / "outside")
    (place.folder / "store/models" / model).symlink_to(place.folder / "outside")
    return audited(model)


@add("link", "weights that lead out of the store")
def _(place: Place) -> Words:
    path = place.folder / f"store/models/{place.model}/model.safetensors"
    path.unlink()
    path.symlink_to("/etc/passwd")
    return audited(place.model)


@add("link", "an audit folder that is a model's")
def _(place: Place) -> Words:
    shutil.rmtree(place.folder / "store/audits" / place.audit)
    (place.folder / "store/audits/other").symlink_to(place.folder / "store/models" / place.model)
    return ["report", "other"]


# Registers, signatures, verdicts and reviewers: promotion meets them


@functools.cache
def keys(name: str) -> tuple[bytes, bytes, str]:
    """A private key, its public key, and the fingerprint."""
    with tempfile.TemporaryDirectory() as folder:
        private, public = signed_store.write_keys(Path(folder), name)
        return private.read_bytes(), public.read_bytes(), signature.public_key(public).fingerprint


CLEAN = {"metric": "auroc", "attack": "clean", "at_least": 0.1, "why": "to be forged"}
ATTACKED = {"metric": "auroc", "epsilon": "8/255", "at_least": 0.9, "why": "to be forged"}


def decided(place: Place, word: str = "PASS", signer: str | None = "jane") -> Words:
    """Decide on the audit by a gate, as Jane Doe, with somebody's key; returns the command that promotes the model."""
    gate = CLEAN if word == "PASS" else ATTACKED
    policy = {"name": "toy", "version": 1, "why": "to be forged", "minimum_samples": {"normals": 5, "anomalies": 5}}
    file = place.write("policy.yaml", yaml.safe_dump({**policy, "gates": [gate]}))
    words = ["approve", place.audit, "--policy", str(place.folder / file), "--reviewer", "Jane Doe", "--because", "toy"]
    for name in ("jane", "max"):
        place.write(f"{name}.pem", keys(name)[0])
        place.write(f"{name}-public.pem", keys(name)[1])
    if signer:
        words += ["--key", str(place.folder / f"{signer}.pem"), "--author", "Max Roe"]
    done = CliRunner().invoke(assay, [*words, "--store", str(place.folder / "store")])
    if done.exit_code != (0 if word == "PASS" else 3):
        raise SystemExit(f"the toy was not decided: {done.output}")
    return ["promote", place.model, *(["--key", f"{signer}-public.pem"] if signer else ["--unsigned"])]


def put_back(place: Place, record: str) -> Words:
    """A signed PASS in place of a later signed FAIL, whose record stays, is `gone`, or is `changed`."""
    words = decided(place)
    folder, kept = place.folder / "store/audits" / place.audit, place.folder / "kept"
    shutil.copytree(folder, kept)
    decided(place, "FAIL")
    path = place.folder / "store/register" / place.store.names("register")[-1]
    records.promoted(place.store, model="0" * 64, name="other", audit="other", dataset=None, by="-", key=None)
    if record == "gone":
        path.unlink()
    if record == "changed":
        path.write_text(path.read_text().replace('"FAIL"', '"PASS"'))
    shutil.rmtree(folder)
    shutil.move(kept, folder)
    return words


for record_ in ("kept", "gone", "changed"):
    put("register", f"an older state, the later record {record_}",
        lambda place, record=record_: put_back(place, record))  # type: ignore[misc]  # fmt: skip


@add("register", "none")
def _(place: Place) -> Words:
    words = decided(place)
    shutil.rmtree(place.folder / "store/register")
    return words


@add("register", "the newest record gone, others left")
def _(place: Place) -> Words:
    words = decided(place)
    place.store.remove(f"register/{place.store.names('register')[-1]}")
    records.promoted(place.store, model="0" * 64, name="other", audit="other", dataset=None, by="-", key=None)
    return words


for name_, raw_ in {"nested deeply": DEEP, "a list": b"[]", "cut short": b'{"ev', "a pickle": bomb()}.items():

    def recorded(place: Place, raw: bytes = raw_) -> Words:
        words = decided(place)
        place.write(f"store/register/{place.store.names('register')[-1]}", raw)
        return words

    put("register", f"a record, {name_}", recorded)


def rewritten(**changes: Any) -> Callable[[Place], Words]:
    """The record of a signed decision, changed by somebody without its key."""

    def put(place: Place) -> Words:
        words = decided(place)
        name = f"register/{place.store.names('register')[-1]}"
        place.store.write(name, canonical({**place.store.read_json(name), **changes}))
        return words

    return put


put("register", "a signed record, other words", rewritten(because="it was only a screen"))
put("register", "a signed record, its signature gone", rewritten(signature=""))
put("register", "a signed record, its signature nonsense", rewritten(signature="AAAA"))
put("register", "a signed record, its key gone", rewritten(key=None))
put("register", "a signed record, as an older version wrote them", rewritten(signature="", before=None))


@add("register", "an old PASS filed again as the latest")
def _(place: Place) -> Words:
    words = put_back(place, "kept")
    first = place.store.names("register")[0]
    place.write(f"store/register/{first.replace(first[:8], '20990101')}", place.store.read(f"register/{first}"))
    return words


@add("register", "a FAIL taken out of what follows it")
def _(place: Place) -> Words:
    decided(place, "FAIL")
    words = decided(place)
    fail, last = place.store.names("register")
    place.store.remove(f"register/{fail}")
    place.store.write(f"register/{last}", canonical({**place.store.read_json(f"register/{last}"), "before": {}}))
    return words


@add("signature", "none")
def _(place: Place) -> Words:
    decided(place, signer=None)
    return ["promote", place.model, "--key", "jane-public.pem"]


@add("signature", "not asked for")
def _(place: Place) -> Words:
    return decided(place)[:2]


@add("signature", "not wanted in a store of signed approvals")
def _(place: Place) -> Words:
    return [*decided(place)[:2], "--unsigned"]


@add("signature", "by another key")
def _(place: Place) -> Words:
    return [*decided(place)[:2], "--key", "max-public.pem"]


@add("signature", "taken away with the register, and FAIL made PASS")
def _(place: Place) -> Words:
    words = [*decided(place, "FAIL")[:2], "--unsigned"]
    for signed in (place.folder / "store").rglob("*.sig"):
        signed.unlink()
    shutil.rmtree(place.folder / "store/register")
    path = place.folder / f"store/audits/{place.audit}/verdict.json"
    path.write_text(path.read_text().replace('"FAIL"', '"PASS"'))
    return words


for name_, raw_ in {"a pickle": bomb(), "nested deeply": DEEP, "empty": b""}.items():

    def resigned(place: Place, raw: bytes = raw_) -> Words:
        words = decided(place)
        place.write(f"store/audits/{place.audit}/{keys('jane')[2][:16]}.sig", raw)
        return words

    put("signature", name_, resigned)


def named(**holder: Any) -> Callable[[Place], Words]:
    """Max's key, by which Jane Doe is said to have approved, and what a keys file says of it."""

    def put(place: Place) -> Words:
        about = {"fingerprint": keys("max")[2], "person": "Jane Doe", **holder}
        place.write("keys.yaml", yaml.safe_dump({"keys": [about]}))
        return [*decided(place, signer="max"), "--keys", "keys.yaml"]

    return put


put("signature", "by the author under another's name", named(person="Max Roe"))
put("signature", "by a key that nobody knows", named(fingerprint=keys("jane")[2]))
put("signature", "in a role that is not the key's", named(roles=["tester"]))

for name_, raw_ in {"a tag": YAMLS["a tag"], "aliases": ALIASES, "nested deeply": YAMLS["nested deeply"]}.items():

    def misnamed(place: Place, raw: bytes = raw_) -> Words:
        return [*decided(place), "--keys", place.write("keys.yaml", raw)]

    put("keys file", name_, misnamed)


def edited(file: str, old: str, new: str) -> Callable[[Place], Words]:
    """A word of a signed decision changed."""

    def put(place: Place) -> Words:
        words = decided(place)
        path = place.folder / "store/audits" / place.audit / file
        path.write_text(path.read_text().replace(old, new))
        return words

    return put


put("decision", "a gate's text", edited("verdict.json", "at least", "at most"))
put("decision", "the reviewer", edited("review.json", "Jane Doe", "Ann Lee\\u001b[2K\\u202e"))
put("decision", "the policy's name", edited("verdict.json", '"toy"', '"default"'))
put("decision", "the audited model", edited("audit.yaml", "seed: 0", "seed: 1"))


@add("decision", "a FAIL in place of which PASS is written")
def _(place: Place) -> Words:
    words = decided(place, "FAIL")
    path = place.folder / f"store/audits/{place.audit}/verdict.json"
    path.write_text(path.read_text().replace('"FAIL"', '"PASS"'))
    return words


def main() -> None:
    """Forge, try, and print what was refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="a kind, or the beginning of `KIND: NAME`")
    parser.add_argument("--say", action="store_true", help="print what was said of each")
    options = parser.parse_args()
    torch.set_num_threads(1)  # processes are forked; no thread of torch's must be left behind
    chosen = [one for one in FORGERIES if f"{one[0]}: {one[1]}".startswith(options.only or "")]
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["ASSAY_CACHE"] = f"{scratch}/cache"
        pristine = Path(scratch, "pristine")
        dataset = toy_audit.pictures(Path(scratch, "images"))
        name = toy_audit.write_model(Store(pristine / "store"), dataset)
        audit.run(Store(pristine / "store"), name, suite.read(toy_audit.write_suite(pristine / "tiny.yaml")))
        refused, worst = 0, 0
        for number, (kind, title, function) in enumerate(chosen):
            place = Place(Path(shutil.copytree(pristine, Path(scratch, str(number)))), dataset)
            why, memory, told = tried(place, function(place))
            refused, worst = refused + (why == ""), max(worst, memory)
            if why or options.say:
                print(f"{kind}: {title}: {why or 'refused'}: {told.strip()[:300]}")
            shutil.rmtree(place.folder)
    kinds = len({kind for kind, _, _ in chosen})
    print(f"{kinds} kinds; memory beyond that at the start {worst >> 20} MB at most")
    print(f"RESULT refused={refused} tried={len(chosen)}")


def tried(place: Place, words: Words) -> tuple[str, int, str]:
    """Why a command did not refuse as it must ("" where it did), the memory it took (bytes), and what it said."""
    before, started = state(place.folder), time.monotonic()
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=run, args=(place.folder, words, theirs))
    process.start()
    theirs.close()
    found = None
    if mine.poll(SECONDS):
        try:
            found = mine.recv()
        except EOFError:
            found = None
    process.join(1 if found else 0)
    if process.is_alive():
        process.kill()
        process.join()
    if found is None:
        return f"it ended with {process.exitcode} after {time.monotonic() - started:.0f} s without a word", 0, ""
    code, out, error, memory = found
    lines = [line for line in error.splitlines() if line.strip()]
    said = f"{out}\n{error}"
    if code not in (1, 2, 3):
        return f"it was taken (exit {code})", memory, said
    if "unexpected" in said or "Traceback" in said or "MemoryError" in said:
        return "it was not expected", memory, said
    faults = lines[1:] if code == 2 and all(line.startswith("  ") for line in lines[1:]) else []
    if not lines or not lines[0].startswith("Error: ") or len(lines) > 1 + len(faults):
        return f"{len(lines)} lines", memory, said
    if memory > GB:
        return f"{memory >> 20} MB", memory, said
    if changed := {name for name, value in state(place.folder) ^ before}:
        return f"it changed {', '.join(sorted(changed)[:3])}", memory, said
    return "", memory, said


def run(folder: Path, words: Words, result: Any) -> None:
    """In a process of its own: the command, within 1 GB more than there is now."""
    os.chdir(folder)
    status = Path("/proc/self/status").read_text()
    size, resident = (int(status.split(f"{name}:")[1].split()[0]) * 1024 for name in ("VmSize", "VmRSS"))
    resource.setrlimit(resource.RLIMIT_AS, (size + GB, size + GB))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    done = CliRunner().invoke(assay, [words[0], "--store", str(folder / "store"), *words[1:]])
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    result.send((done.exit_code, done.stdout, done.stderr, max(0, peak - resident)))
    result.close()


def state(folder: Path) -> set[tuple[str, str]]:
    """Every file below a folder but locks, which are taken before anything is read, with a hash of its content."""
    return {
        (str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


if __name__ == "__main__":
    main()
