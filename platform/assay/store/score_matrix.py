"""The scores of an audit as a matrix: samples on one axis, what was done to them on the other.

It is filled part by part, so that millions of rows of SCORES take no more memory than their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assay.errors import DataError
from assay.store.schemas import CATEGORY, GROUP

Floats = NDArray[np.float64]

CLEAN, WORST, WORST_8BIT = "clean", "worst", "worst_8bit"
RESERVED = (CLEAN, WORST, WORST_8BIT, "certified", "corruptions", "any")
"""Attack names of the tables that no entry of a suite may have."""
DEPLOYED = "deployed:"
"""Before an attack name: its images, found on the audited detector, scored by the deployed file."""
SEED, SEED_CLEAN = "worst_seed", "worst_seed:clean"
"""What gates call the figures of the least good seed of training, attacked and clean."""
ALL, WORST_KIND, WORST_CATEGORY = "all", "worst_kind", "worst_category"
"""Defect names of the tables that no defect kind may have."""

KEYS = ("model", "dataset", "sample", "label", "defect", "attack", "norm", "epsilon", "direction", "clean_score")
SCORE, ROUNDED = "adversarial_score", "rounded_score"
SELECTION = "selection_score"
"""Of a random score another draw of SCORE: by it the worst of several attacks is chosen, and SCORE is reported."""
AGAIN = "audit the model again"


class Setting(NamedTuple):
    """What was done to the samples: an entry of the suite at one epsilon (pixel scale)."""

    attack: str
    norm: str
    epsilon: float


@dataclass(frozen=True)
class ScoreMatrix:
    """The samples (N,), sorted by id, and for each value column and setting its numbers (N,), NaN where not attacked.

    labels: 0 normal, 1 anomalous. clean: the clean scores. settings: sorted. The values have SELECTION only if it
    differs from SCORE somewhere: the score is random. groups: the physical part (N,) that each sample shows; None where
    no two show the same. categories: the kind of product (N,) that each sample shows; None where there is only one.
    """

    model: str
    dataset: str
    samples: NDArray[Any]
    labels: NDArray[np.int8]
    defects: NDArray[Any]
    clean: Floats
    settings: tuple[Setting, ...]
    values: Mapping[str, Mapping[Setting, Floats]]
    groups: NDArray[Any] | None = None
    categories: NDArray[Any] | None = None

    @property
    def toward(self) -> NDArray[np.int8]:
        """(N,) +1 where the attacker raises the score (normals), -1 where he lowers it."""
        return (1 - 2 * self.labels).astype(np.int8)


def columns(more: Sequence[str] = (ROUNDED,)) -> list[str]:
    """The columns of SCORES that `read` needs."""
    return [*KEYS, SCORE, *more]


def read(scores: pa.Table | Iterable[pa.Table], more: Sequence[str] = (ROUNDED,)) -> ScoreMatrix:
    """The matrix of SCORES of one model, in one table or part by part; its values are adversarial_score and `more`.

    Where a sample has several rows of one setting, the one furthest in the attacker's direction counts. Scores
    written before there was a SELECTION, or without it, are read as those of a score that is not random. Raises
    DataError where the rows are not fit to make figures of.
    """
    filling = _Filling(more)
    for part in [scores] if isinstance(scores, pa.Table) else scores:
        filling.add(part)
    return filling.done()


class _Filling:
    """A matrix that grows, its samples in the order in which they were met."""

    def __init__(self, more: Sequence[str]) -> None:
        self.names = (SCORE, *more)
        self.needed = columns(more)
        self.known: dict[str, set[str]] = {"model": set(), "dataset": set()}
        self.place: dict[str, int] = {}
        self.kinds: dict[str, int] = {}
        self.labels = np.empty(0, np.int8)
        self.defects = np.empty(0, np.int32)
        self.clean = np.empty(0)
        self.parts: dict[str, int] = {}  # groups
        self.groups = np.empty(0, np.int32)
        self.products: dict[str | None, int] = {}
        self.categories = np.empty(0, np.int32)
        self.values: dict[Setting, Floats] = {}  # (value columns, samples)

    def add(self, part: pa.Table) -> None:
        """Enter the rows of a part."""
        if not self.place and SELECTION in part.column_names and not part[SELECTION].null_count:
            self.names = tuple(dict.fromkeys([*self.names, SELECTION]))
            self.needed = columns(self.names[1:])
        self._fit(part)
        if not len(part):
            return
        at, label = self._samples(part)
        toward = 1 - 2 * label
        if not (_numbers(part, "direction") == toward).all():
            raise DataError(f"direction must be +1 (raise) for normals and -1 (lower) for anomalies; {AGAIN}")
        values = [_numbers(part, name) for name in self.names]
        by = self.names.index(SELECTION) if SELECTION in self.names else 0
        reach = toward * values[by]
        for setting, rows in _settings(part):
            if setting.attack in RESERVED:
                raise DataError(
                    f"an attack is called '{setting.attack}', one of the names that stand for something else "
                    f"({', '.join(RESERVED)}); rename it"
                )
            held = self.values.get(setting, np.empty((len(values), 0)))
            held = self.values[setting] = _grown(held, len(self.place), np.nan)
            further = ~(reach[rows] <= toward[rows] * held[by, at[rows]])  # NaN: nothing was entered yet
            rows = rows[further][np.argsort(reach[rows][further], kind="stable")]  # of several, the last one stays
            for row, value in zip(held, values, strict=True):
                row[at[rows]] = value[rows]

    def _products(self, part: pa.Table) -> NDArray[np.int32]:
        """The number of each row's category."""
        codes, names = _encoded(part, CATEGORY) if _has_categories(part) else (np.zeros(len(part), np.int64), [None])
        return np.array([self.products.setdefault(name, len(self.products)) for name in names], dtype=np.int32)[codes]

    def done(self) -> ScoreMatrix:
        """The matrix, its samples sorted by id."""
        if not self.place:
            raise DataError("there are no scores; run the audit first")
        samples = np.array(list(self.place), dtype=object)
        order = np.argsort(samples)
        kinds = np.array(list(self.kinds), dtype=object)
        values: dict[str, dict[Setting, Floats]] = {name: {} for name in self.names}
        settings = tuple(sorted(self.values))
        for setting in settings:
            rows = _grown(self.values.pop(setting), len(samples), np.nan)
            for name, row in zip(self.names, rows, strict=True):
                values[name][setting] = row[order]
        chosen = values.get(SELECTION, {})
        if all(np.array_equal(chosen[one], values[SCORE][one], equal_nan=True) for one in chosen):
            values.pop(SELECTION, None)
        [model], [dataset] = self.known.values()
        labels, defects, clean = self.labels[order], kinds[self.defects[order]], self.clean[order]
        alone = len(self.parts) == len(samples)
        groups = None if alone else np.array(list(self.parts), dtype=object)[self.groups[order]]
        several = set(self.products) - {None}
        products = np.array(list(self.products), dtype=object)[self.categories[order]] if several else None
        return ScoreMatrix(model, dataset, samples[order], labels, defects, clean, settings, values, groups, products)

    def _fit(self, part: pa.Table) -> None:
        missing = [name for name in self.needed if name not in part.column_names]
        if missing:
            raise DataError(f"the scores lack the columns {', '.join(missing)}; they were not written by an audit")
        for name in [
            *self.needed,
            *([GROUP] if _grouped(part) else []),
            *([CATEGORY] if _has_categories(part) else []),
        ]:
            if part[name].null_count or (
                pa.types.is_floating(part[name].type) and np.isnan(part[name].to_numpy()).any()
            ):
                raise DataError(f"column {name} of the scores holds NaN or nothing in places; {AGAIN}")
        for name, known in self.known.items():
            known.update(_encoded(part, name)[1])
            if len(known) > 1:
                raise DataError(f"the scores are of {len(known)} {name}s; figures are of one {name} at a time")

    def _samples(self, part: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """The place of each row's sample, new ones added, and its label."""
        codes_of_samples, ids = _encoded(part, "sample")
        places = np.array([self.place.setdefault(sample, len(self.place)) for sample in ids], dtype=np.int64)
        at = places[codes_of_samples]
        codes, names = _encoded(part, "defect")
        if bad := {ALL, WORST_KIND, WORST_CATEGORY} & set(names):
            raise DataError(f"a defect kind is called '{min(bad)}', a name that stands for something else; rename it")
        defect = np.array([self.kinds.setdefault(name, len(self.kinds)) for name in names], dtype=np.int32)[codes]
        codes, names = _encoded(part, GROUP) if _grouped(part) else (codes_of_samples, ids)
        group = np.array([self.parts.setdefault(name, len(self.parts)) for name in names], dtype=np.int32)[codes]
        product = self._products(part)
        label = _numbers(part, "label").astype(np.int8)
        count = len(self.place)
        self.categories = _grown(self.categories, count, -1)
        self.labels, self.groups = _grown(self.labels, count, -1), _grown(self.groups, count, -1)
        self.defects, self.clean = _grown(self.defects, count, -1), _grown(self.clean, count, np.nan)
        new = self.labels[at] < 0
        self.labels[at[new]], self.defects[at[new]] = label[new], defect[new]
        self.clean[at[new]], self.groups[at[new]] = _numbers(part, "clean_score")[new], group[new]
        self.categories[at[new]] = product[new]
        if (self.groups[at] != group).any():
            raise DataError(f"every sample needs one group, the same in all its rows; {AGAIN}")
        if (self.categories[at] != product).any():
            raise DataError(f"every sample needs one category, the same in all its rows; {AGAIN}")
        if not np.isin(label, (0, 1)).all() or (self.labels[at] != label).any() or (self.defects[at] != defect).any():
            raise DataError(
                "every sample needs one label, 0 (normal) or 1 (anomalous), and one defect, the same in all its rows; "
                f"{AGAIN}"
            )
        return at, label


def _has_categories(part: pa.Table) -> bool:
    return CATEGORY in part.column_names and part[CATEGORY].null_count < len(part)


def _grouped(part: pa.Table) -> bool:
    """Whether samples have groups; in older tables there is no such column, or nothing in it, and else each its own."""
    return GROUP in part.column_names and part[GROUP].null_count < len(part) and not part[GROUP].equals(part["sample"])


def _settings(part: pa.Table) -> Iterable[tuple[Setting, NDArray[np.int64]]]:
    """Each setting of a part with its rows."""
    attack, attacks = _encoded(part, "attack")
    norm, norms = _encoded(part, "norm")
    epsilons, epsilon = np.unique(_numbers(part, "epsilon"), return_inverse=True)
    codes = (attack * len(norms) + norm) * len(epsilons) + epsilon
    for code in np.unique(codes):
        pair, which = divmod(int(code), len(epsilons))
        setting = Setting(attacks[pair // len(norms)], norms[pair % len(norms)], float(epsilons[which]))
        yield setting, np.flatnonzero(codes == code)


def _encoded(part: pa.Table, name: str) -> tuple[NDArray[np.int64], list[str]]:
    """A column of text as codes into the list of the words that occur in it."""
    column = part[name]
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    column = column.unify_dictionaries().combine_chunks()
    used, codes = np.unique(column.indices.to_numpy(), return_inverse=True)
    return codes, column.dictionary.take(pa.array(used)).to_pylist()


def _numbers(part: pa.Table, name: str) -> NDArray[Any]:
    values: NDArray[Any] = part[name].to_numpy()
    return values


def _grown(array: NDArray[Any], size: int, fill: float) -> NDArray[Any]:
    """The array, its last axis grown to at least `size` places; doubled, so that many small parts stay quick."""
    room = size - array.shape[-1]
    if room <= 0:
        return array
    more = np.full((*array.shape[:-1], max(room, array.shape[-1])), fill, dtype=array.dtype)
    return np.concatenate([array, more], axis=-1)
