"""Makes a `.pt2` archive from outside safe: torch only gets to see tensors and calls of its own operators.

`torch.export.load` must not see such a file directly. It unpickles sample inputs, tensor subclasses, custom objects and
the weights of older formats without limits, loads compiled libraries, evaluates symbolic sizes as Python (through
sympy), looks up operators anywhere below `torch`, and writes names into source code that it then runs. So the archive
is rewritten from the parts understood here: raw tensors, and a graph whose every text is plain. Everything else is left
out if it is not needed, and refused if it is.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from assay.contracts import Plain
from assay.errors import ModelError
from assay.models.loaders import _operators

PROGRAM = "models/model.json"
TENSORS = {"weights": re.compile(r"weight_\d+"), "constants": re.compile(r"tensor_\d+")}
"""Folder below data/ -> naming pattern of the raw tensors in it."""

ACCELERATORS = ("cuda", "mps", "xpu", "hip", "mtia", "hpu")
"""Devices, as torch calls them, on which a program may have been exported and need not be run."""

KEPT = re.compile(
    r"archive_format|archive_version|byteorder"
    r"|data/weights/(?:weight_\d+|model_weights_config\.json)"
    r"|data/constants/(?:tensor_\d+|model_constants_config\.json)"
)
"""Files that are copied into the new archive unchanged."""

PLAIN = re.compile(r"[\w.+-]*")
"""Names of tensors, arguments, modules and devices."""

ATEN = "torch.ops.aten."
OPERATOR = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+"
    r"|torch\.ops\.higher_order\.wrap_with_(?:set_grad_enabled|autocast)"
    r"|torch\.sym_\w+|math\.trunc"
    r"|_operator\.(?:getitem|eq|ne|le|ge|lt|gt|neg|pos|mul|add|sub|floordiv|mod|truediv|and_|or_)"
)
"""Operators on tensors, and arithmetic on sizes. None reads or writes a file."""

SIZE = re.compile(r"Symbol\('([su]\d+)'(?:, \w+=(?:True|False))*\)")
EXPRESSION = re.compile(
    rf"(?:{SIZE.pattern}|Pow\({SIZE.pattern}, Integer\([0-8]\)\)|[-\d(), ]"
    r"|\b(?:Integer|Add|Mul|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv"
    r"|ModularIndexing|Equality|Unequality|LessThan|GreaterThan|StrictLessThan|StrictGreaterThan)(?=\())*"
)
"""A symbolic size as sympy writes it, `Symbol('s7', positive=True)`, and arithmetic on such, `Mul(Integer(2), ...)`."""

LONGEST, DEEPEST, DIGITS = 1000, 10, re.compile(r"\d{20}")
"""Limits of an expression, which sympy computes however large: letters, nested brackets, a number that is too long."""
PRODUCTS = 8
"""Products of products of sizes, which double their digits each time."""
INFLATED, PROGRAM_BYTES = 4, 2**25
"""How many times its own size an archive may unpack to (torch compresses nothing), and the largest program."""
ELEMENTS = 2**26
"""The most elements of a tensor that a program makes by itself, or four times as many as the file has bytes."""
MAKERS = re.compile(
    r"torch\.ops\.aten\.(?:arange|linspace|logspace|eye|randperm|one_hot|\w+_window|tri[lu]_indices)\.\w+"
)
"""Operators that make a tensor as long as a number says."""

ONE_TENSOR_IN = [1, {"type": "builtins.tuple", "context": "null", "children_spec": [
    {"type": "builtins.tuple", "context": "null", "children_spec": [
        {"type": None, "context": None, "children_spec": []}]},
    {"type": "builtins.dict", "context": "[]", "children_spec": []}]}]  # fmt: skip
TENSOR: Plain = {"type": None, "context": None, "children_spec": []}
ONE_TENSOR_OUT = [1, TENSOR]
"""Declares in the archive that the program is called with one tensor and returns one."""
OUTPUTS = 8
"""The most tensors that a program may return, as a tuple."""


def vetted(content: bytes) -> tuple[bytes, Plain]:
    """The archive that torch may load, and its program as JSON; raises ModelError if the archive is refused."""
    try:
        return _vetted(content)
    except RecursionError as error:
        raise ModelError("is nested too deeply to be an exported program; export it again") from error


def _vetted(content: bytes) -> tuple[bytes, Plain]:
    records = _records(content)
    for folder, name in TENSORS.items():
        for file in _files(records, f"data/{folder}/model_{folder}_config.json", name):
            if f"data/{folder}/{file}" not in records:
                raise ModelError(f"lacks data/{folder}/{file}; it was cut short, export it again")
    program = _json(records, PROGRAM)
    _to_cpu(records, program)
    _strip(program)
    for key, text in _texts(program):
        _check_text(key, text)
    for node in _nodes(program):
        _check_numbers(node, max(ELEMENTS, 4 * len(content)))
    _check_products(program)
    return _written(records, program), program


def _records(content: bytes) -> dict[str, bytes]:
    """The files of the archive by their path below its one top folder."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {file.filename.partition("/")[2]: file for file in archive.infolist()}
            needed = {name: file for name, file in files.items() if KEPT.fullmatch(name) or name == PROGRAM}
            if sum(file.file_size for file in needed.values()) > INFLATED * len(content) + PROGRAM_BYTES:
                raise ModelError(f"unpacks to more than {INFLATED} times its size; save it with torch.export.save")
            if PROGRAM in needed and needed[PROGRAM].file_size > PROGRAM_BYTES:
                raise ModelError(f"has a program of more than {PROGRAM_BYTES >> 20} MB; no detector needs that")
            if any(file.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for file in needed.values()):
                raise ModelError("is compressed in a way that is not read; save it with torch.export.save")
            records = {name: archive.read(file) for name, file in needed.items()}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError, zlib.error) as error:
        if isinstance(error, RecursionError):
            raise
        raise ModelError(f"is no .pt2 archive ({error}); save one with torch.export.save") from error
    if any(name.startswith("data/aotinductor/") for name in files):
        raise ModelError("contains a compiled library, which would run unchecked; save it with torch.export.save")
    if records.get("archive_format") != b"pt2" or PROGRAM not in records:
        raise ModelError("is not an exported program in a supported format; save it with torch.export.save")
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


