"""Plain folders of images without a split: some contain normals, others anomalies."""

from __future__ import annotations

from pathlib import Path

from assay.data import masks as mask_files
from assay.data.images import image_files
from assay.datasets._folders import as_list, relative
from assay.datasets._reader import drawn
from assay.datasets._rows import Row, Table


@drawn()
def folder(*, root: str, normal: str | list[str], anomalous: str | list[str], masks: str | None = None) -> Table:
    """Images of the folders `normal` and `anomalous` below `root`, split by seed; a folder's name is its defect kind.

    masks: a folder below root that holds, for each folder of anomalies, one of the same name with masks: <image>_mask
    or <image> with any suffix. A group with anomalies goes to validation or test with its normals.
    Images with identical pixels also stay in one split; every image is decoded once to find them.
    Files that are not images are skipped and counted in the notes; subfolders are only read if named.
    Raises InputError for an invalid pattern or fraction, an unknown kind or more anomalies than may be drawn, DataError
    for missing folders, unreadable images and file names that the pattern does not match.
    """
    base = Path(root).expanduser()
    rows: list[Row] = []
    skipped = 0
    for label, names in enumerate((normal, anomalous)):
        for name in as_list(names):
            files, others = image_files(base / relative(name))
            skipped += others
            drawn_in = base / relative(masks) / name if masks and label else base / "nowhere"
            marked = mask_files.by_name(drawn_in, [file.stem for file in files])
            rows += [
                Row(
                    (Path(name) / file.name).as_posix(),
                    file,
                    label,
                    file.parent.name,
                    masks=tuple(marked.get(file.stem, ())),
                )
                for file in files
            ]
    return Table(base.resolve().name, rows, notes={"files_skipped": skipped})
