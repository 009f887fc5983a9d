"""A first folder: a search space, a policy and a pipeline that uses both, to be changed."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from assay.config import shipped_search_spaces
from assay.errors import InputError


def init(folder: Path | str = ".") -> list[Path]:
    """Write the files and return their paths; raises InputError, and writes nothing, where one is there already."""
    place = Path(folder)
    policy = resources.files("assay.approval").joinpath("policies", "demo.yaml")
    workflow = resources.files("assay.api").joinpath("templates", "assay.yml")
    contents = {
        place / "search-space.yaml": _own(shipped_search_spaces.files()["demo"].read_text(encoding="utf-8")),
        place / "policy.yaml": _own(policy.read_text(encoding="utf-8")),
        place / ".github" / "workflows" / "assay.yml": workflow.read_text(encoding="utf-8"),
    }
    if there := [str(file) for file in contents if file.exists()]:
        raise InputError(f"{', '.join(there)}: already there; nothing was written")
    for file, text in contents.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as opened:
                opened.write(text)
        except OSError as error:
            raise InputError(f"{file}: cannot be written ({error.strerror})") from error
    return list(contents)


def _own(text: str) -> str:
    """The text with the commands of its head for a file in the reader's own folder."""
    return text.replace("search_spaces/demo.yaml", "search-space.yaml").replace("--policy demo", "--policy policy.yaml")
