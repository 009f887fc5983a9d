"""A first folder: a search space, a policy and a pipeline that uses both, to be changed."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from assay.approval.policy import names as policy_names
from assay.config import shipped_search_spaces
from assay.errors import InputError

OWN_IMAGES = """# For your own images, in a folder for each class below `images`, in place of the dataset below:
# dataset: {name: folder, root: images, normal: good, anomalous: [scratch, dent], image_size: 64, channels: 1}
"""


def init(folder: Path | str = ".") -> list[Path]:
    """Write the files and return their paths; raises InputError, and writes nothing, where one is there already.

    The search space and the policy are named after the folder.
    """
    place = Path(folder)
    name = _name(place)
    policy = resources.files("assay.approval").joinpath("policies", "demo.yaml")
    workflow = resources.files("assay.api").joinpath("templates", "assay.yml")
    contents = {
        place / "search-space.yaml": _own(shipped_search_spaces.files()["demo"].read_text(encoding="utf-8"), name),
        place / "policy.yaml": _own(policy.read_text(encoding="utf-8"), name),
        place / ".github" / "workflows" / "assay.yml": _own(workflow.read_text(encoding="utf-8"), name),
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


def _own(text: str, name: str) -> str:
    """The text with the name and the commands for files in the reader's own folder."""
    text = text.replace("search_spaces/demo.yaml", "search-space.yaml").replace("--policy demo", "--policy policy.yaml")
    text = text.replace("demo:best", f"{name}:best").replace("\nname: demo\n", f"\nname: {name}\n")
    return text.replace("\ndataset:", f"\n{OWN_IMAGES}dataset:")


def _name(folder: Path) -> str:
    """A name for a sweep and a policy, made of the folder's; none that comes with Assay."""
    words = re.sub(r"[^a-z0-9._-]+", "-", folder.resolve().name.casefold()).strip("-._")[:50] or "first"
    return f"my-{words}" if words in shipped_search_spaces.files() or words in policy_names() else words
