"""Weights that an ONNX file keeps in other files: names them, and puts them back into the file.

ONNX Runtime would read them by itself from wherever the file says, unseen by the hashes of the model. So it never gets
to see such a file: its tensors are filled from bytes that were read and hashed before, and the whole is checked then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from assay.errors import ModelError

PLAIN = re.compile(r"[\w+ -][\w.+ -]{0,199}")
"""The name of a file beside the detector: no folder, not hidden."""
MOST = 2**31 - 2**20
"""Bytes of a whole file, a limit of the format."""


def side_files(content: bytes, name: str) -> dict[str, str]:
    """Name in the model folder -> name of the file beside the detector, for each that holds weights of an ONNX file.

    Raises ModelError for a place that is no plain file name; a file that is no ONNX names none.
    """
    try:
        import onnx
    except ImportError:  # the loader says what to install
        return {}
    try:
        model = onnx.ModelProto.FromString(content)
    except Exception:  # noqa: BLE001 - the error class of protobuf; the loader reports it
        return {}
    places = sorted({_entries(tensor).get("location", "") for tensor in external(model)})
    if unfit := [place for place in places if not PLAIN.fullmatch(place)]:
        raise ModelError(f"keeps weights in '{unfit[0][:80]}'; they must be in a file beside it, without a folder")
    return {f"external-{number}.bin": place for number, place in enumerate(places)}


def inlined(content: bytes, sides: Mapping[str, bytes]) -> bytes:
    """The file with all its weights inside; raises ModelError where they are missing, cut short or too many."""
    import onnx

    if not sides:
        return content
    model = onnx.ModelProto.FromString(content)
    files = {place: sides.get(name) for name, place in side_files(content, "").items()}
    total = len(content)
    for tensor in external(model):
        entries = _entries(tensor)
        file = files[entries.get("location", "")]
        if file is None:
            raise ModelError(f"lacks '{entries['location']}', which holds its weights; bring it again with that file")
        first, length = _number(entries, "offset", 0), _number(entries, "length", None)
        last = len(file) if length is None else first + length
        if not 0 <= first <= last <= len(file):
            raise ModelError(
                f"wants bytes {first} to {last} of '{entries['location']}' for '{tensor.name[:60]}', which has "
                f"{len(file)}; is it of another export, or cut short? Copy both files again"
            )
        total += last - first
        if total > MOST:
            raise ModelError(f"has more than {MOST >> 20} MB of weights, the most that one ONNX file can hold")
        tensor.raw_data = file[first:last]
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    whole: bytes = model.SerializeToString()
    return whole


def external(model: Any) -> Iterator[Any]:
    """Every tensor of a message that lies in another file, wherever it is."""
    import onnx

    for message in messages(model):
        if message.DESCRIPTOR.name == "TensorProto" and (
            message.data_location == onnx.TensorProto.EXTERNAL or message.external_data
        ):
            yield message


def messages(message: Any) -> Iterator[Any]:
    """A message and all nested ones: subgraphs, functions, attributes, sparse tensors, training information."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for below in value if field.is_repeated else (value,):
                yield from messages(below)


def _entries(tensor: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _number(entries: Mapping[str, str], key: str, default: int | None) -> Any:
    text = entries.get(key)
    if text is None:
        return default
    if not text.isdigit() or len(text) > 18:
        raise ModelError(f"states the {key} '{text[:40]}' for weights in '{entries['location']}'; export it again")
    return int(text)
