"""Studies: detectors x datasets x seeds, and the page that compares them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.api.arguments import StoreLike, file_or_values, store_of
from assay.cluster import user_code

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from assay.studies.results import Result
    from assay.studies.study_file import Study


@dataclass(frozen=True)
class StudyResult:
    """A study that was run. results: of every cell. page: where its HTML page lies. interrupted: "" or why it ended."""

    study: Study
    results: tuple[Result, ...]
    page: str
    interrupted: str = ""

    @property
    def missing(self) -> tuple[Result, ...]:
        """The cells without figures, each with the reason."""
        return tuple(result for result in self.results if result.missing)

    def to_arrow(self) -> pa.Table:
        """A row for each cell and metric, as in `study.parquet`."""
        from assay.studies import results

        return results.table(self.study, self.results)

    def to_pandas(self) -> pd.DataFrame:
        """The same as a data frame."""
        return self.to_arrow().to_pandas()


def study(
    file: Mapping[str, Any] | Path | str,
    *,
    store: StoreLike = None,
    address: str | None = None,
    on_message: Callable[[str], object] | None = None,
) -> StudyResult:
    """Run what is missing of a study and write `study.parquet` and `study.html`; a finished one is only written again.

    file: of the study, or a mapping of what it would hold. address: a Ray cluster; without one, Ray is started on this
    machine. on_message: called with a sentence for every cell. Ctrl-C ends it properly; the result says so
    (`interrupted`). Raises SpecError with every fault of the file, SweepError or StoreError.

    >>> spots = {"name": "folder", "root": images, "normal": "good", "anomalous": "spot", "image_size": 16}
    >>> done = assay.study(
    ...     {
    ...         "name": "neighbours",
    ...         "detectors": {
    ...             f"pixels-{k}": {"trainable": "neighbours", "fixed": {"backbone": {"pixels": {"side": 8}}, "k": k}}
    ...             for k in (1, 3)
    ...         },
    ...         "datasets": {"spots": spots},
    ...         "seeds": [0],
    ...         "evaluation": {"attack": "fgsm", "epsilon": "2/255"},
    ...         "tracking": {"wandb": False},
    ...     },
    ...     store=store,
    ... )
    >>> done.missing, len(done.to_pandas())
    ((), 4)
    """
    from assay.reports import study_page
    from assay.studies import run, study_file

    place, given = store_of(store), file_or_values(file, "study")
    if isinstance(given, str):
        user_code.beside(given)
        checked = study_file.read(given, place)
    else:
        checked = study_file.check(given, "the study", place)
    found, interrupted = run.run(checked, place, address=address, say=on_message or (lambda _: None))
    return StudyResult(checked, tuple(found), study_page.write(place, checked, found), interrupted)
