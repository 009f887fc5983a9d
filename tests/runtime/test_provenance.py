"""The commit that results carry is Assay's own, or none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import assay

SOURCE = Path(assay.__file__).parent
ASK = "from assay.runtime import provenance; print(provenance.git_commit())"
GIT = ("git", "-c", "user.email=a@example.org", "-c", "user.name=a", "-c", "commit.gpgsign=false")


def repository(folder: Path, package: str, ignored: str = "") -> str:
    """A git repository with a copy of the package in a folder; returns its commit."""
    subprocess.run([*GIT, "init", "-q", folder], check=True)
    (folder / ".gitignore").write_text(f"{ignored}\n__pycache__\n")
    target = folder / package / "assay"
    shutil.copytree(SOURCE, target, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([*GIT, "add", "-A"], cwd=folder, check=True)
    subprocess.run([*GIT, "commit", "-qm", "x"], cwd=folder, check=True)
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, package: str, **more: str) -> str:
    """What Assay says when it runs from there; more: of the environment."""
    environment = {"PYTHONPATH": str(folder / package), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", **more}
    asked = subprocess.run([sys.executable, "-c", ASK], cwd=folder, env=environment, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    return asked.stdout.strip()


def test_a_checkout_names_its_commit_and_whether_it_was_changed(tmp_path: Path) -> None:
    expected = repository(tmp_path, "platform")
    assert commit(tmp_path, "platform") == expected
    (tmp_path / "platform/assay/more.py").write_text("")
    assert commit(tmp_path, "platform") == expected + "+changes"


def test_a_users_repository_is_not_taken_for_ours(tmp_path: Path) -> None:
    repository(tmp_path / "ignored", ".venv/site", ".venv")
    assert commit(tmp_path / "ignored", ".venv/site") == "None"
    repository(tmp_path / "kept", "vendor")
    assert commit(tmp_path / "kept", "vendor") == "None"
    repository(tmp_path / "untracked", "platform", "platform")
    assert commit(tmp_path / "untracked", "platform") == "None"


def test_a_hook_of_a_users_repository_changes_nothing(tmp_path: Path) -> None:
    """Git tells its hooks which repository they are of, and everything that they start."""
    subprocess.run([*GIT, "init", "-q", tmp_path / "theirs"], check=True)
    hook = {"GIT_DIR": str(tmp_path / "theirs/.git"), "GIT_INDEX_FILE": str(tmp_path / "theirs/.git/index")}
    expected = repository(tmp_path / "ours", "platform")
    assert commit(tmp_path / "ours", "platform", **hook) == expected
    repository(tmp_path / "kept", "vendor")
    assert commit(tmp_path / "kept", "vendor", **hook, GIT_WORK_TREE=str(tmp_path / "kept")) == "None"
