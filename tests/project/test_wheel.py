"""What a user installs: a wheel with two packages and their data files, that works far from any checkout."""

from __future__ import annotations

import csv
import email
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

REPO = Path(__file__).parents[2]
DATA = [
    path.relative_to(REPO / "platform").as_posix()
    for path in sorted((REPO / "platform" / "assay").rglob("*"))
    if path.is_file() and path.suffix not in (".py", ".pyc")
]

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("build", "hatchling", "pip")),
    reason="builds with build, hatchling and pip, which are not installed here; run: pip install -e '.[test]'",
)


def run(*command: str | Path, cwd: Path) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ASSAY"))}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist and the wheel of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--sdist", "--wheel", "--no-isolation", "--outdir", folder, REPO, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    [wheel] = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A virtual environment with the wheel, and with the libraries (only) of the one that runs the tests."""
    place = tmp_path_factory.mktemp("user")
    environment = place / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=place)
    pip = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python"]
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=place)
    [site] = environment.glob("lib/python*/site-packages")
    # a .pth in a folder that was itself added by one is not read, so this checkout's editable install stays out
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


def test_the_wheel_installs_two_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [record] = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
        files = [row[0] for row in csv.reader(archive.read(record).decode().splitlines())]
    tops = {name.split("/")[0] for name in files}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"assay", "trainables"}
    assert {"assay/py.typed", "trainables/py.typed"} <= set(files)
    assert not [name for name in files if name.endswith(".pyc")]


def test_nothing_is_bounded_above_or_it_would_downgrade_libraries_of_whoever_installs_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    asked = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    assert {"torch", "ray", "optuna", "pydantic"} <= {one.name for one in asked}
    bounds = [*SpecifierSet(metadata["Requires-Python"]), *(bound for one in asked for bound in one.specifier)]
    assert {bound.operator for bound in bounds} == {">="}


def test_every_data_file_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        assert set(DATA) - set(archive.namelist()) == set()
    assert {Path(name).parent.name for name in DATA} >= {"suites", "policies", "templates"}


def test_the_sdist_holds_what_a_checkout_needs(built):
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"platform/{name}" for name in DATA} - names == set()
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Makefile",
        "cluster.yaml",
        "constraints.txt",
    ):
        assert name in names
    assert "tests/project/test_wheel.py" in names
    assert any(name.startswith("search_spaces/") for name in names)


def test_both_packages_come_from_the_wheel(installed, tmp_path):
    code = "import assay, trainables, platform; print(assay.__file__, trainables.__file__, platform.python_version())"
    told = run(installed / "bin" / "python", "-P", "-c", code, cwd=tmp_path)
    *files, version = told.split()
    assert all(Path(file).is_relative_to(installed) for file in files)
    assert version == ".".join(map(str, sys.version_info[:3]))


def test_the_command_line_works_without_the_checkout(installed, tmp_path):
    assay = installed / "bin" / "assay"
    assert run(assay, "--version", cwd=tmp_path).startswith("assay, version ")
    shelves = json.loads(run(assay, "ls", "--json", cwd=tmp_path))
    assert "cobra" in shelves["trainables"]
    lines = run(assay, "ls", "attacks", cwd=tmp_path).splitlines()
    named = [line.split()[0] for line in lines if not line.startswith(" ")]  # a long summary goes on below its name
    assert named == shelves["attacks"] != []


def test_a_first_folder_is_made_and_its_search_space_is_sound(installed, tmp_path):
    assay = installed / "bin" / "assay"
    assert "demo: 8 trials" in run(assay, "validate", "demo", cwd=tmp_path)
    said = run(assay, "init", "first", cwd=tmp_path)
    made = sorted(str(file.relative_to(tmp_path)) for file in (tmp_path / "first").rglob("*") if file.is_file())
    assert made == ["first/.github/workflows/assay.yml", "first/policy.yaml", "first/search-space.yaml"]
    assert all(name.removeprefix("first/") in said for name in made)
    checked = run(assay, "validate", "search-space.yaml", "policy.yaml", cwd=tmp_path / "first")
    assert checked.count(": ok (") == 2


def test_suites_policies_and_templates_are_found(installed, tmp_path):
    code = (
        "from importlib import resources; from assay.approval import policy; from assay.audits import suite; "
        "print(*[suite.read(name).name for name in suite.shipped()]); "
        "print(*[policy.read(name).name for name in policy.names()]); "
        "print(len((resources.files('assay.reports') / 'templates' / 'report.html').read_text()))"
    )
    suites, policies, length = run(installed / "bin" / "python", "-P", "-c", code, cwd=tmp_path).splitlines()
    assert {"quick", "standard"} <= set(suites.split())
    assert {"default", "demo"} <= set(policies.split())
    assert int(length) > 100
