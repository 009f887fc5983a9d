"""Whether W&B may be used is its owner's choice, however it was made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from wandb_server import KEY

from assay.tracking import user_settings


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable, no netrc, and a folder of its own."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_online_needs_a_key_for_the_server_from_the_environment_or_netrc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert user_settings.mode().value == "no key"
    netrc = tmp_path / "netrc"
    netrc.write_text("machine example.org password x")
    assert user_settings.mode().value == "no key"
    for host in user_settings.OWN:
        netrc.write_text(f"machine {host} login user password {KEY}")
        assert user_settings.mode().value == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080/")
    assert user_settings.server() == "https://wandb.example.org:8080"
    assert user_settings.mode().value == "no key"
    netrc.write_bytes(b"\xff\xfe machine wandb.example.org")
    assert user_settings.mode().value == "online"
    netrc.unlink()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert user_settings.mode().value == "online"
    for word, mode in (("offline", "offline"), ("dryrun", "offline"), ("disabled", "disabled"), ("online", "online")):
        monkeypatch.setenv("WANDB_MODE", word)
        assert user_settings.mode().value == mode


def test_the_server_is_also_known_from_a_login(tmp_path: Path) -> None:
    assert user_settings.server() == ""
    (tmp_path / "settings").write_text("[default]\nbase_url = https://wandb.example.org\n")
    assert user_settings.server() == "https://wandb.example.org"
    (tmp_path / "settings").write_bytes(b"\xff")
    assert user_settings.server() == ""


@pytest.mark.parametrize("folder", ["wandb", ".wandb", "user"])
@pytest.mark.parametrize(
    ("text", "expected"), [("mode = offline", "offline"), ("disabled = true", "disabled"), ("mode = online", "online")]
)
def test_wandb_offline_and_disabled_are_respected(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str, text: str, expected: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    file = tmp_path / "settings" if folder == "user" else Path(folder) / "settings"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"[default]\n{text}\n")
    mode = user_settings.mode()
    assert mode.value == expected
    assert mode.source == ("" if expected == "online" else str(file))
    monkeypatch.setenv("WANDB_MODE", "online")
    assert user_settings.mode().value == "online"


def test_a_folder_counts_more_than_a_user_and_a_variable_more_than_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    (tmp_path / "settings").write_text("[default]\nmode = offline\n")
    Path("wandb").mkdir()
    Path("wandb/settings").write_text("[default]\nmode = online\nentity = team\n")
    assert user_settings.mode() == user_settings.Mode("online")
    assert user_settings.noted("entity") == "team"
    monkeypatch.setenv("WANDB_DISABLED", "true")
    assert user_settings.mode() == user_settings.Mode("disabled", "WANDB_DISABLED")