def _json(records: dict[str, bytes], name: str) -> Plain:
    try:
        parsed = json.loads(records[name])
    except ValueError as error:
        raise ModelError(f"has a {name} that is not JSON ({error}); export it again") from error
    if not isinstance(parsed, dict):
        raise ModelError(f"has a {name} that is not a mapping; export it again")
    return parsed


def _to_cpu(records: dict[str, bytes], program: Plain) -> None:
    """Name the CPU wherever a program exported on an accelerator names that: its raw tensors are the same anywhere."""
    for value in _mappings(program):
        _place_on_cpu(value)
    for folder in TENSORS:
        config = _json(records, name := f"data/{folder}/model_{folder}_config.json")
        moved = [_place_on_cpu(value) for value in _mappings(config)]
        if any(moved):
            records[name] = json.dumps(config).encode()


def _place_on_cpu(value: Plain) -> bool:
    """Turn a device that is an accelerator into the CPU; returns whether it was one."""
    if value.keys() != {"type", "index"} or value["type"] not in ACCELERATORS:
        return False
    value |= {"type": "cpu", "index": None}
    return True


def _mappings(value: Any) -> Iterator[Plain]:
    """Every mapping, however deeply nested."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for below in value:
            yield from _mappings(below)


def _strip(program: Plain) -> None:
    """Remove what scores do not need: comments of the exporter, guards as source code, the module tree."""
    try:
        graph = program["graph_module"]
        [whole, *_] = graph["module_call_graph"]
        called = [json.loads(whole["signature"].pop(spec)) for spec in ("in_spec", "out_spec")]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError("does not say how it is called; export it again with torch.export.export") from error
    known = [ONE_TENSOR_OUT, *(_tensors_out(count) for count in range(1, OUTPUTS + 1))]
    out = next((spec for spec in known if spec == called[1]), None)
    if called[0] != ONE_TENSOR_IN or out is None:
        raise ModelError("must take one tensor, the images (B, C, H, W), and return one, the scores (B,), or a tuple")
    whole["signature"] |= {"in_spec": json.dumps(ONE_TENSOR_IN), "out_spec": json.dumps(out)}
    graph |= {"module_call_graph": [whole], "metadata": {}, "treespec_namedtuple_fields": {}}
    program |= {"guards_code": []}
    for node in _nodes(graph):
        node["metadata"] = {}


def _tensors_out(count: int) -> list[Any]:
    """Declares that a program returns a tuple of so many tensors."""
    return [1, {"type": "builtins.tuple", "context": "null", "children_spec": [TENSOR] * count}]


def _nodes(value: Any) -> Iterator[Plain]:
    """Every node of the graph, including those of nested graphs."""
    if isinstance(value, dict):
        if "target" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for below in value:
            yield from _nodes(below)


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text with its key, and every key itself."""
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
        if text != "custom_obj_values":  # present, and empty, in every program
            raise ModelError("uses a custom object, which would have to be unpickled; use tensors alone")
    elif key in ("target", "as_operator"):
        if not OPERATOR.fullmatch(text) or (text.startswith(ATEN) and not _operators.allowed(text)):
            raise ModelError(f"calls '{text}'; only PyTorch's own operators on tensors (torch.ops.aten) are run")
    elif key in ("in_spec", "out_spec", "as_string", "as_strings"):
        return  # the first two are written above; the others are arguments, which are always quoted
    elif not (EXPRESSION if key == "expr_str" else PLAIN).fullmatch(text):
        raise ModelError(f"holds the text {text[:60]!r} where a plain name or size is wanted; it would be run as code")
    elif key == "expr_str" and (len(text) > LONGEST or _nesting(text) > DEEPEST or DIGITS.search(text)):
        raise ModelError(f"holds the size {text[:60]!r}, which is too long, too deep or too large to compute")


