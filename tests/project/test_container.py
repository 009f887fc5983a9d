"""Dockerfile: hadolint finds nothing in it, and the image has what docs/run-in-a-container.md promises."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).parents[2]
TEXT = (REPO / "Dockerfile").read_text(encoding="utf-8")
PAGE = (REPO / "docs" / "run-in-a-container.md").read_text(encoding="utf-8")
LINTER = Path(sys.executable).with_name("hadolint")


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, what follows it), with lines joined and comments left out."""
    joined = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0].upper(), line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


LAST = instructions(TEXT[TEXT.rindex("\nFROM ") :])


@pytest.mark.skipif(not LINTER.exists(), reason="hadolint is there for Linux on x86 alone")
@pytest.mark.parametrize("text", [TEXT, TEXT.replace("USER 1000:1000", "USER root")], ids=["as it is", "with root"])
def test_the_linter_finds_nothing_and_would_find_root(text):
    done = subprocess.run([LINTER, "--no-color", "-"], input=text, capture_output=True, text=True, timeout=60)
    if text == TEXT:
        assert (done.stdout, done.returncode) == ("", 0)
    else:
        assert "Last USER should not be root" in done.stdout


def test_the_user_is_a_number_that_is_not_root():
    users = [rest for instruction, rest in LAST if instruction == "USER"]
    assert users == ["1000:1000"], "Kubernetes believes runAsNonRoot only of a number"


def test_the_last_stage_has_no_compiler_and_libraries_and_code_are_layers_of_their_own():
    assert not re.search(r"\b(gcc|g\+\+|build-essential|python3?-dev|cmake)\b", str(LAST))
    copied = [rest for instruction, rest in LAST if instruction == "COPY"]
    assert copied == ["--from=build /opt/venv /opt/venv"]
    [code] = [rest for instruction, rest in LAST if instruction == "RUN" and "pip install" in rest]
    assert "--no-deps --no-index" in code


def test_versions_are_those_of_constraints_and_of_the_cluster_file():
    [python] = re.findall(r"^ARG PYTHON=(.+)$", TEXT, re.MULTILINE)
    cluster = yaml.safe_load((REPO / "cluster.yaml").read_text())
    assert f"--python {python} " in " ".join(cluster["setup_commands"])
    assert "PIP_CONSTRAINT=/src/constraints.txt" in TEXT
    assert "==" not in TEXT
    [extras] = re.findall(r"^ARG EXTRAS=(.+)$", TEXT, re.MULTILINE)
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert "cluster" in extras, "a node needs ray[default]"


def test_the_build_gets_what_it_copies_and_nothing_else(tmp_path):
    """What `docker build` sends: a store, a key or .git beside the Dockerfile stays out."""
    copied = {
        part
        for instruction, rest in instructions(TEXT)
        if instruction == "COPY" and "--from" not in rest
        for part in rest.split()[:-1]
    }
    lines = (REPO / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert "*" in lines
    for name in copied:
        assert (REPO / name).exists()


def test_a_wheel_can_be_built_from_what_is_copied(tmp_path):
    wheels = pytest.importorskip("hatchling.builders.wheel")
    for line in (REPO / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            source, target = REPO / line[1:], tmp_path / "src" / line[1:]
            target.parent.mkdir(exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
    [wheel] = wheels.WheelBuilder(str(tmp_path / "src")).build(directory=str(tmp_path / "dist"), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    assert {"assay/cli/__init__.py", "trainables/__init__.py", "assay/search_spaces/demo.yaml"} <= set(names)


def test_the_page_names_every_build_argument():
    for name, default in re.findall(r"^ARG (\w+)=(.+)$", TEXT, re.MULTILINE):
        assert re.search(rf"^\| `{name}` \| `{default}` \|", PAGE, re.MULTILINE), name
