"""A `.pt2` archive made safe: of a file from outside, torch gets to see only tensors and calls of its own operators.

`torch.export.load` must not see such a file as it is. It unpickles sample inputs, tensor subclasses, custom objects and
the weights of older formats without limits, loads compiled libraries, evaluates symbolic sizes as Python (through
sympy), looks operators up anywhere below `torch`, and writes names into source code that it then runs. So the archive
is written anew from what is understood here: raw tensors and a graph whose every text is plain. All else is left out
where it is not needed, and refused where it is.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from assay.errors import ModelError

PROGRAM = "models/model.json"
TENSORS = {"weights": re.compile(r"weight_\d+"), "constants": re.compile(r"tensor_\d+")}
"""Folder below data/ -> how the files of raw tensors in it are called."""

KEPT = re.compile(
    r"archive_format|archive_version|byteorder"
    r"|data/weights/(?:weight_\d+|model_weights_config\.json)"
    r"|data/constants/(?:tensor_\d+|model_constants_config\.json)"
)
"""Files that go into the new archive as they are."""

PLAIN = re.compile(r"[\w.+-]*")
"""Names of tensors, arguments, modules and devices."""

OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!save\.|load\.|from_file\.)\w+\.\w+"
    r"|torch\.ops\.higher_order\.wrap_with_(?:set_grad_enabled|autocast)"
    r"|torch\.sym_\w+|math\.trunc"
    r"|_operator\.(?:getitem|eq|ne|le|ge|lt|gt|neg|pos|mul|add|sub|floordiv|mod|pow|truediv|and_|or_|lshift|rshift)"
)
"""Operators on tensors, and arithmetic on sizes. None reads or writes a file."""

SIZE = re.compile(r"Symbol\('([su]\d+)'(?:, \w+=(?:True|False))*\)")
EXPRESSION = re.compile(
    rf"(?:{SIZE.pattern}|[-\d(), ]|\b(?:Integer|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv"
    r"|ModularIndexing|Equality|Unequality|LessThan|GreaterThan|StrictLessThan|StrictGreaterThan)(?=\())*"
)
"""A symbolic size as sympy writes it, `Symbol('s7', positive=True)`, and arithmetic on such, `Mul(Integer(2), ...)`."""

ONE_TENSOR_IN = [1, {"type": "builtins.tuple", "context": "null", "children_spec": [
    {"type": "builtins.tuple", "context": "null", "children_spec": [
        {"type": None, "context": None, "children_spec": []}]},
    {"type": "builtins.dict", "context": "[]", "children_spec": []}]}]  # fmt: skip
ONE_TENSOR_OUT = [1, {"type": None, "context": None, "children_spec": []}]
"""How the archive says that the program is called with one tensor and returns one."""


def vetted(content: bytes) -> tuple[bytes, dict[str, Any]]:
    """The archive that torch may load, and the program in it as JSON; raises ModelError for one that is refused."""
    records = _records(content)
    for folder, name in TENSORS.items():
        for file in _files(records, f"data/{folder}/model_{folder}_config.json", name):
            if f"data/{folder}/{file}" not in records:
                raise ModelError(f"lacks data/{folder}/{file}; it was cut short, export it again")
    program = _json(records, PROGRAM)
    _strip(program)
    for key, text in _texts(program):
        _check_text(key, text)
    return _written(records, program), program


def _records(content: bytes) -> dict[str, bytes]:
    """The files of the archive by their path below its one top folder."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            records = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ModelError(f"is no .pt2 archive ({error}); save one with torch.export.save") from error
    if any(name.startswith("data/aotinductor/") for name in records):
        raise ModelError("holds a compiled library, which would run unseen; save the program with torch.export.save")
    if records.get("archive_format") != b"pt2" or PROGRAM not in records:
        raise ModelError("is no exported program of a format that is read here; save it with torch.export.save")
    return records


def _files(records: dict[str, bytes], config: str, name: re.Pattern[str]) -> Iterator[str]:
    """The files of raw tensors that a config names; raises ModelError where one is a pickle."""
    if config not in records:
        raise ModelError("keeps its weights as a pickle, which is never loaded; save it again with torch.export.save")
    for key, meta in _json(records, config).get("config", {}).items():
        file = str(meta.get("path_name"))
        if meta.get("use_pickle") is not False or not name.fullmatch(file):
            raise ModelError(
                f"keeps '{key}' as a pickle ({file}), which is never loaded; only plain tensors can be weights or "
                "constants, no tensor subclasses and no objects"
            )
        yield file


def _json(records: dict[str, bytes], name: str) -> dict[str, Any]:
    try:
        found = json.loads(records[name])
    except ValueError as error:
        raise ModelError(f"has a {name} that is not JSON ({error}); export it again") from error
    if not isinstance(found, dict):
        raise ModelError(f"has a {name} that is no mapping; export it again")
    return found


def _strip(program: dict[str, Any]) -> None:
    """Take out what scores do not need: comments of the exporter, guards as source code, the tree of modules."""
    try:
        graph = program["graph_module"]
        [whole, *_] = graph["module_call_graph"]
        called = [json.loads(whole["signature"].pop(spec)) for spec in ("in_spec", "out_spec")]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError("does not say how it is called; export it again with torch.export.export") from error
    if called != [ONE_TENSOR_IN, ONE_TENSOR_OUT]:
        raise ModelError("must take one tensor, the images (B, C, H, W), and return one, the scores (B,)")
    whole["signature"] |= {"in_spec": json.dumps(ONE_TENSOR_IN), "out_spec": json.dumps(ONE_TENSOR_OUT)}
    graph |= {"module_call_graph": [whole], "metadata": {}, "treespec_namedtuple_fields": {}}
    program |= {"guards_code": []}
    for node in _nodes(graph):
        node["metadata"] = {}


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every node of the graph, those of graphs inside it too."""
    if isinstance(value, dict):
        if "target" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for below in value:
            yield from _nodes(below)


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text with the key it stands under, and every key itself."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield "", name
            yield from _texts(below, name)
    elif isinstance(value, list):
        for below in value:
            yield from _texts(below, key)
    elif isinstance(value, str):
        yield key, value


def _check_text(key: str, text: str) -> None:
    if "custom_obj" in text and key == "":
        if text != "custom_obj_values":  # it is there, and empty, in every program
            raise ModelError("uses a custom object, which would have to be unpickled; use tensors alone")
    elif key in ("target", "as_operator"):
        if not OPERATOR.fullmatch(text):
            raise ModelError(f"calls '{text}'; only PyTorch's own operators on tensors (torch.ops.aten) are run")
    elif key in ("in_spec", "out_spec", "as_string", "as_strings"):
        return  # the first two are written above; the others are arguments, quoted wherever they are used
    elif not (EXPRESSION if key == "expr_str" else PLAIN).fullmatch(text):
        raise ModelError(f"holds the text {text[:60]!r} where a plain name or size is wanted; it would be run as code")


def _written(records: dict[str, bytes], program: dict[str, Any]) -> bytes:
    """An archive of the raw tensors, their configs and the program, with empty sample inputs."""
    kept = {name: record for name, record in records.items() if KEPT.fullmatch(name)}
    kept |= {PROGRAM: json.dumps(program).encode(), "data/sample_inputs/model.pt": b"", ".data/version": b"3\n"}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, record in kept.items():
            archive.writestr(f"program/{name}", record)
    return content.getvalue()
