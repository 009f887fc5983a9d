"""Audits: attack a detector, open what an audit left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa

from assay import consent
from assay.api.arguments import StoreLike, policy_of, store_of, suite_of
from assay.approval.verdict import Verdict
from assay.errors import InputError
from assay.store import parquet, references, schemas
from assay.store.audit_reader import PARTS
from assay.store.audit_reader import Audit as AuditReader
from assay.store.store import Store
from assay.store.trials_table import Trial

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from assay.audits.audit import Progress
    from assay.audits.forecast import Forecast
    from assay.data.moved import Places

OF_A_MODULE = ("dataset", "threshold", "trained_on", "deployed")
"""Arguments of `audit` that say what the card of another detector, or its manifest, does."""

Table = Literal["metrics", "checks", "cost", "worst_case", "scores", "deployed", "corrupted", "certified", "minimal"]


@dataclass(frozen=True)
class Audit:
    """A finished audit in the store. id: its name there. location: its folder, or its URL."""

    id: str
    store: Store

    @cached_property
    def reader(self) -> AuditReader:
        """The folder as the report reads it: files, figures, scores by attack and sample."""
        return AuditReader(references.folder(self.store, self.id))

    @property
    def location(self) -> str:
        """Where the folder lies."""
        return self.store.place(f"audits/{self.id}")

    @property
    def model(self) -> str:
        """The hash of the audited model."""
        return str(self.reader.info["model"])

    @property
    def suite(self) -> str:
        """The name of the suite."""
        return str(self.reader.info["suite"]["name"])

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the figures must know: findings, attacks that could not be made, memory that ran out."""
        info = self.reader.info
        findings = [finding["text"] for finding in info["findings"]]
        notes = [note for note in (*info["dataset"].get("notices", ()), *info["notes"]) if note not in findings]
        return (
            *(f"note: {finding}" for finding in findings),
            *(f"not made: {one['attack']}, for {one['why']}" for one in info["left_out"]),
            *(f"note: {note}" for note in notes),
        )

    def to_arrow(self, table: Table = "metrics") -> pa.Table:
        """One of its tables; raises InputError for a name there is none of, DataError where it was not made."""
        names = get_args(Table)
        if table not in names:
            raise InputError(f"table '{table}' is not known; there is: {', '.join(names)}")
        folder = self.reader.folder
        schema = getattr(schemas, table.upper())
        if table not in PARTS:
            return parquet.load(folder, f"{table}.parquet", schema)
        tables = [parquet.load(folder, key, schema) for key in self.reader.parts(table)]
        return pa.concat_tables(tables) if tables else schema.empty_table()

    def to_pandas(self, table: Table = "metrics") -> pd.DataFrame:
        """One of its tables as a data frame; `metrics` holds every figure with its interval."""
        return self.to_arrow(table).to_pandas()

    def verdict(self, policy: Mapping[str, Any] | Path | str = "default") -> Verdict:
        """What a policy says of the audit; nothing is written, see `assay.approve` for that.

        policy: the name of a shipped one, a file, or a mapping. Raises InputError or SpecError for a wrong policy.
        """
        from assay.approval import judgement

        return judgement.judge(self.reader, policy_of(policy))

    def _repr_html_(self) -> str:
        from assay.reports.notebook import audit_html

        return audit_html(self.reader)


def audit(
    model: str | Path | Trial | nn.Module,
    suite: Mapping[str, Any] | Path | str = "standard",
    *,
    store: StoreLike = None,
    card: Path | str | None = None,
    dataset: Mapping[str, Any] | str | None = None,
    threshold: float | Mapping[str, float] | None = None,
    higher_is: Literal["anomalous", "normal"] = "anomalous",
    trained_on: Literal["train", "train and validation", "unknown"] | Sequence[str] | None = None,
    deployed: Mapping[str, Any] | Path | str | None = None,
    seed: int = 0,
    limit: int | None = None,
    workers: int | None = 1,
    gpus: float = 0.0,
    memory_gb: float | None = None,
    address: str | None = None,
    device: str = "cpu",
    surrogate: str | None = None,
    data: Places = (),
    allow_import: Sequence[str] = (),
    on_progress: Callable[[Progress], object] | None = None,
    on_forecast: Callable[[Forecast], object] | None = None,
) -> Audit:
    """Attack one model with every attack of a suite, on test images, and return the audit.

    model: a hash or its beginning, `SWEEP:best`, a trial of a sweep, a card or a file of a detector (.pt2, .onnx),
    `module:factory`, or an nn.Module, images (B, C, H, W) in [0, 1] -> scores (B,). An nn.Module needs `dataset` and
    `threshold` (a number, or {"false_alarm_rate": 0.05}), as a card would say them, and takes `higher_is`,
    `trained_on` and `deployed`.
    suite: the name of a shipped one, a file, or a mapping. limit: attack at most so many samples of each class.
    workers: jobs at a time, None for as many as there are cores; gpus: the share of a GPU for each, memory_gb: the
    memory; address: a Ray cluster. surrogate: another model, for attacks that are made on it.
    on_progress: called after every piece.
    data: where images lie now, by the names of their datasets; other images than those of training are refused.
    on_forecast: called with a forecast before the work; without it none is made.
    allow_import: installed modules that the store may name (docs/security.md).
    An interrupted audit goes on when it is asked for again. Raises InputError, SpecError, ModelError, DataError.

    >>> found = assay.audit("demo:best", suite, store=store)
    >>> found.suite, found.verdict(policy).verdict
    ('tiny', 'PASS')
    """
    from assay.audits import audit as stage
    from assay.data import moved
    from assay.runtime import devices

    consent.allow(allow_import)
    place = store_of(store)
    chosen = suite_of(suite)
    outside: dict[str, Any] = {"card": card, "dataset": dataset, "threshold": threshold}
    outside |= {"trained_on": trained_on, "deployed": str(deployed) if isinstance(deployed, Path) else deployed}
    if not isinstance(model, str | Path | Trial) and (workers != 1 or address):
        raise InputError("a detector in memory is audited in this process: leave workers at 1, and give no address")
    with moved.told(data):
        name = _model(place, model, {**outside, "higher_is": higher_is}, devices.here(device, address))
        audit_id = stage.run(
            place,
            name,
            chosen,
            seed=seed,
            limit=limit,
            workers=workers,
            gpus=gpus,
            memory_gb=memory_gb,
            address=address,
            device=device,
            surrogate=references.model(place, surrogate) if surrogate else None,
            on_progress=on_progress or (lambda _: None),
            on_forecast=on_forecast,
        )
    return Audit(audit_id, place)


