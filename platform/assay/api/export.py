"""A model as one file for the line."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from assay import consent
from assay.api.arguments import StoreLike, one_model, store_of
from assay.errors import InputError
from assay.store.trials_table import Trial

if TYPE_CHECKING:
    from assay.contracts import Plain
    from assay.data.moved import Places
    from assay.deploy.export import Exported
    from assay.store.store import Store


def export(
    model: str | Trial,
    format: Literal["onnx", "pt2", "openvino"] = "onnx",
    *,
    output: Path | str | None = None,
    images: Path | str | None = None,
    data: Places = (),
    store: StoreLike = None,
    allow_import: Sequence[str] = (),
) -> Exported:
    """Write a model as one file that does everything but decoding, compared with the detector before it is left.

    The file takes uint8 images (B, C, H, W) of any number and size and gives scores (B,), decisions (B,) and, where
    the detector has one, a map (B, h, w). Beside it lie a sidecar, which says what was compared, and a card for
    `assay.audit`. model: as in `load`. output: the file, or the folder for one named by the service or the hash,
    made where it ends in `/`. images: a folder of images to compare on, by default the validation images. data: as
    in `audit`. allow_import: as in `load`.
    Raises ModelError, naming the operation, for a detector that cannot be exported, and where the file's scores or
    decisions differ: none is left behind then.

    >>> made = assay.export("demo:best", "pt2", output=f"{folder}/best.pt2", store=store)
    >>> made.parity.equal, made.parity.decisions_differ - made.parity.at_threshold
    (True, 0)
    """
    from assay.data import moved
    from assay.deploy import export as stage
    from assay.models import model_folder

    consent.allow(allow_import)
    if format not in stage.FORMATS:
        raise InputError(f"format '{format}' is not known; there is: {', '.join(stage.FORMATS)}")
    place = store_of(store)
    name = one_model(place, model, "export")
    suffix = stage.FORMATS[format].SUFFIX
    file = Path(output) if output is not None else Path()
    if str(output).endswith("/"):
        try:
            file.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{output}: no such folder can be made ({error.strerror})") from error
    if file.is_dir():
        file /= f"{_file_name(place, model, name)}{suffix}"
    folder = Path(images) if images is not None else None
    with moved.told(data):
        return stage.export(place, model_folder.load(place, name), format, file, folder, _verdict(place, name))


def _file_name(store: Store, model: str | Trial, name: str) -> str:
    """The service, if the model was named by it, else the beginning of its hash."""
    from assay.store import services

    return model if isinstance(model, str) and services.serving(store).get(model) == name else name[:12]


def _verdict(store: Store, name: str) -> Plain | None:
    """What the audit that counts says of a model, and since when; None of one that was not audited."""
    from assay.approval import registry

    today = datetime.datetime.now(datetime.UTC).date()
    one = next((one for one in registry.standings(store, today) if one.model == name), None)
    if one is None:
        return None
    return {"verdict": one.verdict or "nothing decided", "state": one.state, "audit": one.audit, "since": one.since}
