"""One class of a set made for classification is normal, all others are anomalies: MNIST, Fashion-MNIST, CIFAR-10.

Layouts: IDX files, gzipped or not, as MNIST and Fashion-MNIST ship them, or folders train/<class> and test/<class>, or
<class> without a split. Source of the protocol: Ruff et al., Deep One-Class Classification, ICML 2018.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from assay.data.masks import named
from assay.datasets import _idx
from assay.datasets._folders import about_skipped, about_unread, inside, refuse_loose, sub_folders
from assay.datasets._reader import either
from assay.datasets._rows import Row, Table
from assay.errors import DataError

Classes = int | str | list[int | str]
Half = Literal["train", "test"]
FILES: dict[Half, str] = {"train": "train", "test": "t10k"}
"""Half of the published split -> how its IDX files begin."""
PICKLED = ("data_batch_1", "test_batch", "batches.meta", "cifar-10-batches-py", "cifar-100-python")


@either(channels=3)
def one_vs_rest(*, root: str, normal: Classes, per_class: Annotated[int, Ge(1)] | None = None) -> Table:
    """Images below `root` of the classes `normal`, against those of all other classes; each class is a kind of defect.

    Found there are IDX files (train-images-idx3-ubyte, t10k-labels-idx1-ubyte.gz and so on), folders train/<class> and
    test/<class>, or folders <class>. Where there are two halves, the split is kept, and the train images of the other
    classes are left out and counted; where there is one, it is split by seed. per_class: at most so many images of each
    class in each half, the first ones. IDX images are unpacked into the cache. Pickles are never loaded.
    Raises DataError where none of that is there, for an unknown class, and for damaged files.
    """
    base = Path(root).expanduser()
    if not base.is_dir():
        raise DataError(f"{base}: no such folder; check the path")
    notices: list[str] = []
    halves = _of_files(base, per_class) or _of_folders(base, per_class, notices)
    classes = sorted({kind for rows in halves.values() for kind, _, _ in rows})
    normals = {str(one) for one in (normal if isinstance(normal, list) else [normal])}
    if missing := sorted(normals - set(classes)):
        raise DataError(f"{base}: no class {', '.join(missing)}; there are: {', '.join(classes)}")
    split = len(halves) > 1
    if not split:
        notices.append("there are not two halves, train and test: the images are split by seed")
    rows, left = [], 0
    for half, found in halves.items():
        for kind, id_, path in found:
            if split and half == "train" and kind not in normals:
                left += 1
            else:
                rows.append(Row(id_, path, int(kind not in normals), kind, half if split else None))
    name = f"{base.resolve().name}-{'+'.join(sorted(normals))}"
    return Table(name, rows, notes={"train_images_of_other_classes": left} if left else {}, notices=tuple(notices))


Found = tuple[str, str, Path]
"""Class, id and file of an image."""


def _of_files(base: Path, most: int | None) -> dict[Half, list[Found]]:
    """The images in IDX files by half; empty where there are none."""
    halves: dict[Half, list[Found]] = {}
    for half, start in FILES.items():
        images, labels = (_one(base, start, what) for what in ("images", "labels"))
        if images is None and labels is None:
            continue
        if images is None or labels is None:
            missing = f"{start}-{'images-idx3' if images is None else 'labels-idx1'}-ubyte"
            raise DataError(f"{base}: no {missing} or {missing}.gz beside {(images or labels or base).name}")
        pixels, classes = _idx.array(images, 3), [str(one) for one in _idx.array(labels, 1)]
        if len(pixels) != len(classes):
            raise DataError(f"{images} holds {len(pixels)} images and {labels.name} {len(classes)} labels")
        numbers = _first(classes, most)
        paths = _idx.unpacked(images, pixels, numbers)
        halves[half] = [(classes[at], f"{half}/{classes[at]}/{at:06}", paths[at]) for at in numbers]
    return halves


def _one(base: Path, start: str, what: str) -> Path | None:
    axes = {"images": 3, "labels": 1}[what]
    names = [f"{start}-{what}{sign}idx{axes}-ubyte{end}" for sign in "-." for end in ("", ".gz")]
    there = [base / name for name in names if (base / name).is_file()]
    if len(there) > 1:
        raise DataError(f"{base}: {named([file.name for file in there])} could all be the {what}; keep one of them")
    return there[0] if there else None


def _of_folders(base: Path, most: int | None, notices: list[str]) -> dict[Half, list[Found]]:
    """The images in folders of classes by half; all are of `test` if there are no halves."""
    parts = {half: base / half for half in FILES if (base / half).is_dir()}
    pickled = [name for name in PICKLED if (base / name).exists()] or [path.name for path in sorted(base.glob("*.pkl"))]
    if pickled and not parts:
        raise DataError(
            f"{base}: {named(pickled)} are pickles, which can run any code and are never loaded; save the images as "
            "PNG files in folders train/<class> and test/<class>"
        )
    if parts:
        notices += about_unread(base, parts.values())
    halves: dict[Half, list[Found]] = {}
    for half, part in (parts or {"test": base}).items():
        refuse_loose(part)
        for folder in sub_folders(part):
            files, skipped, said = inside(folder)
            notices += [*said, *about_skipped(skipped)]
            found = [(folder.name, file.relative_to(base).as_posix(), file) for file in files[:most]]
            halves.setdefault(half, []).extend(found)
    if not any(halves.values()):
        raise DataError(f"{base}: no IDX files (train-images-idx3-ubyte[.gz] ...) and no folders of classes")
    return halves


def _first(classes: Sequence[str], most: int | None) -> list[int]:
    """The numbers of the first images of each class."""
    taken: Counter[str] = Counter()
    numbers = []
    for at, name in enumerate(classes):
        taken[name] += 1
        if most is None or taken[name] <= most:
            numbers.append(at)
    return numbers