def forecast_audit(
    model: str | Path | Trial,
    suite: Mapping[str, Any] | Path | str = "standard",
    *,
    store: StoreLike = None,
    card: Path | str | None = None,
    seed: int = 0,
    limit: int | None = None,
    workers: int | None = 1,
    device: str = "cpu",
    surrogate: str | None = None,
    data: Places = (),
    allow_import: Sequence[str] = (),
) -> Forecast:
    """How many passes and seconds each piece of an audit will take; nothing is attacked. Arguments as of `audit`.

    Attacks and checks are made on a tiny stand-in to count their passes, and a pass of the detector is timed here. A
    detector from elsewhere is brought into the store. Of an interrupted audit it is what is left.

    >>> ahead = assay.forecast_audit("demo:best", suite, seed=7, store=store)
    >>> [(piece.work, piece.parts, piece.backwards) for piece in ahead.jobs]
    [('noise-linf', 1, 0), ('pgd-linf', 1, 840), ('apgd-l2', 1, 896)]
    """
    from assay.audits import audit as stage
    from assay.data import moved
    from assay.runtime import devices

    consent.allow(allow_import)
    place = store_of(store)
    other = references.model(place, surrogate) if surrogate else None
    with moved.told(data):
        name = _model(place, model, {"card": card}, devices.here(device))
        prepared = stage.prepare(place, name, suite_of(suite), seed=seed, limit=limit, device=device, surrogate=other)
        return stage.foresee(place, prepared, workers)


def open_audit(name: str = "latest", *, store: StoreLike = None) -> Audit:
    """A finished audit: `latest`, an id or its beginning, or `SWEEP:best` (the newest of that model).

    Raises UnknownName or InputError.

    >>> found = assay.open_audit("latest", store=store)
    >>> found.to_pandas().query("attack == 'clean' and metric == 'auroc' and defect == 'all'").value.item() > 0.5
    True
    """
    place = store_of(store)
    return Audit(references.audit(place, name), place)


def models_of(store: Store, text: str, card: Path | str | None = None, device: str = "cpu") -> list[str]:
    """The hashes of the models that a name means; a detector from elsewhere is brought into the store first."""
    from assay.models import card as cards

    of_a_sweep = text.partition(":")[0] in store.names("sweeps")
    if card is not None or (cards.names_detector(text) and not of_a_sweep):
        from assay.cluster import user_code

        for file in (text, str(card or "")):
            if file.endswith(cards.YAML):
                user_code.beside(file)
        return [cards.bring(store, text, None if card is None else str(card), device)]
    return references.models(store, text)


def _model(store: Store, model: Any, outside: Mapping[str, Any], device: str) -> str:
    """The hash of the one model that is meant."""
    if isinstance(model, str | Path | Trial):
        if given := [key for key in OF_A_MODULE if outside.get(key) is not None]:
            raise InputError(f"{', '.join(given)}: goes with an nn.Module; other detectors have a card or a manifest")
        if isinstance(model, Trial):
            if not model.model:
                raise InputError(f"trial {model.number} is {model.state} and has no model")
            return model.model
        hashes = models_of(store, str(model), outside["card"], device)
        if len(hashes) != 1:
            raise InputError(f"'{model}' names {len(hashes)} models; audit them one by one: {', '.join(hashes)}")
        return hashes[0]
    from torch import nn

    from assay.models import card as cards

    if not isinstance(model, nn.Module):
        raise InputError(f"model: found {model!r}; give a name, a path, a trial of a sweep, or an nn.Module")
    if outside["card"] is not None:
        raise InputError("an nn.Module takes dataset and threshold as arguments, not a card")
    values = {key: value for key, value in outside.items() if value is not None}
    return cards.bring_object(store, model, values, device)
