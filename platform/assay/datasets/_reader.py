"""What all readers have in common: a reader lists the images of a layout, and this makes a dataset of them.

A reader is a small function that returns a `Table`, a row for each image, decorated with `published` where the layout
comes with a split, with `drawn` where it has none, or with `either` where that depends on the files. The decorator adds
the parameters that every dataset has.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from annotated_types import Ge, Le
from pydantic import BeforeValidator

from assay.contracts import Dataset, Duplicates, Filter, Fit, Plain, Sample, Split
from assay.data import masks
from assay.data.decode_cache import How, pictures
from assay.data.file_facts import contents, file_hashes, in_parallel
from assay.data.grouped_split import anomaly_shares, components, group_names, normal_shares, refuse_equal_ids
from assay.data.images import composed, height_and_width, upright_size
from assay.data.shrinking import Rule
from assay.datasets._categories import Lister, combined, widened
from assay.datasets._labelled import Contamination, Labelled, check_kinds, draw
from assay.datasets._parts import Placed, Shares, parts
from assay.datasets._rows import Row, Table
from assay.errors import DataError, InputError
from assay.remote import mirror
from assay.units import Fraction, ImageSize

RESERVED = ("all", "normal", "worst_kind", "worst_category")
"""Names that stand for something else in tables of figures, so that no kind of defect may have them."""


def _fit(value: Any) -> Any:
    """Tiles, which are asked for here by those who know them as a way of shrinking, are a matter of the model."""
    if value == "tiles":
        raise ValueError(
            "must be stretch, letterbox or crop; images in tiles: set `trainable: tiled` (`assay show trainables "
            "tiled`), and `image_size: native` here"
        )
    return value


@dataclass(frozen=True, kw_only=True)
class Options:
    """Parameters of every dataset.

    fit: what becomes of images of another aspect: "stretch", "letterbox" (all of the image, black bars beside it) or
    "crop" (the middle of it). filter: by which they are shrunk; masks follow both.
    validation_fraction: share of the normals to train on that is set aside for validation, drawn by seed.
    validation_anomaly_fraction: share of every kind used for validation if these are "labelled", at least one image of
    a kind with three or more. With "pseudo", every anomaly is test.
    labelled_anomalies: number of test anomalies moved to training. contamination: share of the train images that are
    anomalies labelled as normal. labelled_seed draws both from the test split, at most half of the labelled_kinds.
    labelled_kinds: kinds that may be drawn, default all; other kinds stay unseen, in the test split only.
    group_pattern: a regular expression searched in the ids; its first group names images that belong together, such as
    the views of a part: they stay in one split, and intervals resample them together.
    bit_depth: of the values in 16-bit files. mask_above: the value above which a pixel of a mask is marked, if that
    cannot be found from the masks. large_defects: defects cover most of their image.
    duplicates: of images with the same pixels. "refuse" refuses them in two splits and counts those of one split once
    in every interval, "drop" keeps one of each, of the test split first, "allow" takes all as they are
    (allow_duplicates: its older name).
    """

    image_size: ImageSize = 128
    fit: Annotated[Fit, BeforeValidator(_fit)] = "stretch"
    filter: Filter = "bilinear"
    channels: Literal[1, 3] = 3
    split_seed: Annotated[int, Ge(0)] = 0
    validation_fraction: Fraction = 0.2
    validation_anomaly_fraction: Fraction = 1 / 3
    validation_anomalies: Literal["labelled", "pseudo"] = "labelled"
    labelled_anomalies: Labelled = 0
    labelled_kinds: list[str] | None = None
    labelled_seed: Annotated[int, Ge(0)] = 0
    contamination: Contamination = 0
    group_pattern: str | None = None
    bit_depth: Annotated[int, Ge(8), Le(16)] | None = None
    mask_above: Annotated[int, Ge(0), Le(65534)] | None = None
    large_defects: bool = False
    duplicates: Duplicates = "refuse"
    allow_duplicates: bool = False
    licence: str | None = None


@dataclass(frozen=True, kw_only=True)
class PublishedOptions(Options):
    """test_fraction: share of the published train normals used as test normals, for layouts that have none."""

    test_fraction: Fraction = 0.0


@dataclass(frozen=True, kw_only=True)
class DrawnOptions(Options):
    """train_fraction, validation_fraction: shares of the normals; the rest are test."""

    train_fraction: Fraction = 0.6


@dataclass(frozen=True, kw_only=True)
class EitherOptions(PublishedOptions, DrawnOptions):
    """test_fraction: of a published split, share of its train normals used as test normals, if it has none.

    train_fraction: where there is no published split, share of the normals to train on; the rest are test.
    """


Decorator = Callable[[Callable[..., Table]], Callable[..., Dataset]]


def published(categories: Lister | None = None, **defaults: Any) -> Decorator:
    """Make a reader of a layout that has a split a dataset.

    categories: what lists them, where a reader is of one category: its dataset then takes several. defaults: of
    parameters that differ.
    """
    return functools.partial(_dataset, PublishedOptions, defaults, categories)


def drawn(categories: Lister | None = None, **defaults: Any) -> Decorator:
    """Make a reader of a layout without a split a dataset; parameters as of `published`."""
    return functools.partial(_dataset, DrawnOptions, defaults, categories)


def either(categories: Lister | None = None, **defaults: Any) -> Decorator:
    """Make a reader of layouts with a split and without one a dataset; parameters as of `published`."""
    return functools.partial(_dataset, EitherOptions, defaults, categories)


def _dataset(
    kind: type[Options], defaults: Plain, categories: Lister | None, read: Callable[..., Table]
) -> Callable[..., Dataset]:
    common = {one.name: defaults.get(one.name, one.default) for one in dataclasses.fields(kind)}
    own = inspect.signature(read).parameters

    @functools.wraps(read)
    def dataset(**values: Any) -> Dataset:
        options = kind(**{name: values.get(name, default) for name, default in common.items()})
        shares = _shares(options)  # says what is wrong with them before anything is read
        with mirror.near({name: values[name] for name in own if name in values}) as given:
            try:
                table = combined(read, categories, given) if categories else read(**given)
                return _assembled(table, options, shares)
            except PermissionError as error:
                raise DataError(
                    f"{error.filename}: cannot be read ({error.strerror}); allow it to this user (chmod, chown)"
                ) from error

    added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in common.items()]
    dataset.__signature__ = inspect.Signature([*own.values(), *added])  # type: ignore[attr-defined]
    dataset.__annotations__ = {
        **get_type_hints(kind, include_extras=True),
        **widened(get_type_hints(read, include_extras=True), categories),
        "return": Dataset,
    }
    dataset.__doc__ = f"{inspect.cleandoc(read.__doc__ or '')}\n\n{_described(kind)}"
    return dataset


def _described(kind: type[Options]) -> str:
    """What the parameters that every dataset has mean."""
    own = "" if kind is Options else f"{inspect.cleandoc(kind.__doc__ or '')}\n"
    return own + inspect.cleandoc(Options.__doc__ or "").split("\n", 2)[2]


def _assembled(table: Table, options: Options, shares: Shares) -> Dataset:
    """The dataset of a table: every row in a split, and every mask looked at."""
    rows = sorted(map(_composed, table.rows), key=lambda row: row.id)
    _check_names(rows)
    check_kinds(options.labelled_kinds, {row.kind for row in rows if row.label})
    ids = [row.id for row in rows]
    refuse_equal_ids(ids)
    groups = [row.group for row in rows]
    if options.group_pattern is not None:
        groups = list(group_names(ids, options.group_pattern))
    groups = [
        f"{row.category}/{group}" if row.category and group else group for row, group in zip(rows, groups, strict=True)
    ]
    _check_groups(rows, groups)
    keys = _keys(rows, groups, options, table.distinct)
    seen = None if options.labelled_kinds is None else set(options.labelled_kinds)
    shares = _without_own(shares, {row.label for row in rows if row.split == "validation"})
    placed = [
        Placed(key, row.label, row.kind, row.split, _stratum(row), row.category or "")
        for key, row in zip(keys, rows, strict=True)
    ]
    chosen = parts(placed, shares, options.split_seed, seen)
    if options.validation_anomalies == "pseudo":
        chosen = [None if row.label and part == "validation" else part for row, part in zip(rows, chosen, strict=True)]
    samples = [
        Sample(row.id, row.path, row.label, part, row.kind if row.label else "normal", group, row.masks, row.category)
        for row, part, group in zip(rows, chosen, groups, strict=True)
        if part is not None
    ]
    aside = [row.id for row, part in zip(rows, chosen, strict=True) if part is None]
    moved, notes = draw(
        samples,
        labelled=options.labelled_anomalies,
        contamination=options.contamination,
        seed=options.labelled_seed,
        kinds=options.labelled_kinds,
        keys=dict(zip(ids, keys, strict=True)),
    )
    above = table.mask_above if options.mask_above is None else options.mask_above
    about = masks.examined(moved, above, large_defects=options.large_defects)
    notices = [*table.notices, *about.notices]
    bare = [sample.id for sample in moved if sample.label and not sample.masks]
    if bare and any(sample.masks for sample in moved):
        notices.append(f"{len(bare)} anomalies have no mask, and count in no figure of places: {masks.named(bare)}")
    if aside:
        why = "among the images to train on" if options.validation_anomalies == "labelled" else "outside the test split"
        notices.append(f"{len(aside)} anomalies {why} are set aside: {masks.named(aside)}")
    return Dataset(
        name=table.name,
        samples=tuple(moved),
        image_size=options.image_size,
        fit=options.fit,
        filter=options.filter,
        channels=options.channels,
        validation_anomalies=options.validation_anomalies,
        duplicates="allow" if options.allow_duplicates else options.duplicates,
        licence=table.licence if options.licence is None else options.licence,
        bit_depth=options.bit_depth,
        mask_above=about.above,
        notes={
            "split_seed": options.split_seed,
            **table.notes,
            **({"anomalies_set_aside": len(aside)} if aside else {}),
            **_about_masks(moved, about.empty),
            **notes,
        },
        notices=tuple(notices),
    )


def _composed(row: Row) -> Row:
    """A row whose names are in one Unicode form: the same folder, copied by a Mac, must be the same dataset."""
    if row.id.isascii() and row.kind.isascii() and (row.group or "").isascii():
        return row
    group = None if row.group is None else composed(row.group)
    id_, kind, stratum = (composed(name) for name in (row.id, row.kind, row.stratum))
    return dataclasses.replace(row, id=id_, kind=kind, stratum=stratum, group=group)


def _about_masks(samples: Sequence[Sample], empty: int) -> dict[str, int | str]:
    without = sum(sample.label and not sample.masks for sample in samples)
    if not any(sample.masks for sample in samples):
        return {}
    return {"anomalies_without_mask": without, "empty_masks": empty}


def _stratum(row: Row) -> str:
    of_split = f" {row.split}" if row.split else ""
    kind = row.kind.removeprefix(f"{row.category}/") if row.label else "normal"  # a category is split as if alone
    return row.stratum or f"{row.label} {kind}{of_split}"


def _shares(options: Options) -> Shares:
    """What share of a stratum each split gets, by one of its images and how many it holds."""
    anomalies = anomaly_shares(options.validation_anomaly_fraction, options.validation_anomalies)
    if not isinstance(options, EitherOptions):  # say what is wrong before anything is read
        _normal_shares(options, isinstance(options, PublishedOptions))

    def shares(one: Placed, count: int) -> dict[Split, float]:
        if one.label == 0:
            return _normal_shares(options, one.split is not None)
        if one.split is None or count < 3 or not anomalies["validation"]:
            return anomalies
        return anomaly_shares(max(anomalies["validation"], 1 / count), "labelled")

    return shares


def _normal_shares(options: Options, published: bool) -> dict[Split, float]:
    if isinstance(options, DrawnOptions) and not published:
        return normal_shares(options.train_fraction, options.validation_fraction)
    test = options.test_fraction if isinstance(options, PublishedOptions) else 0.0
    train = 1 - options.validation_fraction - test
    if train <= 1e-9:
        taken = f"validation_fraction {options.validation_fraction:g}" + (f", test_fraction {test:g}" if test else "")
        raise InputError(f"{taken} leaves nothing to train on; it must be below 1 in all")
    return {"train": train, "validation": options.validation_fraction, "test": test}


def _without_own(shares: Shares, labels: AbstractSet[int]) -> Shares:
    """The same, without a share for validation of classes (labels) of which the published split has its own there."""

    def kept(one: Placed, count: int) -> dict[Split, float]:
        own = shares(one, count)
        if one.label not in labels or one.split is None:
            return own
        rest: Split = "test" if one.label else "train"
        return {**own, rest: own[rest] + own["validation"], "validation": 0.0}

    return kept


def _keys(rows: Sequence[Row], groups: Sequence[str | None], options: Options, distinct: bool) -> list[str]:
    """A key for every image: images of one group, and equal images, have the same and stay in one split.

    In a published split only files with the same bytes of one stratum are equal; without one, pictures in any format.
    """
    ids, paths = [row.id for row in rows], [row.path for row in rows]
    if distinct:
        return components(ids, groups)
    if any(row.split is None for row in rows):
        return components(ids, groups, _pictures(paths, options))
    strata = [f"{row.category} {row.split} {row.stratum or row.kind}" for row in rows]
    hashes = [f"{stratum} {file}" for stratum, file in zip(strata, file_hashes(paths), strict=True)]
    return components(ids, groups, hashes)


def _pictures(paths: Sequence[Path], options: Options) -> list[str]:
    """A name for the picture in each file; the images are decoded as they will be trained on, and once for both."""
    if options.image_size != "native":
        size = height_and_width(options.image_size)
    elif len(sizes := set(in_parallel(upright_size, paths))) == 1:
        size = sizes.pop()
    else:
        return [content.hash for content in contents(paths)]
    return pictures(paths, How(size, options.channels, options.bit_depth, Rule(options.fit, options.filter)))


def _check_groups(rows: Sequence[Row], groups: Sequence[str | None]) -> None:
    """Raise DataError for groups of which the published split has images in two splits."""
    splits: dict[str, set[str]] = {}
    for row, group in zip(rows, groups, strict=True):
        if group is not None and row.split is not None:
            splits.setdefault(group, set()).add(row.split)
    if broken := sorted(group for group, of in splits.items() if len(of) > 1):
        raise DataError(
            f"{len(broken)} groups are in two splits: {masks.named(broken)}. Images of one part must not be in two; if "
            "these names merely occur twice, take the folder into the group"
        )


def _check_names(rows: Sequence[Row]) -> None:
    """Raise DataError for names that would end the work later: kinds that stand for something else, odd bytes."""
    counts = Counter(row.kind for row in rows if row.label)
    if bad := sorted(kind for kind in counts if kind.casefold() in RESERVED):
        raise DataError(
            f"a kind of defect is called '{bad[0]}' ({counts[bad[0]]} images), a name that stands for something else "
            f"in tables of figures, as {', '.join(RESERVED)} do; rename its folder, or the kind in its file"
        )
    if not rows:
        raise DataError("the dataset holds no image; check its root")
