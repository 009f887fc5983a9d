"""From a dataset to decoded images: what a trial may see, what only the audit may see, and the hash of both.

A dataset is checked before any image is returned: its splits must not share a sample, a group or an image.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np

from assay.contracts import Dataset, Description, Images, Sample, Split, TrainingData, no_images
from assay.data import duplicates, file_facts, image_size, masks, near_duplicates
from assay.data.decode_cache import Decoded, How, decoded
from assay.data.duplicates import Pair
from assay.data.grouped_split import components
from assay.data.missing import without_figures
from assay.data.pseudo_validation import with_pseudo_anomalies
from assay.data.shrinking import Rule
from assay.errors import DataError

SPLITS: tuple[Split, ...] = get_args(Split)
ANOMALIES: tuple[Split, ...] = ("labelled", "contamination")
"""Splits of anomalies to train on."""
SINGULAR = {"are": "is", "have": "has", "hold": "holds"}

SHOWN = 5
DARK, FULL = 2**12, 2**15
"""Below the first lie all values of a camera of 12 bits; from the second on the largest of one that uses all 16."""
LAST: tuple[Split, ...] = ("test", "validation", "labelled", "contamination", "train")
"""Splits by which of them keeps a picture that is in several."""


def training_data(dataset: Dataset, *, cache: Path | None = None) -> TrainingData:
    """Train normals and the validation split, decoded; test images are read only to compare and hash them.

    cache: folder of decoded images; default ASSAY_CACHE or ~/.cache/assay. Pixels are memory-mapped and read-only,
    except in a validation split with pseudo-anomalies, which is made in memory.
    Contamination is mixed into the train images in the order of their hashes and labelled as normal; the description
    counts it. Raises DataError for images that cannot be decoded, an empty train split or one with anomalies, a
    validation or test split of only one class, and for samples, groups or images shared by two splits.
    """
    by_split = _decode_checked(dataset, cache)
    train, validation = _train(by_split), _images(*by_split["validation"])
    labelled = _images(*by_split["labelled"]) if "labelled" in by_split else no_images()
    notes: dict[str, int | str] = {**dataset.notes, **_repeated(by_split)}
    if dataset.validation_anomalies == "pseudo":
        samples, images = by_split["validation"]
        keys = components([s.id for s in samples], [s.group for s in samples], images.pictures)
        normals, validation = len(samples), with_pseudo_anomalies(validation, keys)
        notes["pseudo_anomalies_unchanged"] = normals - len(validation)
        _check_classes(dataset, "validation", validation.labels)
    splits = {name: _images(*of) for name, of in by_split.items()} | {"validation": validation}
    description: Description = {
        "name": dataset.name,
        "hash": _hash(by_split),
        "image_size": image_size.stated(dataset),
        "channels": dataset.channels,
        "counts": {name: _by_class(images, images.ids) for name, images in splits.items()},
        "validation_anomalies": dataset.validation_anomalies,
        "licence": dataset.licence,
        "notes": notes,
    }
    test = by_split["test"][0]
    torn = without_figures([sample.category for sample in test], [sample.label for sample in test])
    notices = [
        *dataset.notices,
        *([torn] if torn else []),
        *about_oddities(by_split),
        *about_depth(dataset, by_split),
        *_about_repeats(dataset, by_split, cache),
    ]
    if notices:
        description["notices"] = notices
    if shrinking := Rule(dataset.fit, dataset.filter).stated():
        description["shrinking"] = shrinking
    if any(images.group_names for images in splits.values()):
        description["groups"] = {name: _by_class(images, images.parts) for name, images in splits.items()}
    return TrainingData(train, validation, description, labelled)


def test_images(dataset: Dataset, *, cache: Path | None = None) -> Images:  # noqa: PT028 - not a test
    """The test split, decoded, for an audit; checked and cached like `training_data`, with the same errors."""
    return _images(*_decode_checked(dataset, cache)["test"])


def dataset_hash(dataset: Dataset, *, cache: Path | None = None) -> str:
    """SHA-256 (hex) of the decoded pixels, label, defect and split of every sample, whatever their order and folder."""
    return _hash(_decode_checked(dataset, cache))


BySplit = Mapping[Split, tuple[Sequence[Sample], Decoded]]


def _decode_checked(dataset: Dataset, cache: Path | None) -> BySplit:
    by_split = _decoded(dataset, cache)
    pairs = duplicates.repeated({name: (of, images.pictures) for name, (of, images) in by_split.items()})
    if not pairs or dataset.duplicates == "allow":
        return by_split
    _refuse(dataset, pairs, cache)
    if dataset.duplicates == "drop":
        kept = replace(dataset, samples=_once(dataset.samples, pairs))
        return _decoded(kept, cache)
    return {name: (duplicates.as_one(of, images.pictures), images) for name, (of, images) in by_split.items()}


def _decoded(dataset: Dataset, cache: Path | None) -> BySplit:
    """As `decoded_splits`; raises DataError for a dataset that nothing can be trained on."""
    _check_samples(dataset, _samples(dataset))
    found = decoded_splits(dataset, cache)
    _check_depth(dataset, max(max(images.largest) for _, images in found.values()))
    return found


def _samples(dataset: Dataset) -> dict[Split, list[Sample]]:
    """The samples of each split, those of the splits that a sweep must not see last."""
    return {name: [sample for sample in dataset.samples if sample.split == name] for name in SPLITS}


def decoded_splits(dataset: Dataset, cache: Path | None = None) -> BySplit:
    """Samples and decoded images of each split that has any; raises DataError for a file that cannot be decoded."""
    how = How(image_size.of(dataset), dataset.channels, dataset.bit_depth, Rule(dataset.fit, dataset.filter))
    by_split = {name: of for name, of in _samples(dataset).items() if of}
    images = decoded([[sample.path for sample in of] for of in by_split.values()], how, cache)
    return {name: (of, found) for (name, of), found in zip(by_split.items(), images, strict=True)}


def _check_depth(dataset: Dataset, largest: int) -> None:
    """Raise DataError for 16-bit files whose values use fewer bits: scaled as if they had 16, they would be black."""
    if dataset.bit_depth is None and 0 < largest < 2**15:
        bits = max(largest.bit_length(), 8)
        raise DataError(
            f"{dataset.name}: the largest value of all 16-bit images is {largest}, which {bits} bits hold. Set "
            f"`bit_depth: {bits}` if that is what the camera delivers, or `bit_depth: 16` if the images are dark"
        )


def _check_samples(dataset: Dataset, samples: Mapping[Split, Sequence[Sample]]) -> None:
    """Checks that need no decoding."""
    for sample in dataset.samples:
        if sample.split not in SPLITS or sample.label not in (0, 1):
            raise DataError(
                f"{dataset.name}: {sample.id} has split '{sample.split}' and label {sample.label}; "
                f"a split is one of {', '.join(SPLITS)}, a label 0 (normal) or 1 (anomalous)"
            )
    twice = [id_ for id_, count in Counter(sample.id for sample in dataset.samples).items() if count > 1]
    if twice:
        raise DataError(f"{dataset.name}: {len(twice)} ids name two samples each, such as {', '.join(twice[:SHOWN])}")
    if not samples["train"]:
        raise DataError(f"{dataset.name}: no image to train on; give the train split a larger share of the normals")
    anomalous = [sample.id for sample in samples["train"] if sample.label != 0]
    if anomalous:
        raise DataError(
            f"{dataset.name}: {len(anomalous)} anomalies in the train split, such as {', '.join(anomalous[:SHOWN])}; "
            "train on normals only"
        )
    normals = [sample.id for name in ANOMALIES for sample in samples[name] if sample.label != 1]
    if normals:
        raise DataError(
            f"{dataset.name}: {normals[0]} is a normal; the splits {', '.join(ANOMALIES)} hold anomalies only"
        )
    splits_of: dict[str, set[str]] = defaultdict(set)
    for sample in dataset.samples:
        if sample.group is not None:  # all training splits count as one, labelled or not
            splits_of[sample.group].add("train" if sample.split in ANOMALIES else sample.split)
    torn = sorted(group for group, names in splits_of.items() if len(names) > 1)
    if torn:
        raise DataError(f"{dataset.name}: {len(torn)} groups are in two splits, such as {', '.join(torn[:SHOWN])}")
    _check_classes(dataset, "test", _labels(samples["test"]))
    if dataset.validation_anomalies == "labelled":
        _check_classes(dataset, "validation", _labels(samples["validation"]))
    elif len(samples["validation"]) < 2 or any(sample.label for sample in samples["validation"]):
        raise DataError(
            f"{dataset.name}: with pseudo-anomalies the validation split must hold normals only, two or more"
        )


def _check_classes(dataset: Dataset, name: str, labels: np.ndarray) -> None:
    anomalies = int(labels.sum())
    if not 0 < anomalies < len(labels):
        raise DataError(
            f"{dataset.name}: the {name} split has only one class ({len(labels) - anomalies} normals, {anomalies} "
            "anomalies); it needs both: change the fractions, split_seed or validation_anomalies"
        )


def _refuse(dataset: Dataset, pairs: Sequence[Pair], cache: Path | None) -> None:
    """Raise DataError for the same image under two labels, or in two splits: it would make every figure wrong."""
    torn = [pair for pair in pairs if pair.one.label != pair.other.label]
    if dataset.duplicates == "refuse":
        torn = [pair for pair in pairs if pair.one.split != pair.other.split or pair.one.label != pair.other.label]
    if not torn:
        return
    count = f"{len(torn)} image{'s are' if len(torn) > 1 else ' is'}"
    where, keep = "in another split or under another label", "keep one of each with `duplicates: drop`, "
    if dataset.duplicates == "drop":
        where, keep = "under another label", ""
    file = duplicates.listed(cache or file_facts.default_folder(), torn, [])
    raise DataError(
        f"{count} the same as another one, {where}: {'; '.join(map(str, torn[:SHOWN]))} (all are listed in {file}); "
        f"remove them, {keep}or accept them with `duplicates: allow`"
    )


def _once(samples: Sequence[Sample], pairs: Sequence[Pair]) -> tuple[Sample, ...]:
    """The samples without repeats: of the same picture one stays, of the test split if one is there, then validation.

    The test split is what is compared with other people's figures, so it loses the fewest.
    """
    stays: dict[str, Sample] = {}
    gone: set[str] = set()
    for first, repeat in pairs:
        now = stays.get(first.id, first)
        better = min((now, repeat), key=lambda sample: LAST.index(sample.split))
        gone.add(repeat.id if better is now else now.id)
        stays[first.id] = better
    return tuple(sample for sample in samples if sample.id not in gone)


def about_oddities(by_split: BySplit) -> list[str]:
    """Sentences about images that were converted, turned or cut to one frame."""
    odd: dict[str, list[str]] = {}
    for samples, images in by_split.values():
        for sample, said in zip(samples, images.oddities, strict=True):
            for what in said:
                odd.setdefault(what, []).append(sample.id)
    return [f"{_counted(len(ids), what)}: {masks.named(sorted(ids))}" for what, ids in sorted(odd.items())]


def _counted(images: int, what: str) -> str:
    """`3 images are transparent, and are laid on black`, or `1 image is ...`."""
    if images != 1:
        return f"{images} images {what}"
    verb, _, rest = what.partition(" ")
    return f"1 image {SINGULAR[verb]} {rest.replace(', and are ', ', and is ')}"


def about_depth(dataset: Dataset, by_split: BySplit) -> list[str]:
    """A sentence where most files of 16 bits use fewer and some use all: one depth for both makes the most black."""
    found = [
        (sample.id, largest)
        for samples, images in by_split.values()
        for sample, largest in zip(samples, images.largest, strict=True)
        if largest
    ]
    low = [largest for _, largest in found if largest < DARK]
    high = sorted(id_ for id_, largest in found if largest >= FULL)
    if dataset.bit_depth is not None or not high or 2 * len(low) <= len(found):
        return []
    return [
        f"{len(low)} of {len(found)} images of 16 bits hold no value above {max(low)} and become nearly black, as "
        f"others use all 16: {masks.named(high)}; leave those out and set `bit_depth`, or set "
        "`bit_depth: 16` if this is right"
    ]


def _about_repeats(dataset: Dataset, by_split: BySplit, cache: Path | None) -> list[str]:
    """Sentences about images of one split with the same pixels, those left out, and those nearly the same in two."""
    there = {sample.id for samples, _ in by_split.values() for sample in samples}
    gone = [sample.id for sample in dataset.samples if sample.id not in there]
    same = duplicates.repeated({name: (of, images.pictures) for name, (of, images) in by_split.items()})
    said = []
    nearly = near_duplicates.near(by_split, cache)
    if len(there) > (most := near_duplicates.MOST):
        said.append(f"images that are nearly the same are looked for among at most {most}, not {len(there)}")
    if gone:
        said.append(f"{len(gone)} images that repeat another one are left out: {masks.named(gone)}")
    if same:
        once = "" if dataset.duplicates == "allow" else ", which counts once in every interval"
        more = f" and {len(same) - SHOWN} more" if len(same) > SHOWN else ""
        said.append(f"{len(same)} images repeat another one{once}: {'; '.join(map(str, same[:SHOWN]))}{more}")
    if nearly:
        more = f" and {len(nearly) - SHOWN} more" if len(nearly) > SHOWN else ""
        said.append(
            f"{len(nearly)} pair{'s' if len(nearly) > 1 else ''} of images in two splits nearly the same: "
            f"{'; '.join(map(str, nearly[:SHOWN])).replace(' = ', ' ~ ')}{more}"
        )
    if file := duplicates.listed(cache or file_facts.default_folder(), same, nearly):
        said[-1] += f" (all are listed in {file.name}, in the folder of decoded images)"
    return said


def _repeated(by_split: BySplit) -> dict[str, int]:
    """How many images of each split repeat another image of that split."""
    return {
        f"duplicates_in_{name}": len(images.pictures) - len(set(images.pictures))
        for name, (_, images) in by_split.items()
    }


def _train(by_split: BySplit) -> Images:
    """The train split; if contaminated, mixed with anomalies that are labelled as normal."""
    train = _images(*by_split["train"])
    if "contamination" not in by_split:
        return train
    hidden = _images(*by_split["contamination"])
    ids, hashes, groups = train.ids + hidden.ids, train.hashes + hidden.hashes, train.groups + hidden.groups
    order = sorted(range(len(ids)), key=lambda index: (hashes[index], ids[index]))
    return Images(
        pixels=np.concatenate([train.pixels, hidden.pixels])[order],
        labels=np.zeros(len(ids), dtype=np.int64),
        ids=tuple(ids[index] for index in order),
        defects=("normal",) * len(ids),
        hashes=tuple(hashes[index] for index in order),
        groups=tuple(groups[index] for index in order),
    )


def _images(samples: Sequence[Sample], images: Decoded) -> Images:
    return Images(
        pixels=images.pixels,
        labels=_labels(samples),
        ids=tuple(sample.id for sample in samples),
        defects=tuple(sample.defect for sample in samples),
        hashes=tuple(images.hashes),
        groups=tuple(sample.group for sample in samples),
        categories=tuple(sample.category for sample in samples) if any(s.category for s in samples) else (),
    )


def _by_class(images: Images, names: Sequence[str]) -> dict[str, int]:
    """How many different names the normals have, and how many the anomalies."""
    of_class = [{name for name, y in zip(names, images.labels, strict=True) if y == label} for label in (0, 1)]
    return {"normal": len(of_class[0]), "anomalous": len(of_class[1])}


def _labels(samples: Sequence[Sample]) -> np.ndarray:
    return np.array([sample.label for sample in samples], dtype=np.int64)


def _hash(by_split: BySplit) -> str:
    rows = sorted(
        (sample.split, sample.label, sample.defect, pixels)
        for samples, images in by_split.values()
        for sample, pixels in zip(samples, images.hashes, strict=True)
    )
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
