"""Where the images of a dataset lie: its root is relative to the file that names it, not to the working directory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import PydanticCustomError

from assay.contracts import Plain
from assay.errors import InputError
from assay.shelves import normal_form

VARIABLE = re.compile(r"\$\w+|\$\{[^}]*\}")


def located(values: Mapping[str, Any], file: str | Path) -> Plain:
    """The values of a YAML file, with the root of its dataset whole: `~` and `$VARIABLE` replaced, absolute.

    A root in object storage stays as it is. Raises InputError for a variable that is not set. Whatever else is wrong
    with the dataset is left to its check.
    """
    try:
        name, given = normal_form(values.get("dataset"))
    except PydanticCustomError:
        return dict(values)
    if not isinstance(root := given.get("root"), str):
        return dict(values)
    replaced = os.path.expandvars(root)
    if missing := VARIABLE.search(replaced):
        raise InputError(f"{file}: dataset.root is {root}, and the variable {missing[0]} is not set")
    if "://" in replaced:
        return {**values, "dataset": {"name": name, **given, "root": replaced}}
    if replaced.partition(":/")[0] in ("s3", "gs"):
        raise InputError(
            f"{file}: dataset.root is {root}: a slash is missing, write {replaced.replace(':/', '://', 1)}"
        )
    absolute = (Path(file).parent / Path(replaced).expanduser()).resolve()
    return {**values, "dataset": {"name": name, **given, "root": str(absolute)}}