def _nesting(text: str) -> int:
    """How deep the brackets are."""
    depth = deepest = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        deepest = max(deepest, depth)
    return deepest


def _check_numbers(node: Mapping[str, Any], most: int) -> None:
    """Refuse sizes that stand in the program itself and would make a huge tensor whatever the images are."""
    for key, values in _lists(node):
        numbers = [abs(n) for n in values if type(n) is int and n]
        if (key == "as_ints" and math.prod(numbers) > most) or (
            key == "as_int" and MAKERS.fullmatch(str(node["target"])) and max(numbers, default=0) > most
        ):
            raise ModelError(f"makes a tensor of {values} with '{node['target']}'; {most:.3g} elements are the most")


def _lists(value: Any) -> Iterator[tuple[str, list[Any]]]:
    """Every argument that is a number or a list of such, sizes with names in them too, by its kind."""
    if isinstance(value, dict):
        for key, below in value.items():
            if key in ("as_int", "as_ints"):
                yield key, below if isinstance(below, list) else [below]
            elif key == "as_sym_ints" and isinstance(below, list):
                yield "as_ints", [one.get("as_int") for one in below if isinstance(one, dict)]
            else:
                yield from _lists(below)
    elif isinstance(value, list):
        for below in value:
            yield from _lists(below)


def _check_products(program: Plain) -> None:
    """Refuse products of products of sizes without end: Python computes them, however many digits they have."""
    depth: dict[str, int] = {}
    for node in _nodes(program):
        names = [text for key, text in _texts(node.get("inputs")) if key == "as_name"]
        deep = max((depth.get(name, 0) for name in names), default=0) + (node["target"] == "_operator.mul")
        if deep > PRODUCTS:
            raise ModelError(f"multiplies sizes more than {PRODUCTS} times in a row; export the detector again")
        if str(node["target"]).startswith("_operator."):
            depth |= {text: deep for key, text in _texts(node.get("outputs")) if key == "as_name"}


def _written(records: dict[str, bytes], program: Plain) -> bytes:
    """An archive of the raw tensors, their configs and the program, with empty sample inputs."""
    kept = {name: record for name, record in records.items() if KEPT.fullmatch(name)}
    kept |= {PROGRAM: json.dumps(program).encode(), "data/sample_inputs/model.pt": b"", ".data/version": b"3\n"}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, record in kept.items():
            archive.writestr(f"program/{name}", record)
    return content.getvalue()
