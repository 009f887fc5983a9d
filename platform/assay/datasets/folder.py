"""Plain folders of images without a split: some contain normals, others anomalies."""

from __future__ import annotations

from pathlib import Path

from assay.data import masks as mask_files
from assay.data.images import image_files
from assay.datasets._folders import about_skipped, about_unread, as_list, relative
from assay.datasets._layout import about_strays
from assay.datasets._reader import drawn
from assay.datasets._rows import Row, Table
from assay.errors import DataError


@drawn()
def folder(*, root: str, normal: str | list[str], anomalous: str | list[str], masks: str | None = None) -> Table:
    """Images of the folders `normal` and `anomalous` below `root`, split by seed; a folder's name is its defect kind.

    masks: a folder below root that holds, for each folder of anomalies, one of the same name with masks: <image>_mask
    or <image> with any suffix. A group with anomalies goes to validation or test with its normals.
    Images with identical pixels also stay in one split; every image is decoded once to find them.
    Files that are not images are skipped and reported; so are sub-folders with images, which are only read if named.
    Raises InputError for an invalid pattern or fraction, an unknown kind or more anomalies than may be drawn, DataError
    for missing folders, unreadable images and file names that the pattern does not match.
    """
    base = Path(root).expanduser()
    rows: list[Row] = []
    skipped: list[Path] = []
    notices: list[str] = []
    wanted = [relative(name) for names in (normal, anomalous) for name in as_list(names)]
    drawn_in = base / relative(masks) if masks else None
    if drawn_in and not drawn_in.is_dir():
        raise DataError(f"{drawn_in}: no such folder; `masks` names the folder that holds those of masks")
    for label, names in enumerate((normal, anomalous)):
        for name in as_list(names):
            files, others = image_files(base / relative(name))
            skipped += others
            marked = mask_files.by_name(drawn_in / name, [file.stem for file in files]) if drawn_in and label else {}
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
    for one in wanted:
        notices += about_unread(base / one, [base / other for other in wanted] + ([drawn_in] if drawn_in else []))
    if drawn_in:
        used = {mask for row in rows for mask in row.masks}
        notices += about_strays(drawn_in, used)
    return Table(
        base.resolve().name,
        rows,
        notes={"files_skipped": len(skipped)},
        notices=(*notices, *about_skipped(skipped)),
    )
