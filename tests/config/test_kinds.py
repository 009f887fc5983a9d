"""A file of another kind is refused in one sentence that names the command for it, not by all keys that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.approval import policy
from assay.audits import suite
from assay.config import kinds, reader
from assay.errors import InputError, SpecError
from assay.models.card import Card
from assay.studies import study_file

READERS = {
    "search space": reader.read,
    "suite": lambda path: suite.read(str(path)),
    "study": study_file.read,
    "card": Card.read,
    "policy": policy.read,
}


@pytest.mark.parametrize("wanted", READERS)
@pytest.mark.parametrize("found", READERS)
def test_every_reader_names_the_kind_and_the_command(tmp_path: Path, wanted: str, found: str) -> None:
    key = next(key for key, kind in kinds.KINDS.items() if kind == found)
    file = tmp_path / "some.yaml"
    file.write_text(f"{key}: 1\n")
    with pytest.raises(InputError) as caught:
        READERS[wanted](file)
    if found == wanted:
        assert isinstance(caught.value, SpecError)
        return
    assert str(caught.value).startswith(f"{file} is a {found}, and a {wanted} is wanted here")
    assert kinds.COMMANDS[found] in str(caught.value)


def test_a_file_without_such_a_key_is_of_no_kind(tmp_path: Path) -> None:
    assert kinds.kind_of({"name": "x", "dataset": {}}) is None
    (tmp_path / "x.yaml").write_text("dataset: {}\n")
    assert kinds.load("card", tmp_path / "x.yaml") == {"dataset": {}}
